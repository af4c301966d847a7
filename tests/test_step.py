from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.numeric import whole_ticks
from simulator.simulate import run_step
from simulator.step import MAX_SIDE_BY_SIDE, build_step, microbatch_shape, stage_kinds
from simulator.workload.op import OpPhase
from simulator.workload.stage import StageKind
from tests.test_simulate import drawn_speeds, scenario_of, with_speeds


def test_the_first_stage_embeds_and_the_last_one_puts_out() -> None:
    scenario = scenario_of({"pp": 2, "virtual_stages": 2, "dp": 1})
    assert stage_kinds(scenario) == (
        StageKind(2, True, False),
        StageKind(2, False, False),
        StageKind(2, False, False),
        StageKind(2, False, True),
    )
    assert stage_kinds(scenario_of({"dp": 1})) == (StageKind(8, True, True),)


def test_sequence_parallelism_needs_a_tensor_parallel_group() -> None:
    scenario = scenario_of({"tp": 2, "dp": 1, "sequence_parallel": True})
    shape = microbatch_shape(scenario)
    assert (shape.tokens, shape.norm_tokens) == (1024, 512)
    alone = replace(scenario, plan=replace(scenario.plan, tp=1))
    assert microbatch_shape(alone).norm_tokens == 1024


def test_durations_scale_with_the_speed_of_the_rank_but_messages_do_not() -> None:
    # pp 2, dp 2: ranks 2 and 3 are pipeline rank 1 of replicas 0 and 1.
    scenario = scenario_of({"pp": 2, "dp": 2}, training={"global_batch_size": 4})
    step = build_step(with_speeds(scenario, {3: 0.5}))
    assert [replica.speeds for replica in step.replicas] == [(1.0, 1.0), (1.0, 0.5)]
    durations = step.durations_s()
    seconds = step.table.seconds[step.graph.op_class]
    for op in range(step.graph.num_ops):
        if step.graph.stream[op] < 0:
            continue
        stream = step.graph.streams[step.graph.stream[op]]
        row = step.graph.op_class[op]
        expected = seconds[op]
        if (stream.rank, stream.replica) == (1, 1):
            expected = 2 * step.table.device_s[row] + step.table.waiting_s[row]
        assert durations[op] == whole_ticks(expected)
    reductions = step.graph.phase == OpPhase.REDUCE_GRADIENTS
    np.testing.assert_array_equal(durations[reductions], whole_ticks(seconds[reductions]))


def test_few_classes_of_replicas_share_a_graph_and_many_are_rows() -> None:
    scenario = scenario_of({"dp": 16}, cluster={"nodes": 2})
    few = build_step(with_speeds(scenario, {rank: 0.9 - rank / 100 for rank in range(7)}))
    assert (len(few.replicas), few.side_by_side) == (MAX_SIDE_BY_SIDE, True)
    assert few.durations_s().shape == (few.graph.num_ops,)
    many = build_step(with_speeds(scenario, drawn_speeds(16)))
    assert (len(many.replicas), many.side_by_side) == (16, False)
    assert many.durations_s().shape == (16, many.graph.num_ops)
    assert len(many.row_graphs) == 16
    assert many.graph.num_ops < few.graph.num_ops
    assert build_step(with_speeds(scenario, drawn_speeds(16)), fold=False).side_by_side


def test_long_schedules_run_as_a_batch_too(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = scenario_of({"dp": 4})
    slow = with_speeds(scenario, {0: 0.9})
    assert build_step(slow).side_by_side
    monkeypatch.setattr("simulator.step.MAX_SIDE_BY_SIDE_PASSES", 10)
    assert not build_step(slow).side_by_side
    assert build_step(scenario).side_by_side  # one class of replicas


def test_graphs_of_a_batch_differ_in_the_rows_of_their_ops_only() -> None:
    # Three ranks of a replica on nodes of eight: every third boundary crosses the network.
    plan = {"pp": 3, "dp": 16, "axis_order": ["tp", "pp", "cp", "dp"]}
    scenario = scenario_of(
        plan,
        model={"num_layers": 6},
        training={"global_batch_size": 64},
        cluster={"nodes": 6},
    )
    step = build_step(with_speeds(scenario, drawn_speeds(48)))
    classes = {graph.op_class.tobytes() for graph in step.row_graphs}
    assert len(classes) == len({replica.paths for replica in step.replicas}) == 3
    for graph in step.row_graphs:
        for column in ("stream", "phase", "stage", "microbatch", "coupled", "preds"):
            np.testing.assert_array_equal(getattr(graph, column), getattr(step.graph, column))


def test_the_slowest_row_of_a_batch_is_shown() -> None:
    scenario = scenario_of({"dp": 16}, cluster={"nodes": 2})
    speeds = drawn_speeds(16)
    step = build_step(with_speeds(scenario, speeds))
    _, row = run_step(step)
    assert step.replicas[row].speeds == (min(speeds.values()),)


def test_an_unfolded_graph_holds_every_replica() -> None:
    scenario = scenario_of({"dp": 4})
    folded, unfolded = build_step(scenario), build_step(scenario, fold=False)
    assert (len(folded.replicas), len(unfolded.replicas)) == (1, 4)
    assert {stream.replica for stream in unfolded.graph.streams} == {0, 1, 2, 3}
    assert unfolded.graph.num_ops > 4 * folded.graph.num_ops - 4
