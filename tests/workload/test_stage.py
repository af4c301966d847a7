from __future__ import annotations

from dataclasses import replace

import pytest

from simulator.plan import Recompute
from simulator.schedule.action import Phase
from simulator.workload.kernel import Collective
from simulator.workload.layers import embedding_block, layer_block, output_block
from simulator.workload.linear import Split
from simulator.workload.price import PriceContext, kernel_cost, phase_cost
from simulator.workload.stage import StageCost, StageKind, StagePricer
from tests.shapes import GPT

SPLIT = Split(2.0, 512, 1, False, False, False, 2.0, False)
CUT = replace(SPLIT, tp=8, tensor_parallel=True)
MIDDLE = StageKind(4, False, False)


def pricer(
    context: PriceContext,
    mode: str = "none",
    num_layers: int | None = None,
    *,
    splits: bool = False,
    split: Split = SPLIT,
) -> StagePricer:
    return StagePricer(GPT, split, Recompute(mode, num_layers), splits, context)


def total_s(cost: StageCost) -> float:
    return cost.compute_s + cost.recompute_s + cost.overhead_s + cost.tp_comm_s


def test_labels_say_what_a_stage_holds() -> None:
    assert MIDDLE.label == "4 layers"
    assert StageKind(2, True, True).label == "2 layers + embedding + output"


def test_a_stage_is_its_layers_and_its_ends(context: PriceContext) -> None:
    layer = phase_cost(layer_block(GPT, SPLIT, context.stack).forward, context).device_s
    embedding = phase_cost(embedding_block(GPT, SPLIT, context.stack).forward, context).device_s
    output = phase_cost(output_block(GPT, SPLIT, context.stack).forward, context).device_s
    cost = pricer(context).cost
    assert cost(MIDDLE, Phase.F).compute_s == pytest.approx(4 * layer)
    assert cost(StageKind(4, True, False), Phase.F).compute_s == pytest.approx(
        4 * layer + embedding
    )
    assert cost(StageKind(0, False, True), Phase.F).compute_s == pytest.approx(output)


def test_matrix_flops_of_forward_and_backward(context: PriceContext) -> None:
    unfused = replace(context, stack=replace(context.stack, attention="unfused"))
    forward, backward = (pricer(unfused).cost(MIDDLE, p) for p in (Phase.F, Phase.B))
    # 24 b s h^2 + 4 b s^2 h a layer, with b = 2, s = 512, h = 1024; twice that backward
    layer = 24 * 2 * 512 * 1024**2 + 4 * 2 * 512**2 * 1024
    assert (forward.flops, backward.flops) == (4 * layer, 8 * layer)
    assert forward.recompute_flops == backward.recompute_flops == 0


@pytest.mark.parametrize(
    ("mode", "num_layers", "again"), [("none", None, 0), ("full", None, 4), ("full", 3, 3)]
)
def test_full_recomputation_adds_forwards_to_the_backward(
    mode: str, num_layers: int | None, again: int, context: PriceContext
) -> None:
    plain, priced = pricer(context), pricer(context, mode, num_layers)
    forward, backward = (priced.cost(MIDDLE, phase) for phase in (Phase.F, Phase.B))
    one_layer = plain.cost(StageKind(1, False, False), Phase.F)
    assert forward == plain.cost(MIDDLE, Phase.F)
    assert backward.recompute_s == pytest.approx(again * one_layer.compute_s)
    assert backward.recompute_flops == pytest.approx(again * one_layer.flops)
    assert backward.compute_s == plain.cost(MIDDLE, Phase.B).compute_s


def test_a_stage_recomputes_no_more_layers_than_it_has(context: PriceContext) -> None:
    limited = pricer(context, "full", 7).cost(MIDDLE, Phase.B)
    assert limited.recompute_s == pricer(context, "full").cost(MIDDLE, Phase.B).recompute_s


def test_selective_recomputation_runs_the_attention_core_again(context: PriceContext) -> None:
    cost = pricer(context, "selective").cost(MIDDLE, Phase.B)
    core = phase_cost(layer_block(GPT, SPLIT, context.stack).core, context)
    assert cost.recompute_s == pytest.approx(4 * core.device_s)
    assert cost.recompute_flops == pytest.approx(4 * core.flops)


@pytest.mark.parametrize(("gated", "widths"), [(False, 2), (True, 2 + 4)])
def test_every_second_product_runs_again(gated: bool, widths: int, context: PriceContext) -> None:
    """Key and output, each 2 b s h^2, and of a gated MLP that is 4 h wide its second input."""
    model = replace(GPT, gated_mlp=gated)
    recompute = Recompute("alternate")
    cost = StagePricer(model, SPLIT, recompute, False, context).cost(MIDDLE, Phase.B)
    tokens, hidden = 1024, 1024
    assert cost.recompute_flops == 4 * widths * 2 * tokens * hidden**2
    plain = StagePricer(model, SPLIT, Recompute("none"), False, context)
    assert cost.recompute_s < plain.cost(MIDDLE, Phase.F).compute_s


def test_the_output_is_not_recomputed(context: PriceContext) -> None:
    last = StageKind(4, False, True)
    middle, end = (pricer(context, "full").cost(kind, Phase.B) for kind in (MIDDLE, last))
    assert end.recompute_s == middle.recompute_s


def test_a_split_backward_adds_up(context: PriceContext) -> None:
    whole = pricer(context, "full", split=CUT).cost(MIDDLE, Phase.B)
    parts = [
        pricer(context, "full", split=CUT, splits=True).cost(MIDDLE, p) for p in (Phase.B, Phase.W)
    ]
    for name in ("compute_s", "recompute_s", "tp_comm_s", "flops"):
        assert sum(getattr(part, name) for part in parts) == pytest.approx(getattr(whole, name))
    # Weight gradients wait for nobody and recompute nothing.
    assert (parts[1].recompute_s, parts[1].tp_comm_s) == (0.0, 0.0)
    assert parts[1].flops == pytest.approx(pricer(context).cost(MIDDLE, Phase.F).flops / 8, rel=0.2)


def test_a_collective_beside_a_weight_gradient_stays_with_the_backward_of_inputs(
    context: PriceContext,
) -> None:
    beside = replace(CUT, backward_overlap=True)
    b, w = (pricer(context, split=beside, splits=True).cost(MIDDLE, p) for p in (Phase.B, Phase.W))
    reduce = Collective("reduce", "all_reduce", 2 * 512 * 1024 * 2.0)
    # Two column linears a layer: nothing is left to hide their sums behind.
    assert b.tp_comm_s == pytest.approx(4 * 2 * kernel_cost(reduce, context).exposed_s)
    assert w.tp_comm_s == 0.0


def test_host_time_shows_where_it_exceeds_the_devices(context: PriceContext) -> None:
    device_s = total_s(pricer(context).cost(MIDDLE, Phase.F))

    def overhead_s(layer_s: float, mode: str = "none") -> float:
        stack = replace(context.stack, layer_overhead_s=layer_s, microbatch_overhead_s=1e-3)
        return pricer(replace(context, stack=stack), mode).cost(MIDDLE, Phase.F).overhead_s

    assert overhead_s(device_s / 8) == 1e-3  # hidden
    assert overhead_s(device_s) == pytest.approx(4 * device_s - device_s + 1e-3)


def test_output_does_not_hide_host_time_of_layers(context: PriceContext) -> None:
    """Layers that wait for the host leave no lead behind which the output could hide."""
    slow = replace(context, stack=replace(context.stack, layer_overhead_s=1.0))
    layers, ends = (pricer(slow).cost(kind, Phase.F) for kind in (MIDDLE, StageKind(4, True, True)))
    assert ends.overhead_s == layers.overhead_s
    assert total_s(ends) > total_s(layers)


def test_every_collective_of_a_layer_costs_host_time(context: PriceContext) -> None:
    stack = replace(context.stack, layer_overhead_s=1.0, collective_overhead_s=0.1)
    cost = pricer(replace(context, stack=stack), split=CUT).cost(MIDDLE, Phase.F)
    # Two row-parallel linears: 4 layers of 1 s and 2 collectives of 0.1 s.
    assert total_s(cost) == pytest.approx(4 * 1.2)


def test_a_host_that_waits_for_collectives_hides_behind_kernels_alone(
    context: PriceContext,
) -> None:
    late = replace(context, stack=replace(context.stack, layer_overhead_s=1.0))
    waits = replace(late, stack=replace(late.stack, collectives_hide_host=False))
    runs_on, waiting = (pricer(c, split=CUT).cost(MIDDLE, Phase.F) for c in (late, waits))
    # Four layers of 1 s hide behind compute and collectives, or behind compute alone.
    assert total_s(runs_on) == pytest.approx(4.0)
    assert total_s(waiting) == pytest.approx(4.0 + float(waiting.tp_comm_s))


def test_stalls_show_however_busy_the_device_is(context: PriceContext) -> None:
    stalled = replace(context, stack=replace(context.stack, layer_stall_s=0.25))
    for mode, phase, passes in (("none", Phase.F, 4), ("none", Phase.B, 4), ("full", Phase.B, 8)):
        added = (
            total_s(pricer(stalled, mode).cost(MIDDLE, phase)),
            total_s(pricer(context, mode).cost(MIDDLE, phase)),
        )
        assert added[0] - added[1] == pytest.approx(passes * 0.25)


def test_a_forward_waits_for_its_batch(context: PriceContext) -> None:
    slow = replace(context, stack=replace(context.stack, batch_overhead_s=0.25))
    for phase, waits_s in ((Phase.F, 0.25), (Phase.B, 0.0)):  # once, whatever the stage holds
        for kind in (MIDDLE, StageKind(4, True, True)):
            with_batch, without = (pricer(c).cost(kind, phase) for c in (slow, context))
            assert with_batch.overhead_s - without.overhead_s == pytest.approx(waits_s)


def test_recomputed_layers_are_launched_again(context: PriceContext) -> None:
    slow = replace(context, stack=replace(context.stack, layer_overhead_s=1.0))
    for mode, passes in (("none", 4), ("selective", 4), ("full", 8)):
        cost = pricer(slow, mode).cost(MIDDLE, Phase.B)
        assert total_s(cost) == pytest.approx(passes * 1.0)


@pytest.mark.parametrize(("gradient_bytes", "moved"), [(4.0, 10.0), (2.0, 6.0)])
def test_gradients_are_added_up_by_kernels_of_their_own(
    context: PriceContext, gradient_bytes: float, moved: float
) -> None:
    """Hidden 1024: 12 h^2 weights a layer; fp32: read 2, read and write 4; fp16: 2, 2 and 2."""
    stack = replace(context.stack, fused_gradient_accumulation=False)
    apart = replace(pricer(replace(context, stack=stack)), gradient_bytes=gradient_bytes)
    kernels = apart.cost(MIDDLE, Phase.B).kernels
    adds = [(cost, n) for cost, n in kernels if cost.family.startswith("gradient_add")]
    weights = 4 * 12 * 1024**2
    assert sum(cost.moved_bytes * n for cost, n in adds) == pytest.approx(weights * moved)
    assert not any(
        cost.family.startswith("gradient_add")
        for phase in (Phase.F, Phase.B)
        for cost, _ in pricer(context).cost(MIDDLE, phase).kernels
    )


def test_gradients_are_added_up_where_weights_get_theirs(context: PriceContext) -> None:
    stack = replace(context.stack, fused_gradient_accumulation=False)
    b, w = (
        pricer(replace(context, stack=stack), splits=True).cost(MIDDLE, phase).kernels
        for phase in (Phase.B, Phase.W)
    )
    families = [{cost.family for cost, _ in kernels} for kernels in (b, w)]
    assert ["gradient_add_fp32" in names for names in families] == [False, True]


def test_partitioned_checkpoints_are_gathered_before_use(context: PriceContext) -> None:
    stack = replace(context.stack, partition_activations=True)
    cut = replace(context, stack=stack)
    gather = Collective("gather", "all_gather", 2 * 512 * 1024 * 2.0)
    added_s = [
        pricer(cut, mode, split=CUT).cost(MIDDLE, Phase.B).tp_comm_s
        - pricer(context, mode, split=CUT).cost(MIDDLE, Phase.B).tp_comm_s
        for mode in ("none", "full")
    ]
    assert added_s[0] == 0.0
    assert added_s[1] == pytest.approx(4 * kernel_cost(gather, context).exposed_s)


def test_kernels_sum_to_the_stage(context: PriceContext) -> None:
    cost = pricer(context, "full", split=CUT).cost(StageKind(4, True, True), Phase.B)
    listed = sum(kernel.total_s * count for kernel, count in cost.kernels)
    assert listed == pytest.approx(cost.compute_s + cost.recompute_s + cost.tp_comm_s)
    assert sum(kernel.flops * count for kernel, count in cost.kernels) == pytest.approx(cost.flops)


def _again_flops(context: PriceContext, recompute: Recompute, *, early: bool) -> float:
    stack = replace(context.stack, attention="unfused", recompute_stops_early=early)
    priced = StagePricer(GPT, SPLIT, recompute, False, replace(context, stack=stack))
    return float(priced.cost(StageKind(1, False, False), Phase.B).recompute_flops)


def test_recomputation_that_stops_early_leaves_out_the_last_product(context: PriceContext) -> None:
    # b s = 1024 tokens, h = 1024: a layer is 24 b s h^2 + 4 b s^2 h, its last product, of
    # [4 h, h], 8 b s h^2.
    layer = 24 * 1024 * 1024**2 + 4 * 2 * 512**2 * 1024
    whole, early = (
        _again_flops(context, Recompute("full"), early=early) for early in (False, True)
    )
    assert whole == layer
    assert early == layer - 8 * 1024 * 1024**2


def test_recomputation_with_kept_queries_keys_and_values_leaves_out_their_product(
    context: PriceContext,
) -> None:
    # Their product, of [h, 3 h], is 6 b s h^2.
    whole = _again_flops(context, Recompute("full"), early=False)
    kept = _again_flops(context, Recompute("full", keeps_qkv=True), early=False)
    assert whole - kept == 6 * 1024 * 1024**2
