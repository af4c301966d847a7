"""Rules of plans with experts, and what a step with them holds and moves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.cost.activation import (
    gradient_working_bytes,
    layer_activation_items,
    weight_gradient_held_bytes,
)
from simulator.cost.collective import collective_s
from simulator.cost.footprint import mean_layer_parameters
from simulator.errors import PlanError, TrainsimError
from simulator.flops import megatron_model_flops
from simulator.levers import applicable
from simulator.memory import rank_static
from simulator.model import TransformerConfig, num_active_parameters, num_expert_layers
from simulator.plan import expert_data_group, expert_group
from simulator.scenario import Scenario
from simulator.search.chosen import chosen_candidates
from simulator.search.enumeration import enumerate_candidates
from simulator.search.space import Space
from simulator.simulate import simulate
from simulator.spec.load import load_scenario, parse_scenario
from simulator.step import build_step, microbatch_shape, stage_kinds
from simulator.workload.fold import rank_speeds

NAME = "mixtral-8x7b-64"


def mixtral(*overrides: str) -> Scenario:
    return load_scenario(NAME, overrides)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["plan.ep=3"], "num_experts 8 is not divisible by ep = 3"),
        (["plan.ep=8", "plan.dp=12", "training.global_batch_size=48"], "dp 12 is not divisible"),
        (["model.preset=llama2-7b"], "llama2-7b has no experts"),
        (["plan.etp=2"], "etp = 2 is neither 1 nor tp = 1"),
        (["plan.tp=2", "plan.dp=8", "plan.etp=1"], "needs sequence_parallel"),
        (["plan.shard_group_size=8"], "shard_group_size 8 with ep = 8"),
        (["training.recompute=alternate"], "'alternate' is not modelled for layers with experts"),
        (["model.top_k=9"], "top_k 9 exceeds num_experts 8"),
        (["model.num_dense_layers=32"], "no layer has experts"),
        (["model.num_experts=0"], "top_k 2 is given, but num_experts is not"),
        (["model.num_experts=0", "model.top_k=null"], "has no experts"),
        (["training.capacity_factor=0.5"], "greater than or equal to 1"),
        (["training.capacity_factor=5"], "above num_experts / top_k = 8 / 2 = 4"),
        (
            ["model.expert_ffn_hidden_size=333", "plan.tp=2", "plan.dp=8"],
            "expert_ffn_hidden_size 333 of mixtral-8x7b is not divisible by tp = 2",
        ),
        (["training.fine_tuning=lora"], "fine_tuning of layers with experts"),
        (["training.optimizer=apollo"], "optimizer of layers with experts"),
        (["model.parallel_block=true"], "beside a parallel attention block"),
        (
            ["plan.tp=2", "plan.dp=8", "plan.sequence_parallel=true", "plan.etp=1", "plan.ep=12"],
            "num_experts 8 is not divisible by ep = 12",
        ),
        (["model.preset=llama2-7b", "plan.ep=1", "training.capacity_factor=2"], "no experts"),
        (["model.preset=llama2-7b", "plan.ep=1", "plan.etp=1"], "etp = 1, but llama2-7b has no"),
        (
            [
                "model.num_dense_layers=1",
                "training.recompute={mode: full, num_layers: 1}",
            ],
            "layers with and without experts",
        ),
    ],
)
def test_what_does_not_fit_together(overrides: list[str], words: str) -> None:
    with pytest.raises(TrainsimError, match=words):
        mixtral(*overrides)


@pytest.mark.parametrize(
    ("first_dense", "interval", "expected"),
    [(0, 1, 12), (1, 1, 11), (0, 2, 6), (3, 4, 2), (11, 1, 1)],
)
def test_layers_with_experts(first_dense: int, interval: int, expected: int) -> None:
    model = layered(first_dense, interval)
    assert num_expert_layers(model) == expected


def layered(first_dense: int, interval: int) -> TransformerConfig:
    return replace(
        mixtral().model,
        num_layers=12,
        num_dense_layers=first_dense,
        expert_interval=interval,
    )


@given(st.integers(0, 11), st.integers(1, 4), st.integers(0, 12), st.integers(0, 12))
def test_counts_of_parts_add_up(first_dense: int, interval: int, a: int, b: int) -> None:
    model, (first, last) = layered(first_dense, interval), sorted((a, b))
    parts = [num_expert_layers(model, i, i + 1) for i in range(first, last)]
    assert set(parts) <= {0, 1}
    assert num_expert_layers(model, first, last) == sum(parts)


def test_stages_know_which_of_their_layers_have_experts() -> None:
    scenario = mixtral("model.num_dense_layers=3", "model.expert_interval=2")
    kinds = stage_kinds(scenario)
    assert len(kinds) == 32
    # The first of them is layer 4, the fifth.
    assert [kind.num_expert_layers for kind in kinds[:8]] == [0, 0, 0, 0, 1, 0, 1, 0]


def test_groups_of_experts() -> None:
    """dp 16 and ep 8 without tp: 8 neighbours hold different experts, 2 the same."""
    plan = mixtral().plan
    assert expert_group(plan).ranks() == tuple(range(8))
    assert expert_data_group(plan).ranks() == (0, 8)


def test_whole_experts_lie_on_the_ranks_of_tp_too() -> None:
    settings = ("plan.tp=2", "plan.dp=8", "plan.sequence_parallel=true")
    whole = mixtral(*settings, "plan.etp=1").plan
    assert expert_group(whole).ranks() == tuple(range(8))
    assert expert_data_group(whole).ranks() == (0, 8)
    cut = mixtral(*settings).plan
    assert expert_group(cut).ranks() == tuple(range(0, 16, 2))
    assert expert_data_group(cut).size == 1


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2]), st.booleans())
def test_experts_are_spread_without_loss(ep: int, tp: int, whole: bool) -> None:
    """What a rank holds times the ranks that hold other experts is all of them."""
    scenario = mixtral(
        f"plan.ep={ep}",
        f"plan.tp={tp}",
        f"plan.dp={16 // tp}",
        f"plan.sequence_parallel={'true' if tp > 1 else 'false'}",
        f"plan.etp={1 if whole else tp}",
        *PLAIN,
    )
    costs = build_step(scenario).costs
    plan, held = scenario.plan, costs.held_parameters((1,))
    experts = costs.expert_parameters((1,)) or 8 * 8 * EXPERT / (ep * plan.expert_tp)
    assert experts * ep * plan.expert_tp == 8 * 8 * EXPERT
    group = expert_data_group(plan)
    assert group.size * ep * plan.expert_tp == 16
    owned = held / costs.shard_size((1,))
    others = held - experts
    assert owned == pytest.approx(others / plan.dp + experts / group.size)


def test_experts_on_more_ranks_take_less_memory_and_more_exchange() -> None:
    reports = [simulate(mixtral(f"plan.ep={ep}")) for ep in (1, 2, 8)]
    weights = [report.memory.rank_classes[0].terms["weights"] for report in reports]
    assert weights == sorted(weights, reverse=True)
    waits = [report.time["ep_comm"] for report in reports]
    assert waits[0] == 0.0 < waits[1] < waits[2]
    assert sum(reports[2].time.values()) == pytest.approx(reports[2].step_time_s)


HIDDEN, WIDTH, GB = 4096, 14336, 1e9
EXPERT = 3 * HIDDEN * WIDTH
SHARED = HIDDEN * (4096 + 2 * 1024) + 4096 * HIDDEN + 8 * HIDDEN + 2 * HIDDEN
"""Attention with 8 key/value heads of 128, router, two norms."""
PLAIN = ("plan.schedule=1f1b", "plan.virtual_stages=1")


@pytest.mark.parametrize("sharding", ["ddp", "zero1", "zero3"])
def test_states_of_a_rank(sharding: str) -> None:
    """A middle rank: 8 layers; experts on 2 ranks, everything else on 16; Adam 8 + 4 bytes."""
    scenario = mixtral(f"plan.sharding={sharding}", *PLAIN)
    costs = build_step(scenario).costs
    states = rank_static(scenario, costs, (1,), 0.0).states
    shared, experts = 8 * SHARED, 8 * EXPERT
    owned = shared / 16 + experts / 2 if sharding != "ddp" else shared + experts
    whole = owned if sharding == "zero3" else shared + experts
    assert float(states.weights) == pytest.approx(2 * whole)
    assert float(states.gradients) == pytest.approx(4 * whole)
    assert float(states.optimizer) == pytest.approx(8 * owned)
    assert float(states.master_weights) == pytest.approx(4 * owned)


def test_what_travels_for_experts_travels_among_those_that_hold_them() -> None:
    scenario = mixtral("plan.sharding=zero3", *PLAIN)
    costs = build_step(scenario).costs
    assert costs.links.experts is not None
    slow_down = 1 / costs.pricer.context.stack.network_scale
    shared, experts = 8 * SHARED, 8 * EXPERT
    for row, kind, size in (
        (costs.reduce_row((1,)), "reduce_scatter", costs.gradient_reduce_bytes),
        (costs.gather_row((1,)), "all_gather", costs.gather_bytes),
    ):
        expected = collective_s(kind, shared * size, costs.links.shard) + collective_s(
            kind, experts * size, costs.links.experts
        )
        seconds = costs.table.build().seconds[row]
        assert seconds == pytest.approx(float(expected) * slow_down, rel=1e-6)


def test_the_optimizer_updates_what_a_rank_owns() -> None:
    costs = build_step(mixtral("plan.sharding=zero1", *PLAIN)).costs
    row = costs.optimizer_row((1,))
    owned = 8 * SHARED / 16 + 8 * EXPERT / 2
    assert costs.table.names[row] == f"optimizer on {owned:.0f} parameters"


def test_whole_experts_are_reduced_over_tp_even_without_replicas() -> None:
    whole = mixtral(
        "plan.tp=8",
        "plan.dp=1",
        "plan.ep=1",
        "plan.etp=1",
        "plan.sequence_parallel=true",
        "cluster.nodes=4",
        *PLAIN,
    )
    assert simulate(whole).time["dp_comm"] > 0
    cut = replace(whole, plan=replace(whole.plan, etp=None))
    assert simulate(cut).time["dp_comm"] == 0


def test_flops_of_megatron_count_the_experts_of_a_token() -> None:
    """6 FLOPs a weight: attention, router and two experts in 32 layers, and the vocabulary."""
    model = mixtral().model
    weights = 32 * (SHARED - 2 * HIDDEN + 2 * EXPERT) + 32000 * HIDDEN
    attention = 12 * 32 * 4096 * 4096
    assert megatron_model_flops(model, 1, 4096) == 4096 * (6 * weights + attention)
    norms = 32 * 2 * HIDDEN + HIDDEN
    table = 32000 * HIDDEN
    assert num_active_parameters(model) == weights + norms + table


def test_working_memory_of_experts() -> None:
    """4,096 tokens, 2 visits: gradients of gate, up and their product; a new gradient."""
    scenario = mixtral()
    shape, visits = microbatch_shape(scenario), 2 * 4096
    working = gradient_working_bytes(scenario.model, shape, scenario.stack, experts=True)
    new_gradient = HIDDEN * 2 * WIDTH
    residual = 4096 * HIDDEN
    assert float(working) == 2 * (3 * visits * WIDTH + residual + new_gradient)
    narrow = replace(scenario.model, expert_ffn_hidden_size=512)
    working = gradient_working_bytes(narrow, shape, scenario.stack, experts=True)
    assert float(working) == 2 * (2 * visits * 512 + visits * HIDDEN + residual + HIDDEN * 2 * 512)


def test_what_a_weight_backward_needs_of_experts() -> None:
    scenario = mixtral()
    shape, visits, tokens = microbatch_shape(scenario), 2 * 4096, 4096
    held = weight_gradient_held_bytes(scenario.model, shape, experts=True)
    inputs = tokens * HIDDEN + visits * HIDDEN + tokens * 4096 + visits * WIDTH + tokens * HIDDEN
    gradients = tokens * (4096 + 2 * 1024) + 2 * visits * WIDTH + tokens * HIDDEN + visits * HIDDEN
    assert float(held) == 2 * (inputs + gradients)


def test_mean_layer_of_a_mixed_rank() -> None:
    model = mixtral("model.num_dense_layers=1").model
    dense = SHARED - 8 * HIDDEN + EXPERT
    mean = mean_layer_parameters(model, 8, 6, tp=1, etp=1, ep=8)
    assert float(mean) == pytest.approx((2 * dense + 6 * (SHARED + EXPERT)) / 8)


def test_search_and_fits_leave_experts_out() -> None:
    scenario = mixtral()
    for refused in (
        lambda: enumerate_candidates(scenario, Space(64)),
        lambda: chosen_candidates(scenario, [scenario]),
    ):
        with pytest.raises(PlanError, match="has 8 experts: plans with experts cannot be searched"):
            refused()


def test_a_range_for_experts_is_not_that_of_dense_models() -> None:
    report = simulate(mixtral("stack.preset=nemo-2025"))
    assert "not calibrated on models with experts" in report.provenance["range_basis"]


def test_what_a_layer_with_experts_holds() -> None:
    """4,096 tokens of 4,096 numbers in bf16, 2 visits, 3 matrices 14,336 wide."""
    scenario = mixtral()
    items = layer_activation_items(
        scenario.model, microbatch_shape(scenario), scenario.stack, experts=True
    )
    held = {item.name: float(item.bytes) for item in items}
    visits = 2 * 4096
    assert held["router.scores"] == 4 * 4096 * 8
    assert held["experts.linear_input"] == 2 * visits * 4096
    assert held["experts.gate_and_up"] == 2 * visits * 2 * 14336
    assert held["experts.projection_input"] == 2 * visits * 14336
    dense = layer_activation_items(scenario.model, microbatch_shape(scenario), scenario.stack)
    assert {i.name for i in dense} & {i.name for i in items} >= {
        "attention.query",
        "mlp.norm_input",
    }


def test_spreading_experts_is_offered_where_memory_is_short() -> None:
    name = "plan.ep: as many as can share the experts"
    spread = applicable(mixtral("plan.ep=1"))[name]
    assert spread.plan.ep == 8
    assert name not in applicable(mixtral())
    assert name not in applicable(load_scenario("gpt3-175b-a100-64"))


def test_a_slow_replica_slows_its_group_of_experts_only() -> None:
    plan = mixtral().plan
    speeds = rank_speeds(plan, {3: 0.5})
    assert speeds.shape == (16, 4)
    assert (speeds[:8, 0] == 0.5).all()
    assert (speeds[8:, 0] == 1.0).all()
    assert (speeds[:, 1:] == 1.0).all()


def test_gradients_of_experts_cross_fewer_ranks() -> None:
    scenario = mixtral()
    links = build_step(scenario).costs.links
    assert links.experts is not None
    assert (links.shard.size, links.experts.size) == (16, 2)


def test_the_echo_of_a_scenario_with_experts_parses_to_the_same() -> None:
    scenario = mixtral("training.capacity_factor=1.25", "model.shared_expert_ffn_hidden_size=64")
    assert parse_scenario(dict(scenario.normalised)).model == scenario.model
    again = parse_scenario(dict(scenario.normalised))
    assert (again.plan, again.training) == (scenario.plan, scenario.training)


def test_dense_models_say_nothing_of_experts() -> None:
    text = str(load_scenario("gpt3-175b-a100-64").normalised)
    assert "expert" not in text
    assert "capacity" not in text
