"""Kernels of a layer with experts: what is computed, copied and sent, worked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulator.model import TransformerConfig
from simulator.plan import Recompute
from simulator.schedule.action import Phase
from simulator.workload.experts import routed_split
from simulator.workload.kernel import Block, Collective, Elementwise, Kernel, Matmul
from simulator.workload.layers import expert_layer_block
from simulator.workload.linear import Split
from simulator.workload.price import PriceContext
from simulator.workload.stage import StageKind, StagePricer
from tests.shapes import GPT

MODEL = replace(
    GPT, name="experts", gated_mlp=True, num_experts=8, top_k=2, expert_ffn_hidden_size=512
)
ALONE = Split(2.0, 512, 1, False, False, False, 2.0, False)
SPREAD = replace(ALONE, ep=4, expert_parallel=True)
"""1,024 tokens; 8 experts on 4 ranks."""


def block(split: Split, context: PriceContext, model: TransformerConfig = MODEL) -> Block:
    return expert_layer_block(model, split, context.stack)


def products(kernels: tuple[Kernel, ...], name: str) -> list[Matmul]:
    return [k for k in kernels if isinstance(k, Matmul) and k.name.startswith(name)]


def exchanges(kernels: tuple[Kernel, ...]) -> list[Collective]:
    return [k for k in kernels if isinstance(k, Collective) and k.axis == "ep"]


def test_products_of_one_expert_see_its_share_of_the_visits(context: PriceContext) -> None:
    """1,024 tokens visit 2 of 8 experts: 256 visits an expert, 2 of them on a rank of 4."""
    (enter,) = products(block(SPREAD, context).forward, "experts_in")
    assert (enter.m, enter.n, enter.k, enter.batch) == (1024, 2 * 512, 1024, 2)
    (alone,) = products(block(ALONE, context).forward, "experts_in")
    assert (alone.m, alone.n, alone.k, alone.batch) == (256, 2 * 512, 1024, 8)


def test_weight_gradients_sum_over_the_tokens_of_an_expert(context: PriceContext) -> None:
    gradient = products(block(SPREAD, context).backward, "experts_in.wgrad")[0]
    assert gradient.accumulates
    assert (gradient.m, gradient.n, gradient.k, gradient.batch) == (1024, 1024, 1024, 2)


def test_flops_do_not_depend_on_where_the_experts_are(context: PriceContext) -> None:
    def flops(split: Split) -> float:
        kernels = products(block(split, context).forward, "experts")
        return sum(float(2 * k.m * k.n * k.k * k.batch) for k in kernels)

    # 2 FLOPs * 2 visits * 3 matrices of 1,024 x 512 * 1,024 tokens
    assert flops(ALONE) == flops(SPREAD) == 2 * 2 * 3 * 1024 * 512 * 1024


def test_every_pass_dispatches_and_combines(context: PriceContext) -> None:
    """1,024 tokens * 2 visits * 1,024 numbers of 2 bytes, there and back, in both directions."""
    made = block(SPREAD, context)
    for kernels in (made.forward, made.backward):
        assert [one.payload_bytes for one in exchanges(kernels)] == [1024 * 2 * 1024 * 2] * 2
    assert not exchanges(block(ALONE, context).forward)


def test_one_local_expert_needs_no_sorting(context: PriceContext) -> None:
    def sorted_elements(ep: int) -> float:
        kernels = block(replace(SPREAD, ep=ep), context).forward
        return sum(
            float(k.elements) for k in kernels if isinstance(k, Elementwise) and "sort" in k.name
        )

    assert sorted_elements(4) == 2 * 1024 * 2 * 1024
    assert sorted_elements(8) == 0


def test_capacity_factor_pads_what_is_sent_and_computed(context: PriceContext) -> None:
    padded = block(replace(SPREAD, capacity_factor=1.5), context)
    assert exchanges(padded.forward)[0].payload_bytes == 1.5 * 1024 * 2 * 1024 * 2
    assert products(padded.forward, "experts_out")[0].m == 1.5 * 1024


def test_experts_cut_over_tp_gather_the_tokens_of_its_ranks(context: PriceContext) -> None:
    cut = replace(SPREAD, tp=2, tensor_parallel=True, sequence_parallel=True)
    kernels = block(cut, context).forward
    assert exchanges(kernels)[0].payload_bytes == 512 * 2 * 1024 * 2
    gathers = [
        k for k in kernels if isinstance(k, Collective) and k.name == "experts_in.all_gather"
    ]
    assert gathers[0].payload_bytes == 1024 * 2 * 1024 * 2
    assert products(kernels, "experts_in")[0].n == 512


def test_whole_experts_see_the_tokens_of_their_rank_only(context: PriceContext) -> None:
    whole = replace(SPREAD, tp=2, tensor_parallel=True, sequence_parallel=True, cuts_experts=False)
    kernels = block(whole, context).forward
    assert routed_split(MODEL, whole).tokens == 512 * 2
    assert not [k for k in kernels if isinstance(k, Collective) and "experts" in k.name]
    (enter,) = products(kernels, "experts_in")
    assert (enter.m, enter.n, enter.batch) == (512, 1024, 2)


def test_shared_experts_see_every_token(context: PriceContext) -> None:
    shared = replace(MODEL, shared_expert_ffn_hidden_size=256)
    (enter,) = products(block(SPREAD, context, shared).forward, "shared_expert_in")
    assert (enter.m, enter.n, enter.batch) == (1024, 2 * 256, 1)


def test_router_scores_every_token_against_every_expert(context: PriceContext) -> None:
    kernels = block(SPREAD, context).forward
    (router,) = products(kernels, "router")
    assert (router.m, router.n, router.k) == (1024, 8, 1024)
    (choice,) = [k for k in kernels if isinstance(k, Elementwise) and k.family == "router"]
    assert choice.elements == 1024 * 8


@pytest.fixture
def spread_context(context: PriceContext) -> PriceContext:
    link = replace(context.links["tp"], size=4.0)
    return replace(context, links={**context.links, "ep": link})


def cost_of(kind: StageKind, context: PriceContext, mode: str, phase: Phase) -> dict[str, float]:
    pricer = StagePricer(MODEL, SPREAD, Recompute(mode), False, context)
    cost = pricer.cost(kind, phase)
    return {
        "device": float(cost.compute_s + cost.recompute_s),
        "ep": float(cost.ep_comm_s),
        "tp": float(cost.tp_comm_s),
        "flops": float(cost.flops),
    }


def test_a_stage_is_the_sum_of_its_kinds_of_layers(spread_context: PriceContext) -> None:
    def cost(dense: int, experts: int, mode: str = "full") -> dict[str, float]:
        kind = StageKind(dense + experts, False, False, experts)
        return cost_of(kind, spread_context, mode, Phase.B)

    mixed, dense, experts = cost(3, 2), cost(3, 0), cost(0, 2)
    for term in ("device", "ep", "flops"):
        assert mixed[term] == pytest.approx(dense[term] + experts[term])


def test_waiting_for_experts_is_a_term_of_its_own(spread_context: PriceContext) -> None:
    kind = StageKind(2, False, False, 2)
    cost = cost_of(kind, spread_context, "none", Phase.F)
    assert cost["ep"] > 0
    assert cost["tp"] == 0
    again = cost_of(kind, spread_context, "full", Phase.B)
    # The backward's own two exchanges a layer, and the two of the forward again.
    assert again["ep"] == pytest.approx(2 * cost["ep"])


def test_labels_say_which_layers_have_experts() -> None:
    assert StageKind(4, True, False, 2).label == "4 layers, 2 with experts + embedding"
