"""Whole steps whose times are worked by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from simulator.levers import applicable
from simulator.plan import Recompute
from simulator.report.report import Report
from simulator.scenario import Scenario
from simulator.schedule.action import Phase
from simulator.simulate import peak_memory_bytes, run_step, simulate
from simulator.spec.load import load_scenario, parse_scenario
from simulator.step import Step, build_step
from simulator.workload.op import OpPhase

MODEL: dict[str, object] = {
    "num_layers": 8,
    "hidden_size": 2048,
    "num_attention_heads": 16,
    "vocab_size": 1280,
    "tied_embeddings": False,
}


def scenario_of(
    plan: dict[str, object],
    *,
    model: dict[str, object] | None = None,
    training: dict[str, object] | None = None,
    stack: dict[str, object] | None = None,
    cluster: dict[str, object] | None = None,
) -> Scenario:
    """A small model on A100s with a stack that adds nothing, and no overlap unless asked for."""
    return parse_scenario(
        {
            "model": MODEL | (model or {}),
            "training": {"global_batch_size": 32, "seq_length": 1024} | (training or {}),
            "plan": {"overlap": {"dp": False, "tp": False, "pp": False}} | plan,
            "cluster": {"preset": "selene", "nodes": 1} | (cluster or {}),
            "stack": {"preset": "ideal"} | (stack or {}),
        }
    )


def pass_s(step: Step, stage: int, phase: Phase) -> float:
    cost = step.costs.stage_cost(stage, phase)
    return float(cost.compute_s + cost.recompute_s + cost.overhead_s + cost.tp_comm_s)


def row_s(step: Step, prefix: str) -> float:
    """Seconds of the one op class of that name."""
    (row,) = [i for i, name in enumerate(step.table.names) if name.startswith(prefix)]
    return float(step.table.seconds[row])


def test_one_device_does_one_thing_after_the_other() -> None:
    scenario = scenario_of(
        {"dp": 1},
        model={"num_layers": 1},
        training={"global_batch_size": 6, "micro_batch_size": 2},
        stack={"preset": "megatron-lm-2022", "step_overhead": "20 ms"},
    )
    step, report = build_step(scenario), simulate(scenario)
    # 6 / 2 microbatches, forward and backward, 20 ms, and the optimizer.
    passes_s = 3 * (pass_s(step, 0, Phase.F) + pass_s(step, 0, Phase.B))
    assert report.step_time_s == pytest.approx(passes_s + 0.02 + row_s(step, "optimizer"))
    assert report.time["bubble"] == pytest.approx(0.0, abs=1e-12)
    waits = ("tp_comm", "cp_comm", "pp_comm", "dp_comm", "recompute")
    assert [report.time[term] for term in waits] == [0.0] * len(waits)
    assert report.tokens_per_s == 6 * 1024 / report.step_time_s


def test_the_optimizer_moves_its_bytes() -> None:
    scenario = scenario_of({"dp": 1})
    step = build_step(scenario)
    accelerator = scenario.cluster.node.accelerator
    # A layer: 12 h^2 matrices, 13 h biases and norms; twice 1280 padded to 1280 rows, final norm.
    parameters = 8 * (12 * 2048**2 + 13 * 2048) + 2 * 1280 * 2048 + 2 * 2048
    moved = parameters * scenario.stack.optimizer_bytes_per_parameter
    rate = accelerator.memory_bandwidth_bytes_per_s * accelerator.memory.fraction["adam"]
    expected = accelerator.memory.launch_s + moved / rate
    assert row_s(step, "optimizer") == pytest.approx(expected)


def pipeline(schedule: str, virtual_stages: int = 1, microbatches: int = 8) -> Scenario:
    """Four stages whose sends cost nothing."""
    return scenario_of(
        {"pp": 4, "dp": 1, "schedule": schedule, "virtual_stages": virtual_stages},
        training={"global_batch_size": microbatches},
        stack={"blocking_p2p_scale": 0.0},
    )


@pytest.mark.parametrize("schedule", ["1f1b", "gpipe"])
@pytest.mark.parametrize("microbatches", [4, 8, 32])
def test_the_bubble_of_a_pipeline_is_p_minus_1_over_m(schedule: str, microbatches: int) -> None:
    scenario = pipeline(schedule, microbatches=microbatches)
    step, report = build_step(scenario), simulate(scenario)
    both_s = [pass_s(step, stage, Phase.F) + pass_s(step, stage, Phase.B) for stage in range(4)]
    # The last stage, with the logits, is the slowest and never waits once it has begun: it idles
    # while the first microbatch comes and the last one goes back through the other three.
    assert max(both_s) == both_s[3]
    optimizer_s = report.time["optimizer"]
    assert report.step_time_s == pytest.approx(
        microbatches * both_s[3] + sum(both_s[:3]) + optimizer_s, rel=1e-3
    )
    # 3 / m, but for stages 0 to 2 being up to 4 % faster than the last one.
    ratio = report.time["bubble"] / (microbatches * both_s[3])
    assert ratio == pytest.approx(3 / microbatches, rel=0.05)


def test_virtual_stages_divide_the_bubble() -> None:
    bubbles = {
        chunks: simulate(pipeline("interleaved" if chunks > 1 else "1f1b", chunks)).time["bubble"]
        for chunks in (1, 2)
    }
    # Embedding and logits are spread over other stages than before: a few percent.
    assert bubbles[2] == pytest.approx(bubbles[1] / 2, rel=0.1)


def test_zero_bubble_leaves_p_minus_1_times_f_plus_b_minus_w() -> None:
    scenario = pipeline("zb-h1")
    step, report = build_step(scenario), simulate(scenario)
    forward_s, backward_s, weights_s = (pass_s(step, 1, phase) for phase in Phase)
    bubble_s = 3 * (forward_s + backward_s - weights_s)
    # The last stage, with the logits, holds the others up by its surplus, once a microbatch.
    surplus_s = 8 * sum(pass_s(step, 3, phase) - pass_s(step, 1, phase) for phase in Phase)
    assert bubble_s < report.time["bubble"] < bubble_s + surplus_s


def test_zero_bubble_shortens_the_period() -> None:
    names = ("zb-h2", "zb-h1", "1f1b")
    times = [simulate(pipeline(name)).step_time_s for name in names]
    assert times == sorted(times)
    assert times[0] < times[1] < times[2]


def test_a_straggler_unfolds_its_replica_and_slows_what_it_computes() -> None:
    even = scenario_of({"dp": 4})
    report = simulate(even)
    slow = simulate(replace(even, stragglers=((2, 0.9),)))
    assert report.provenance["replica_classes"] == "1"
    assert slow.provenance["replica_classes"] == "2"
    # Everything but the reduction of gradients takes 1 / 0.9 times as long.
    computing_s = report.step_time_s - report.time["dp_comm"]
    expected = report.step_time_s + computing_s * (1 / 0.9 - 1)
    assert slow.step_time_s == pytest.approx(expected, rel=1e-9)
    assert slow.time["dp_comm"] == pytest.approx(report.time["dp_comm"], rel=1e-9)
    assert slow.time["compute"] == pytest.approx(report.time["compute"] / 0.9, rel=1e-9)


def test_the_straggler_is_the_rank_that_is_shown() -> None:
    even = scenario_of({"dp": 4})
    reports = [simulate(replace(even, stragglers=((rank, 0.5),))) for rank in range(4)]
    assert {report.step_time_s for report in reports} == {reports[0].step_time_s}
    assert all(report.time["bubble"] < 1e-9 for report in reports)


def test_speeds_are_added_to_the_stragglers_of_the_scenario() -> None:
    even = scenario_of({"dp": 4})
    written = simulate(replace(even, stragglers=((1, 0.8), (3, 0.9))))
    given = simulate(replace(even, stragglers=((1, 0.8),)), speeds={3: 0.9})
    assert given.step_time_s == written.step_time_s
    assert given.provenance["replica_classes"] == "3"


def with_speeds(scenario: Scenario, speeds: Mapping[int, float]) -> Scenario:
    return replace(scenario, stragglers=tuple(speeds.items()))


def drawn_speeds(num_devices: int, low: float = 0.9) -> dict[int, float]:
    drawn = np.random.default_rng(0).uniform(low, 1.0, num_devices)
    return {rank: float(speed) for rank, speed in enumerate(drawn)}


def test_12288_ranks_with_a_speed_each_are_a_batch() -> None:
    scenario = load_scenario("megatron-175b-12288")
    speeds = drawn_speeds(12288)
    step = build_step(with_speeds(scenario, speeds))
    assert not step.side_by_side
    assert len(step.replicas) == scenario.plan.dp == 192
    timeline, slowest = run_step(step)
    assert timeline.engine == "maxplus"
    report = simulate(scenario, speeds=speeds)
    fast, slow = (
        simulate(scenario, engine="maxplus", speeds=dict.fromkeys(range(12288), speed))
        for speed in (1.0, min(speeds.values()))
    )
    # Between all at full speed and all as slow as the slowest; and as slow as the replica shown,
    # whose slowest of 64 ranks computes for all microbatches.
    assert fast.step_time_s < report.step_time_s < slow.step_time_s
    computing_s = fast.time["compute"] / min(step.replicas[slowest].speeds)
    assert report.step_time_s > computing_s
    assert sum(report.time.values()) == pytest.approx(report.step_time_s, rel=1e-9)


@pytest.mark.parametrize("schedule", ["1f1b", "zb-h1"])
def test_replicas_of_a_batch_keep_their_own_paths(schedule: str) -> None:
    # Ranks of a replica lie next to one another, three of them on nodes of 8: some replicas
    # cross the network, others do not.
    scenario = scenario_of(
        {"pp": 3, "dp": 16, "axis_order": ["tp", "pp", "cp", "dp"], "schedule": schedule},
        model={"num_layers": 6},
        training={"global_batch_size": 64},
        cluster={"nodes": 6},
    )
    speeds = drawn_speeds(48, low=0.99)
    step = build_step(with_speeds(scenario, speeds))
    assert not step.side_by_side
    assert len({replica.paths for replica in step.replicas}) > 1
    batch = simulate(scenario, speeds=speeds)
    side_by_side = simulate(scenario, speeds=speeds, fold=False)
    assert batch.step_time_s == pytest.approx(side_by_side.step_time_s, rel=1e-9)


def test_hybrid_sharding_stays_in_the_node_and_keeps_more() -> None:
    def run(shard_group_size: int | None) -> Report:
        # 50 GB/s of NICs a node, shared by eight devices with 300 GB/s of NVLink each.
        return simulate(
            scenario_of(
                {"dp": 16, "sharding": "zero3", "shard_group_size": shard_group_size},
                model={"hidden_size": 4096},
                cluster={"preset": "aws-p4d-cluster", "nodes": 2},
            )
        )

    full, hybrid = run(None), run(8)
    assert hybrid.time["dp_comm"] < full.time["dp_comm"]
    terms = [report.memory.rank_classes[0].terms for report in (full, hybrid)]
    for name in ("weights", "gradients", "optimizer", "master_weights"):
        assert terms[1][name] == pytest.approx(2 * terms[0][name])  # over 8 instead of 16


def test_overlap_hides_the_reduction_behind_the_backward() -> None:
    plan = {"dp": 16, "bucket_bytes": "50 MB"}
    beside = simulate(scenario_of(plan | {"overlap": {"dp": True}}, cluster={"nodes": 2}))
    after = simulate(scenario_of(plan, cluster={"nodes": 2}))
    # All but about one of the buckets of the last backward.
    assert beside.time["dp_comm"] < 0.5 * after.time["dp_comm"]
    saved_s = after.time["dp_comm"] - beside.time["dp_comm"]
    assert after.step_time_s - beside.step_time_s == pytest.approx(saved_s, rel=1e-6)


def test_full_recomputation_runs_the_layers_again() -> None:
    plain = scenario_of({"dp": 1})
    full = replace(plain, training=replace(plain.training, recompute=Recompute("full")))
    before, after = simulate(plain), simulate(full)
    assert after.time["compute"] == before.time["compute"]
    # A forward of 8 layers takes about half of their backward.
    assert after.time["recompute"] == pytest.approx(before.time["compute"] / 3, rel=0.1)
    assert after.mfu < before.mfu
    assert after.memory.peak_bytes < before.memory.peak_bytes


def test_what_does_not_fit_is_explained_with_levers() -> None:
    scenario = scenario_of(
        {"tp": 4, "dp": 2},
        model={"num_layers": 48, "hidden_size": 8192, "num_attention_heads": 64},
        training={"micro_batch_size": 4},
    )
    report = simulate(scenario)
    out = report.memory.out_of_memory
    assert not report.memory.fits
    assert out is not None
    assert out.demand_bytes == report.memory.peak_bytes > out.capacity_bytes
    assert out.capacity_bytes == scenario.cluster.node.accelerator.memory_bytes
    savings = [saving for _, saving in out.levers]
    assert savings == sorted(savings, reverse=True)
    assert savings[-1] > 0
    changed = applicable(scenario)
    for name, saving in out.levers:
        assert saving == out.demand_bytes - peak_memory_bytes(changed[name])


def test_what_fits_needs_no_levers() -> None:
    memory = simulate(scenario_of({"dp": 1})).memory
    assert memory.fits
    assert memory.out_of_memory is None


def test_the_report_says_what_ran() -> None:
    scenario = scenario_of({"dp": 2})
    report = simulate(scenario)
    assert report.devices == 2
    assert report.provenance["ops"] == str(build_step(scenario).graph.num_ops)
    assert report.provenance["engine"] == "maxplus"
    assert report.scenario == json.loads(json.dumps(scenario.normalised))
    assert [kernel.time_s for kernel in report.kernels] == sorted(
        (kernel.time_s for kernel in report.kernels), reverse=True
    )
    # Kernels of the passes: everything but reduction, optimizer and step overhead.
    passes_s = sum(report.time[term] for term in ("compute", "recompute", "tp_comm"))
    assert sum(kernel.time_s for kernel in report.kernels) == pytest.approx(passes_s, rel=1e-9)
    assert sum(kernel.flops for kernel in report.kernels) * 2 == pytest.approx(
        report.flops["hardware"].flops_per_step, rel=1e-9
    )


def test_tied_tables_are_summed_after_the_replicas_have() -> None:
    plan = {"pp": 2, "dp": 4, "overlap": {"dp": True, "tp": False, "pp": False}}
    timeline = simulate(scenario_of(plan, model={"tied_embeddings": True})).timeline
    assert timeline is not None
    graph = timeline.graph
    names = np.array(graph.class_names)[graph.op_class]
    tied = timeline.start_s[names == "reduce tied embedding"]
    of_replicas = (graph.phase == OpPhase.REDUCE_GRADIENTS) & (names != "reduce tied embedding")
    assert tied.min() >= timeline.end_s[of_replicas].max()


def test_a_step_without_a_barrier_still_waits_for_its_own_weights() -> None:
    plan = {
        "pp": 2,
        "dp": 8,
        "schedule": "zb-h1",
        "sharding": "zero1",
        "overlap": {"dp": True, "tp": False, "pp": False},
    }
    scenario = scenario_of(plan, cluster={"preset": "aws-p4d-cluster", "nodes": 2})
    report = simulate(scenario)
    step = build_step(scenario)
    gathers = [i for i, name in enumerate(step.table.names) if name.startswith("gather")]
    assert report.time["dp_comm"] >= step.table.seconds[gathers].min()
    assert sum(report.time.values()) == pytest.approx(report.step_time_s, rel=1e-9)


def test_optimizers_with_less_state_move_less() -> None:
    seconds = [
        simulate(scenario_of({}, training={"optimizer": name})).time["optimizer"]
        for name in ("adam", "adam8bit", "sgd")
    ]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[0] > 1.2 * seconds[-1]


def test_fp32_attention_is_no_faster_than_its_peak() -> None:
    report = simulate(
        scenario_of(
            {},
            training={"precision": "fp32", "seq_length": 8192},
            cluster={"preset": "dgx-h100-superpod", "nodes": 1},
        )
    )
    assert report.hfu <= 1.0
    assert report.mfu <= 1.0


def test_hybrid_sharding_divides_by_the_devices_of_a_node() -> None:
    scenario = scenario_of({"dp": 16, "sharding": "hsdp"}, cluster={"nodes": 2})
    assert scenario.plan.shard_group_size == 8
    assert "plan.shard_group_size" in {note.name for note in scenario.assumptions}
