from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.engine.run import execute
from simulator.machine import GroupLink, PathLink
from simulator.plan import ParallelismPlan, Recompute
from simulator.schedule.action import Phase
from simulator.schedule.table import build_schedule
from simulator.sharding import SHARDING
from simulator.workload.classes import TERMS
from simulator.workload.linear import Split
from simulator.workload.links import Links
from simulator.workload.lower import lower
from simulator.workload.op import OpGraph, OpPhase
from simulator.workload.pass_memory import ActivationBytes
from simulator.workload.price import PriceContext
from simulator.workload.stage import StageKind, StagePricer
from simulator.workload.step_costs import StepCosts
from tests.shapes import GPT

PATH = PathLink(bandwidth_bytes_per_s=25e9, latency_s=5e-6, crosses_network=1.0)


def plan_of(pp: int, dp: int = 1, **changes: object) -> ParallelismPlan:
    base = ParallelismPlan(
        tp=1,
        pp=pp,
        dp=dp,
        cp=1,
        virtual_stages=1,
        schedule="1f1b",
        sharding=SHARDING["ddp"],
        sequence_parallel=False,
    )
    return replace(base, **changes)


def costs_of(plan: ParallelismPlan, context: PriceContext, link: GroupLink) -> StepCosts:
    stages = plan.num_stages
    layers = GPT.num_layers // stages
    split = Split(1.0, 512, 1, False, False, False, 2.0, False)
    splits = plan.schedule.startswith("zb")
    return StepCosts(
        model=GPT,
        plan=plan,
        pricer=StagePricer(GPT, split, Recompute("none"), splits, context),
        links=Links(link, replace(link, size=1), PATH),
        kinds=tuple(StageKind(layers, s == 0, s == stages - 1) for s in range(stages)),
        activations=(ActivationBytes(100.0, 10.0, 40.0),) * stages,
        gather_bytes=2.0,
        gradient_reduce_bytes=4.0,
    )


def lowered(
    plan: ParallelismPlan,
    context: PriceContext,
    link: GroupLink,
    microbatches: int = 4,
    replicas: int = 1,
) -> tuple[OpGraph, StepCosts]:
    schedule = build_schedule(plan.schedule, plan.pp, microbatches, plan.virtual_stages)
    costs = costs_of(plan, context, link)
    rank = schedule.stage_rank
    paths = [
        None if a == b else PATH for a, b in zip(rank[:-1].tolist(), rank[1:].tolist(), strict=True)
    ]
    return lower(schedule, costs, [paths] * replicas), costs


def count(graph: OpGraph, phase: OpPhase) -> int:
    return int((graph.phase == phase).sum())


def test_every_microbatch_passes_every_stage_once(
    context: PriceContext, nvswitch_8: GroupLink
) -> None:
    graph, _ = lowered(plan_of(4), context, nvswitch_8)
    for phase in (OpPhase.F, OpPhase.B):
        chosen = graph.phase == phase
        pairs = set(
            zip(graph.stage[chosen].tolist(), graph.microbatch[chosen].tolist(), strict=True)
        )
        assert pairs == {(s, m) for s in range(4) for m in range(4)}
        assert chosen.sum() == 16


def test_blocking_sends_lengthen_the_pass_and_overlapped_ones_are_ops(
    context: PriceContext, nvswitch_8: GroupLink
) -> None:
    blocking, costs = lowered(plan_of(2), context, nvswitch_8)
    beside, _ = lowered(plan_of(2, overlap_pp=True), context, nvswitch_8)
    assert count(blocking, OpPhase.SEND_ACTIVATION) == 0
    assert count(beside, OpPhase.SEND_ACTIVATION) == count(beside, OpPhase.SEND_GRADIENT) == 4
    table = costs.table.build()
    rows = [i for i, name in enumerate(table.names) if "and send" in name]
    # 512 tokens * 1024 * 2 bytes at 25 GB/s and 5 us
    expected = 5e-6 + 512 * 1024 * 2 / 25e9
    assert table.terms_s[rows][:, TERMS.index("pp_comm")] == pytest.approx(
        expected * costs.pricer.context.stack.blocking_p2p_scale
    )


def test_overlap_never_makes_a_step_longer(context: PriceContext, nvswitch_8: GroupLink) -> None:
    spans: list[float] = []
    for overlap in (False, True):
        plan = plan_of(4, dp=8, overlap_pp=overlap, overlap_dp=overlap)
        graph, costs = lowered(plan, context, nvswitch_8)
        seconds = costs.table.build().seconds[graph.op_class]
        spans.append(execute(graph, seconds, "maxplus").makespan_s)
    assert spans[1] <= spans[0]


def test_gradients_are_reduced_once_at_the_end_or_by_bucket(
    context: PriceContext, nvswitch_8: GroupLink
) -> None:
    at_end, _ = lowered(plan_of(2, dp=8), context, nvswitch_8)
    by_bucket, _ = lowered(plan_of(2, dp=8, overlap_dp=True, bucket_bytes=1e8), context, nvswitch_8)
    tied_embedding = 2
    assert count(at_end, OpPhase.REDUCE_GRADIENTS) == 2 + tied_embedding
    # 4 layers * 12.6 M + 52 M parameters, 4 bytes each: 411 MB or 5 buckets, at most 4 layers
    assert count(by_bucket, OpPhase.REDUCE_GRADIENTS) == 2 * 4 + tied_embedding


def test_no_reduction_without_replicas(context: PriceContext, nvswitch_8: GroupLink) -> None:
    graph, _ = lowered(plan_of(1), context, nvswitch_8)
    assert count(graph, OpPhase.REDUCE_GRADIENTS) == 0


def test_zero3_gathers_every_layer_before_each_use(
    context: PriceContext, nvswitch_8: GroupLink
) -> None:
    plan = plan_of(1, dp=8, sharding=SHARDING["zero3"], overlap_dp=True)
    graph, _ = lowered(plan, context, nvswitch_8, microbatches=3)
    assert count(graph, OpPhase.F) == count(graph, OpPhase.B) == 3 * 8
    assert count(graph, OpPhase.GATHER_WEIGHTS) == 2 * 3 * 8
    assert count(graph, OpPhase.REDUCE_GRADIENTS) == 3 * 8


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_zero3_holds_at_most_depth_plus_one_gathered_layers(
    depth: int, context: PriceContext, nvswitch_8: GroupLink
) -> None:
    plan = plan_of(1, dp=8, sharding=SHARDING["zero3"], overlap_dp=True, prefetch_depth=depth)
    graph, _ = lowered(plan, context, nvswitch_8, microbatches=2)
    # Gathers that take no time start as early as their credit lets them.
    seconds = np.where(graph.phase == OpPhase.GATHER_WEIGHTS, 0.0, 1.0)
    timeline = execute(graph, seconds, "maxplus")
    gathers = np.sort(timeline.start_s[graph.phase == OpPhase.GATHER_WEIGHTS])
    passes = np.isin(graph.phase, [OpPhase.F, OpPhase.B])
    ends = np.sort(timeline.end_s[passes])
    for moment in gathers.tolist():
        held = (gathers <= moment).sum() - (ends <= moment).sum()
        assert held <= depth + 1


def test_weights_are_gathered_after_the_step_or_before_the_next(
    context: PriceContext, nvswitch_8: GroupLink
) -> None:
    for overlap in (False, True):
        plan = plan_of(2, dp=8, sharding=SHARDING["zero1"], overlap_dp=overlap)
        graph, costs = lowered(plan, context, nvswitch_8)
        timeline = execute(graph, costs.table.build().seconds[graph.op_class], "maxplus")
        gather = timeline.start_s[graph.phase == OpPhase.GATHER_STEP]
        optimizer = timeline.end_s[graph.phase == OpPhase.OPTIMIZER]
        assert gather.size == 2
        if overlap:
            assert gather.max() < optimizer.min()
        else:
            assert gather.min() >= optimizer.min()


def test_optimizer_waits_for_all_gradients(context: PriceContext, nvswitch_8: GroupLink) -> None:
    graph, costs = lowered(plan_of(4, dp=8), context, nvswitch_8)
    timeline = execute(graph, costs.table.build().seconds[graph.op_class], "maxplus")
    starts = timeline.start_s[graph.phase == OpPhase.OPTIMIZER]
    last = timeline.end_s[graph.phase == OpPhase.REDUCE_GRADIENTS].max()
    assert set(starts.tolist()) == {last}


def test_tied_replicas_take_as_long_as_one(context: PriceContext, nvswitch_8: GroupLink) -> None:
    for sharding in SHARDING.values():
        for overlap in (False, True):
            plan = plan_of(2, dp=8, sharding=sharding, overlap_dp=overlap)
            spans: list[float] = []
            for replicas in (1, 3):
                graph, costs = lowered(plan, context, nvswitch_8, replicas=replicas)
                seconds = costs.table.build().seconds[graph.op_class]
                spans.append(execute(graph, seconds, "maxplus").makespan_s)
            assert spans[0] == pytest.approx(spans[1], rel=1e-12)


def test_split_backward_moves_weight_gradients_into_w(
    context: PriceContext, nvswitch_8: GroupLink
) -> None:
    whole = costs_of(plan_of(2), context, nvswitch_8)
    parts = costs_of(plan_of(2, schedule="zb-h1"), context, nvswitch_8)
    for stage in range(2):
        together = whole.stage_cost(stage, Phase.B)
        apart = [parts.stage_cost(stage, phase) for phase in (Phase.B, Phase.W)]
        assert sum(cost.flops for cost in apart) == together.flops
        assert sum(cost.compute_s for cost in apart) == pytest.approx(together.compute_s)


def test_activations_are_given_back(context: PriceContext, nvswitch_8: GroupLink) -> None:
    for name in ("1f1b", "zb-h1"):
        graph, costs = lowered(plan_of(2, schedule=name), context, nvswitch_8)
        table = costs.table.build()
        net = (table.alloc_bytes - table.free_bytes)[graph.op_class].sum()
        assert net == pytest.approx(0.0, abs=1e-9)
