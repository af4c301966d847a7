"""Laws that hold for every scenario, whatever the constants."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.engine.maxplus import makespan_s
from simulator.machine import GroupLink
from simulator.model import num_parameters
from simulator.numeric import TICK_S
from simulator.plan import process_group
from simulator.report.record import from_json, to_json
from simulator.scenario import Scenario
from simulator.schedule.action import Phase
from simulator.sharding import SHARDING
from simulator.simulate import executed_flops, run_step, simulate
from simulator.step import Step, build_step
from simulator.topology import Topology
from simulator.workload.classes import CostTableDraft
from simulator.workload.lower import lower
from simulator.workload.stage import StagePricer
from tests.strategies import scenarios, uneven_scenarios

ROUNDING = 1e-9
"""Sums of up to 1e5 float64 terms in another order: 1e5 * 2^-53 = 1e-11, with a margin."""
EXACT = 1e-12
"""The same sums in the same order."""


def phases_of(step: Step) -> tuple[Phase, ...]:
    return tuple(Phase) if step.schedule.splits_backward else (Phase.F, Phase.B)


# --- Folding and engines ---------------------------------------------------------------------


@given(uneven_scenarios())
def test_a_folded_step_takes_as_long_as_an_unfolded_one(scenario: Scenario) -> None:
    folded, unfolded = build_step(scenario), build_step(scenario, fold=False)
    # A batch of more than eight different replicas has its links for itself: compare like that.
    engine = "auto" if folded.side_by_side else "maxplus"
    one, all_of_them = (simulate(scenario, engine=engine, fold=fold) for fold in (True, False))
    assert len(unfolded.replicas) == scenario.plan.dp
    assert one.step_time_s == pytest.approx(all_of_them.step_time_s, rel=ROUNDING)


@given(uneven_scenarios(max_ranks=16))
def test_discrete_events_equal_max_plus_unless_links_are_shared(scenario: Scenario) -> None:
    step = build_step(scenario, fold=False)
    (events, _), (bound, _) = run_step(step, "des"), run_step(step, "maxplus")
    tolerance_s = EXACT * bound.makespan_s
    if step.graph.has_shared_resources:
        assert (events.end_s >= bound.end_s - tolerance_s).all()
    else:
        np.testing.assert_allclose(events.start_s, bound.start_s, rtol=0, atol=tolerance_s)
        np.testing.assert_allclose(events.end_s, bound.end_s, rtol=0, atol=tolerance_s)


# --- Scalars and batches ---------------------------------------------------------------------


def stacked(links: list[GroupLink]) -> GroupLink:
    """A column of links."""
    names = [field.name for field in fields(GroupLink) if field.name != "algorithms"]
    return GroupLink(**{n: np.array([float(getattr(link, n)) for link in links]) for n in names})


def assert_rows_are_scalars(column: StagePricer, alone: list[StagePricer], step: Step) -> None:
    for kind in dict.fromkeys(step.costs.kinds):
        for phase in phases_of(step):
            batch = column.cost(kind, phase)
            for row, pricer in enumerate(alone):
                scalar = pricer.cost(kind, phase)
                for name in ("compute_s", "recompute_s", "overhead_s", "tp_comm_s", "flops"):
                    value = np.broadcast_to(getattr(batch, name), len(alone))[row]
                    assert value == pytest.approx(getattr(scalar, name), rel=EXACT, abs=1e-18)


@given(scenarios())
def test_a_row_of_micro_batches_costs_what_it_costs_alone(scenario: Scenario) -> None:
    step = build_step(scenario)
    pricer, sizes = step.costs.pricer, [1.0, 2.0, 5.0]

    def at(micro_batch: object) -> StagePricer:
        return replace(pricer, split=replace(pricer.split, micro_batch=micro_batch))

    assert_rows_are_scalars(at(np.array(sizes)), [at(size) for size in sizes], step)


@given(scenarios(tensor=(8,)))
def test_a_row_of_tensor_parallel_degrees_costs_what_it_costs_alone(scenario: Scenario) -> None:
    step = build_step(scenario)
    topology = Topology.of(scenario.cluster)
    degrees = (2, 4, 8)
    links = [
        topology.group_link(process_group(replace(scenario.plan, tp=tp), "tp")) for tp in degrees
    ]

    def at(tp: object, link: GroupLink) -> StagePricer:
        pricer = step.costs.pricer
        context = replace(pricer.context, links={"tp": link})
        return replace(pricer, split=replace(pricer.split, tp=tp), context=context)

    alone = [at(float(tp), link) for tp, link in zip(degrees, links, strict=True)]
    assert_rows_are_scalars(at(np.array(degrees, dtype=float), stacked(links)), alone, step)


@given(scenarios(max_ranks=16))
def test_a_batch_of_cost_tables_gives_the_steps_of_its_rows(scenario: Scenario) -> None:
    step = build_step(scenario)
    sizes = [1.0, 3.0]

    def relowered(micro_batch: object) -> Step:
        split = replace(step.costs.pricer.split, micro_batch=micro_batch)
        pricer = replace(step.costs.pricer, split=split)
        costs = replace(step.costs, pricer=pricer, table=CostTableDraft(), _stage_costs={})
        paths = [replica.paths for replica in step.replicas]
        graph = lower(step.schedule, costs, paths)
        return replace(step, costs=costs, graph=graph, table=costs.table.build())

    batch = relowered(np.array(sizes))
    spans = makespan_s(batch.graph, batch.table.seconds)
    for row, size in enumerate(sizes):
        alone = relowered(size)
        timeline, _ = run_step(alone, "maxplus")
        assert spans[row] == pytest.approx(timeline.makespan_s, rel=EXACT)


# --- Conservation ----------------------------------------------------------------------------


@given(uneven_scenarios())
def test_time_terms_are_not_negative_and_sum_to_the_step(scenario: Scenario) -> None:
    report = simulate(scenario)
    assert min(report.time.values()) >= 0.0
    assert sum(report.time.values()) == pytest.approx(report.step_time_s, rel=ROUNDING)


@given(scenarios())
def test_lowering_conserves_computing_time(scenario: Scenario) -> None:
    step = build_step(scenario)
    lowered = step.table.terms_s[step.graph.op_class].sum(axis=0)
    for column, name in enumerate(("compute", "recompute", "tp_comm")):
        passes = sum(
            float(getattr(step.costs.stage_cost(stage, phase), f"{name}_s"))
            for stage in range(step.schedule.num_stages)
            for phase in phases_of(step)
        )
        expected = passes * step.schedule.num_microbatches * len(step.replicas)
        # Half a tick an op, which is timed in whole ones.
        ticks_s = step.graph.num_ops * TICK_S / 2
        assert lowered[column] == pytest.approx(expected, rel=ROUNDING, abs=ticks_s)


def counted_flops(scenario: Scenario) -> float:
    """FLOPs of a step from the shapes of the model: 2 per weight and token of every product."""
    model, training = scenario.model, scenario.training
    tokens, s = training.global_batch_size * training.seq_length, training.seq_length
    hidden, heads_width = model.hidden_size, model.num_attention_heads * model.head_dim
    # A tensor-parallel rank computes at least one whole key/value head.
    key_value_heads = max(model.num_query_groups, scenario.plan.tp)
    qkv = hidden * (heads_width + 2 * key_value_heads * model.head_dim)
    mlp = (3 if model.gated_mlp else 2) * hidden * model.ffn_hidden_size
    linears = 2.0 * tokens * (qkv + heads_width * hidden + mlp)
    rows = 128 * scenario.plan.tp  # the vocabulary is padded to a multiple of this
    output = 2.0 * tokens * hidden * (-(-model.vocab_size // rows) * rows)
    fused = scenario.stack.attention != "unfused"
    # A fused kernel skips what the mask removes; its backward computes the scores again.
    keys = s / 2 if fused and model.causal else s
    core = 2 * 2.0 * tokens * keys * heads_width
    layer = 3 * linears + (3.5 if fused else 3.0) * core
    match training.recompute.mode:
        case "none":
            again = 0.0
        case "selective":
            again = model.num_layers * core
        case "full":
            limit = training.recompute.num_layers
            stages = scenario.plan.layers_per_stage or ()
            layers = sum(n if limit is None else min(n, limit) for n in stages)
            # Torch ends a recomputation at the last tensor that the backward reads: the last
            # product's input (of a parallel block it is one product with the attention's).
            inputs = model.ffn_hidden_size + (heads_width if model.parallel_block else 0)
            last = 2.0 * tokens * hidden * inputs if scenario.stack.recompute_stops_early else 0.0
            again = layers * (linears + core - last)
    return model.num_layers * layer + 3 * output + again


@given(scenarios())
def test_flops_are_conserved(scenario: Scenario) -> None:
    assert executed_flops(build_step(scenario)) == pytest.approx(
        counted_flops(scenario), rel=ROUNDING
    )


def duplicated_parameters(scenario: Scenario, step: Step) -> float:
    """Parameters that exist more often than the model has them, by reason."""
    model, plan = scenario.model, scenario.plan
    tp, hidden = plan.tp, model.hidden_size
    norm = hidden * (2 if model.normalization == "layernorm" else 1)
    # Norms and the biases of row-parallel linears are on every tensor-parallel rank ...
    per_layer = norm * (1 if model.parallel_block else 2)
    # ... and so are key/value heads, when there are fewer of them than ranks.
    per_layer += 2 * hidden * model.use_bias
    surplus_heads = max(tp / model.num_query_groups - 1, 0)
    key_value = model.num_query_groups * model.head_dim
    heads = 2 * key_value * surplus_heads * (hidden + model.use_bias)
    replicated = model.num_layers * ((tp - 1) * per_layer + heads)
    replicated += (tp - 1) * (model.max_position_embeddings * hidden + norm)
    # The vocabulary is padded to a multiple of 128 tp; a second copy of a tied table is kept
    # where first and last stage are on different ranks.
    padded = -(-model.vocab_size // (128 * tp)) * 128 * tp * hidden
    apart = step.schedule.stage_rank[0] != step.schedule.stage_rank[-1]
    tables = (2 if apart else 1) if model.tied_embeddings else 2
    in_model = (1 if model.tied_embeddings else 2) * model.vocab_size * hidden
    return replicated + tables * padded - in_model


@given(scenarios())
def test_parameters_are_conserved(scenario: Scenario) -> None:
    step = build_step(scenario)
    of_ranks = [
        tuple(np.flatnonzero(step.schedule.stage_rank == rank).tolist())
        for rank in range(scenario.plan.pp)
    ]
    held = sum(step.costs.rank_parameters(stages) for stages in of_ranks) * scenario.plan.tp
    expected = num_parameters(scenario.model) + duplicated_parameters(scenario, step)
    assert held == pytest.approx(expected, rel=ROUNDING)


# --- Bounds ----------------------------------------------------------------------------------


@given(uneven_scenarios())
def test_no_device_computes_faster_than_its_peak(scenario: Scenario) -> None:
    report = simulate(scenario)
    assert 0.0 < report.hfu <= 1.0
    assert report.mfu > 0.0
    assert report.flops["hardware"].utilisation == report.hfu


def rank_s(step: Step, rank: int) -> float:
    """What a pipeline rank of the slowest replica computes, one pass after the other."""
    costs = [
        step.costs.stage_cost(stage, phase)
        for stage in np.flatnonzero(step.schedule.stage_rank == rank).tolist()
        for phase in phases_of(step)
    ]
    peak = step.costs.pricer.context.accelerator.peak_flops_per_s
    at_peak_s = sum(float(cost.flops) for cost in costs) / peak[step.scenario.training.precision]
    busy_s = sum(float(cost.compute_s + cost.recompute_s) for cost in costs)
    slowest = min(replica.speeds[rank] for replica in step.replicas)
    return step.schedule.num_microbatches * max(at_peak_s, busy_s / slowest)


def microbatch_way_s(step: Step) -> float:
    """One microbatch through all stages and back."""
    return sum(
        float(cost.compute_s + cost.recompute_s + cost.tp_comm_s)
        for stage in range(step.schedule.num_stages)
        for cost in (step.costs.stage_cost(stage, phase) for phase in phases_of(step))
    )


def transfer_s(step: Step, rank: int) -> float:
    """Gradients over the fastest way; reduced in the switch, each leaves a device once."""
    link, size = step.costs.links.shard, step.scenario.plan.shard_size
    bandwidth = max(link.ring_bytes_per_s, link.all_reduce_bytes_per_s, link.in_network_bytes_per_s)
    if link.num_nodes > 1:
        bandwidth = link.network_bytes_per_s * max(1.0, step.scenario.stack.network_scale)
    stages = tuple(np.flatnonzero(step.schedule.stage_rank == rank).tolist())
    return step.costs.gradient_payload(stages) * (size - 1) / size / bandwidth if size > 1 else 0.0


@given(uneven_scenarios())
def test_a_step_is_no_shorter_than_its_bounds(scenario: Scenario) -> None:
    step, step_s = build_step(scenario), simulate(scenario).step_time_s * (1 + ROUNDING)
    for rank in range(scenario.plan.pp):
        assert step_s >= rank_s(step, rank)
    # Without a barrier steps overlap, and these two may belong to two of them.
    if step.schedule.joins_before_optimizer:
        assert step_s >= microbatch_way_s(step)
        assert step_s >= max(transfer_s(step, rank) for rank in range(scenario.plan.pp))


# --- Order -----------------------------------------------------------------------------------


@given(scenarios())
def test_the_more_is_sharded_the_less_memory_states_take(scenario: Scenario) -> None:
    states: list[np.ndarray] = []
    for name in ("zero3", "zero2", "zero1", "ddp"):
        group = None if name == "ddp" else scenario.plan.shard_group_size
        plan = replace(scenario.plan, sharding=SHARDING[name], shard_group_size=group)
        ranks = simulate(replace(scenario, plan=plan)).memory.rank_classes
        kinds = ("weights", "gradients", "optimizer", "master_weights")
        states.append(np.array([sum(rank.terms[kind] for kind in kinds) for rank in ranks]))
    for less, more in pairwise(states):
        assert (less <= more * (1 + ROUNDING)).all()


def faster(scenario: Scenario, compute: float, memory: float) -> Scenario:
    """The scenario on devices of more FLOP/s and more bytes/s."""
    cluster, node = scenario.cluster, scenario.cluster.node
    accelerator = replace(
        node.accelerator,
        peak_flops_per_s={k: v * compute for k, v in node.accelerator.peak_flops_per_s.items()},
        memory_bandwidth_bytes_per_s=node.accelerator.memory_bandwidth_bytes_per_s * memory,
    )
    return replace(scenario, cluster=replace(cluster, node=replace(node, accelerator=accelerator)))


@given(uneven_scenarios(), st.floats(1.0, 4.0), st.floats(1.0, 4.0))
def test_a_faster_device_never_makes_a_step_longer(
    scenario: Scenario, compute: float, memory: float
) -> None:
    before = simulate(scenario, engine="maxplus")
    after = simulate(faster(scenario, compute, memory), engine="maxplus")
    assert after.step_time_s <= before.step_time_s * (1 + EXACT)


@given(uneven_scenarios())
def test_a_slow_rank_never_makes_a_step_shorter(scenario: Scenario) -> None:
    even = simulate(replace(scenario, stragglers=()), engine="maxplus")
    assert simulate(scenario, engine="maxplus").step_time_s >= even.step_time_s * (1 - EXACT)


# --- Records ---------------------------------------------------------------------------------


@given(uneven_scenarios())
def test_a_report_survives_json_and_is_made_again_byte_by_byte(scenario: Scenario) -> None:
    text = to_json(simulate(scenario))
    assert to_json(from_json(text)) == text
    assert to_json(simulate(scenario)) == text


_PRINT_REPORT = """
import sys
from simulator.api import load_scenario, simulate, to_json
sys.stdout.write(to_json(simulate(load_scenario(sys.argv[1]))))
"""


@pytest.mark.parametrize("name", ["gpt3-175b-a100-64", "llama3-405b-16384"])
def test_another_process_gives_the_same_bytes(name: str) -> None:
    texts = [
        subprocess.run(
            [sys.executable, "-c", _PRINT_REPORT, name],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path.cwd())},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert texts[0] == texts[1] != b""
