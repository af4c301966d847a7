"""Rules of plans with experts, and what a step with them holds and moves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.cost.activation import layer_activation_items
from simulator.errors import TrainsimError
from simulator.model import TransformerConfig, num_expert_layers
from simulator.plan import expert_data_group, expert_group
from simulator.scenario import Scenario
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
        (["training.capacity_factor=0"], "greater than or equal to 0.1"),
        (["model.expert_ffn_hidden_size=333", "plan.tp=2", "plan.dp=8"], "width 333"),
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
@given(
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from(["ddp", "zero1", "zero2", "zero3"]),
    st.sampled_from([1, 2]),
)
def test_states_are_spread_without_loss(ep: int, sharding: str, tp: int) -> None:
    """Over all ranks of a stage, every parameter is owned once in zero3, dp times in ddp."""
    overrides = [
        f"plan.ep={ep}",
        f"plan.sharding={sharding}",
        f"plan.tp={tp}",
        f"plan.dp={16 // tp}",
        f"plan.sequence_parallel={'true' if tp > 1 else 'false'}",
        "plan.schedule=1f1b",
        "plan.virtual_stages=1",
    ]
    scenario = mixtral(*overrides)
    costs = build_step(scenario).costs
    alone = build_step(replace(scenario, plan=replace(scenario.plan, ep=1))).costs
    stages = (1,)
    held, owned = costs.held_parameters(stages), costs.held_parameters(stages)
    owned /= costs.shard_size(stages)
    assert owned == pytest.approx(alone.held_parameters(stages) / alone.shard_size(stages))
    assert held <= alone.held_parameters(stages)
    saved = alone.held_parameters(stages) - held
    # 8 layers of 8 experts of 3 * 4,096 * 14,336 parameters, cut over tp
    assert saved == pytest.approx(8 * 8 * 3 * 4096 * 14336 / tp * (1 - 1 / ep))


def test_experts_on_more_ranks_take_less_memory_and_more_exchange() -> None:
    reports = [simulate(mixtral(f"plan.ep={ep}")) for ep in (1, 2, 8)]
    weights = [report.memory.rank_classes[0].terms["weights"] for report in reports]
    assert weights == sorted(weights, reverse=True)
    waits = [report.time["ep_comm"] for report in reports]
    assert waits[0] == 0.0 < waits[1] < waits[2]
    assert sum(reports[2].time.values()) == pytest.approx(reports[2].step_time_s)


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
