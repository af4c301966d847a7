"""Comparisons: nothing differs from itself, terms sum, the reference is what was asked for."""

import pytest
from hypothesis import given, settings

from simulator.errors import PlanError, SpecError
from simulator.report.report import MEMORY_TERMS, TIME_TERMS
from simulator.spec.load import ScenarioSource, scenario_source
from simulator.whatif.axes import Axis
from simulator.whatif.comparing import compare, labels
from tests.strategies import scenario_settings
from tests.whatif.made import small

SHARDINGS = Axis("plan.sharding", ("ddp", "zero1", "zero3"))


def test_terms_sum_to_the_differences() -> None:
    found = compare({"small": small()}, [SHARDINGS, Axis("plan.dp", (4, 8))])
    base = found.candidates[0].report
    assert (found.reference, len(found.candidates)) == ("sharding=ddp dp=4", 6)
    for candidate in found.candidates:
        report = candidate.report
        assert sum(candidate.time_s.values()) == pytest.approx(
            report.step_time_s - base.step_time_s, abs=1e-12
        )
        assert sum(candidate.memory_bytes.values()) == pytest.approx(
            report.memory.peak_bytes - base.memory.peak_bytes, abs=1.0
        )
        dearer = 1 / report.tokens_per_s_per_device - 1 / base.tokens_per_s_per_device
        assert sum(candidate.cost_s.values()) == pytest.approx(dearer, abs=1e-15)


@settings(max_examples=20)
@given(scenario_settings(max_ranks=16))
def test_nothing_differs_from_itself(data: dict[str, object]) -> None:
    found = compare({"one": ScenarioSource(data), "other": ScenarioSource(data)})
    assert found.same_work
    for candidate in found.candidates:
        assert candidate.time_s == dict.fromkeys(TIME_TERMS, 0.0)
        assert candidate.cost_s == dict.fromkeys(TIME_TERMS, 0.0)
        assert candidate.memory_bytes == dict.fromkeys(MEMORY_TERMS, 0.0)


def test_the_best_has_most_tokens_per_device_among_those_that_fit() -> None:
    found = compare(
        {"small": small()}, [Axis("training.micro_batch_size", (1, 2, 4, 8))], to="best"
    )
    speeds = {c.label: c.report.tokens_per_s_per_device for c in found.candidates}
    assert speeds[found.reference] == max(speeds.values())
    huge = {"fits": small(), "not": small("model.num_layers=200", "training.precision=bf16")}
    found = compare(huge, to="best")
    assert found.reference == "fits"


def test_the_first_of_equal_plans_is_the_best() -> None:
    alone = small("plan.dp=1")
    found = compare({"alone": alone}, [SHARDINGS], to="best")
    times = [candidate.report.step_time_s for candidate in found.candidates]
    # zero3 has its passes cut into layers, whose terms are whole ticks of 1e-12 s each.
    assert times == pytest.approx([times[0]] * 3, rel=1e-9)
    assert found.reference == "sharding=ddp"


def test_scenarios_are_combined_with_every_value() -> None:
    found = compare({"a": small(), "b": scenario_source("gpt2-xl-one-gpu")}, [SHARDINGS])
    assert [c.label for c in found.candidates] == [
        f"{name} sharding={sharding}" for name in "ab" for sharding in SHARDINGS.values
    ]
    assert not found.same_work


def test_what_cannot_be_run_is_listed_with_the_reason() -> None:
    found = compare({"small": small("plan.dp=1")}, [Axis("plan.tp", (3, 1))])
    assert found.reference == "tp=1"
    (left_out,) = found.left_out
    assert left_out[0] == "tp=3"
    assert "not divisible by tp = 3" in left_out[1]


def test_if_none_can_be_run_the_first_reason_is_the_error() -> None:
    with pytest.raises(PlanError, match="not divisible by tp = 3"):
        compare({"small": small("plan.dp=1")}, [Axis("plan.tp", (3, 7))])
    with pytest.raises(SpecError, match="nothing to compare"):
        compare({})


def test_labels_tell_scenarios_apart() -> None:
    assert labels(["a.yaml", "dir/b.yaml", "gpt2"]) == ["a", "b", "gpt2"]
    assert labels(["x/a.yaml", "y/a.yaml"]) == ["x/a.yaml", "y/a.yaml"]
    assert labels(["a.yaml", "a.yaml", "a.yaml"]) == ["a", "a (2)", "a (3)"]
