"""``plan.tp_overlap``: read, checked, written back."""

import pytest

from simulator.api import load_scenario
from simulator.errors import PlanError, TrainsimError
from simulator.search.supported import check_searchable
from simulator.spec.load import parse_scenario
from simulator.tp_overlap import DEFAULT_COMMUNICATION_SMS, TpOverlap

JOB = "t3-t-nlg"


def test_a_mode_and_its_defaults() -> None:
    scenario = load_scenario(JOB, ["plan.tp_overlap={mode: sm}"])
    assert scenario.plan.tp_overlap == TpOverlap("sm", None, DEFAULT_COMMUNICATION_SMS)
    taken = {one.name: one.value for one in scenario.assumptions}
    assert taken["plan.tp_overlap.communication_sms"] == str(DEFAULT_COMMUNICATION_SMS)
    assert taken["plan.tp_overlap.chunks"] == "one per tensor-parallel rank"
    assert "plan.tp_overlap.mode" not in taken
    assert "plan.overlap.tp" not in taken


def test_it_replaces_what_the_stack_does() -> None:
    """``megatron-core-2024`` overlaps by itself."""
    plain = load_scenario(JOB, ["stack=megatron-core-2024", "plan.tp_overlap=null"])
    assert plain.plan.overlap_tp
    for mode, built in (("none", None), ("dma", TpOverlap("dma"))):
        changes = ["stack=megatron-core-2024", f"plan.tp_overlap={{mode: {mode}}}"]
        plan = load_scenario(JOB, changes).plan
        assert (plan.overlap_tp, plan.tp_overlap) == (False, built)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("plan.tp_overlap={mode: dma, communication_sms: 8}", "communication_sms 8 has no meaning"),
        ("plan.tp_overlap={mode: sm, dram: shared}", "dram shared has no meaning"),
        ("plan.tp_overlap={mode: none, chunks: 4}", "chunks 4 have no meaning"),
        ("plan.overlap={tp: true}", "two ways to overlap"),
        ("plan.tp_overlap={mode: sm, communication_sms: 80}", "leaves no SM of the 80"),
    ],
)
def test_contradictions(change: str, problem: str) -> None:
    with pytest.raises(TrainsimError, match=problem):
        load_scenario(JOB, [change])


@pytest.mark.parametrize("how", ["{mode: dma, chunks: 16}", "{mode: sm, communication_sms: 4}"])
def test_what_is_written_back_reads_as_the_same(how: str) -> None:
    scenario = load_scenario(JOB, [f"plan.tp_overlap={how}"])
    assert parse_scenario(dict(scenario.normalised)).plan == scenario.plan


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (["plan.tp=1", "plan.dp=1"], "nothing to overlap"),
        (
            ["cluster={preset: tpu-v4-pod, nodes: 16}", "training.precision=bf16"],
            "take no multiprocessors",
        ),
    ],
)
def test_there_must_be_something_to_overlap_and_with_what(changes: list[str], problem: str) -> None:
    with pytest.raises(PlanError, match=problem):
        load_scenario(JOB, ["plan.tp_overlap={mode: sm}", *changes])


def test_a_search_refuses_it() -> None:
    with pytest.raises(PlanError, match="cannot be searched over yet"):
        check_searchable(load_scenario(JOB))
