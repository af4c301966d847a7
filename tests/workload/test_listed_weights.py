from __future__ import annotations

from dataclasses import replace

import pytest

from simulator.cost.collective import collective_s
from simulator.machine import GroupLink
from simulator.plan import ParallelismPlan, Recompute
from simulator.schedule.action import Phase
from simulator.sharding import SHARDING
from simulator.spec.hardware import load_accelerator
from simulator.workload.linear import Split
from simulator.workload.links import Links
from simulator.workload.listed_weights import list_copies_s, matrix_sizes
from simulator.workload.pass_memory import ActivationBytes
from simulator.workload.price import PriceContext
from simulator.workload.stage import StageKind, StagePricer
from simulator.workload.step_costs import StepCosts
from tests.shapes import GPT

MODEL = replace(GPT, num_layers=4)
PLAN = ParallelismPlan(
    tp=1,
    pp=1,
    dp=8,
    cp=1,
    virtual_stages=1,
    schedule="1f1b",
    sharding=SHARDING["zero3"],
    sequence_parallel=False,
)


def costs_of(
    context: PriceContext, link: GroupLink, plan: ParallelismPlan = PLAN, **stack: object
) -> StepCosts:
    context = replace(context, stack=replace(context.stack, **stack))
    split = Split(1.0, 512, 1, False, False, False, 2.0, False)
    return StepCosts(
        model=MODEL,
        plan=plan,
        pricer=StagePricer(MODEL, split, Recompute("full"), False, context),
        links=Links(link, replace(link, size=1), None),
        kinds=(StageKind(4, False, False),),
        activations=(ActivationBytes(0.0, 0.0, 0.0),),
        gather_bytes=2.0,
        gradient_reduce_bytes=2.0,
    )


def row_s(costs: StepCosts, row: int) -> float:
    return float(costs.table.build().terms_s[row].sum())


def test_matrices_of_a_layer() -> None:
    million = 1024 * 1024
    assert matrix_sizes(MODEL) == (3 * million, million, 4 * million, 4 * million)
    gated = replace(MODEL, gated_mlp=True, num_query_groups=4)
    # queries, and 4 of 16 heads of keys and of values; two input matrices
    assert matrix_sizes(gated) == (1.5 * million, million, 8 * million, 4 * million)


def test_copies_around_a_list() -> None:
    accelerator = load_accelerator("a100-sxm4-80gb")
    # 8 kernels of 2 us; 1 GB three times and twice over 0.80 * 2039 = 1631.2 GB/s
    assert list_copies_s(1e9, 8.0, accelerator, reduces=False) == pytest.approx(
        16e-6 + 3e9 / 1631.2e9
    )
    assert list_copies_s(1e9, 8.0, accelerator, reduces=True) == pytest.approx(
        16e-6 + 2e9 / 1631.2e9
    )


def test_lists_gather_every_matrix_alone(context: PriceContext, nvswitch_8: GroupLink) -> None:
    whole = costs_of(context, nvswitch_8)
    listed = costs_of(context, nvswitch_8, listed_weights=True)
    payload = whole.rank_parameters((0,)) * 2.0
    assert row_s(whole, whole.gather_row((0,))) == pytest.approx(
        collective_s("all_gather", payload, nvswitch_8)
    )
    parts = [payload * share / 12 for share in (3, 1, 4, 4)]
    copies = 4 * 8 * 2e-6 + 3 * payload / (0.80 * 2039e9)
    assert row_s(listed, listed.gather_row((0,))) == pytest.approx(
        sum(collective_s("all_gather", part, nvswitch_8) for part in parts) + copies
    )
    reduced = 4 * 8 * 2e-6 + 2 * payload / (0.80 * 2039e9)
    assert row_s(listed, listed.reduce_row((0,))) == pytest.approx(
        sum(collective_s("reduce_scatter", part, nvswitch_8) for part in parts) + reduced
    )


def test_host_time_grows_with_ranks_and_matrices(
    context: PriceContext, nvswitch_8: GroupLink
) -> None:
    changes = {"listed_weights": True, "gathers_again": True}
    free = costs_of(context, nvswitch_8, **changes)
    busy = costs_of(context, nvswitch_8, list_entry_s=7e-6, **changes)

    def added(phase: Phase) -> float:
        rows = (costs.pass_row(0, phase, send=None) for costs in (busy, free))
        return row_s(busy, next(rows)) - row_s(free, next(rows))

    # 8 ranks, 4 layers of 4 matrices: one gather in the forward; two and a reduction backwards
    assert added(Phase.F) == pytest.approx(7e-6 * 8 * 16)
    assert added(Phase.B) == pytest.approx(3 * 7e-6 * 8 * 16)


def test_only_weights_gathered_before_use_are_lists(
    context: PriceContext, nvswitch_8: GroupLink
) -> None:
    ddp = replace(PLAN, sharding=SHARDING["ddp"])
    plain = costs_of(context, nvswitch_8, ddp)
    listed = costs_of(context, nvswitch_8, ddp, listed_weights=True, list_entry_s=1.0)
    for phase in (Phase.F, Phase.B):
        rows = [costs.pass_row(0, phase, send=None) for costs in (plain, listed)]
        assert row_s(plain, rows[0]) == row_s(listed, rows[1])
    assert row_s(plain, plain.reduce_row((0,))) == row_s(listed, listed.reduce_row((0,)))


def test_backward_after_recomputation_gathers_twice(
    context: PriceContext, nvswitch_8: GroupLink
) -> None:
    kept = costs_of(context, nvswitch_8)
    released = costs_of(context, nvswitch_8, gathers_again=True)
    once = row_s(kept, kept.gather_row((0,), phase=Phase.B))
    assert row_s(released, released.gather_row((0,), phase=Phase.B)) == pytest.approx(2 * once)
    assert row_s(released, released.gather_row((0,), phase=Phase.F)) == once
