"""What ``plan.offload`` is refused with, and which memory is said to be too small."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from simulator.auto_fit import fits
from simulator.cli import app
from simulator.errors import PlanError
from simulator.report.shortage import shortage
from simulator.simulate import memory_of, run_step, simulate
from simulator.spec.load import load_scenario
from simulator.step import build_step
from simulator.workload.op import OpPhase
from tests.strategies import SPLIT_BACKWARD

NAME = "zero-offload-13b"
BROADCAST = "{weights: nvme, optimizer: nvme, transfer: broadcast}"
GRADIENTS = "{gradients: host, optimizer: host}"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["plan.sharding=mics", "stack=megatron-core-2024"], "sharding mics together"),
        (["training.gradient_release=layerwise"], "gradient_release layerwise together"),
        (["training.optimizer=apollo"], "optimizer apollo together"),
        (["training.fine_tuning=lora"], "adapters together"),
        (["plan.sharding=zero1", f"plan.offload={GRADIENTS}"], "zero1 keeps them whole"),
        (["plan.offload={weights: host}"], "updated weights back is not modelled"),
        (
            ["plan.sharding=zero2", "plan.offload={weights: host, optimizer: host}"],
            "zero2 keeps a whole copy",
        ),
        (
            ["plan.sharding=zero3", f"plan.offload={BROADCAST}"],
            "broadcast of weights on NVMe",
        ),
        (["plan.offload={tiling: 8}"], "tiling 8 has no effect"),
    ],
)
def test_what_is_not_modelled_together(overrides: list[str], words: str) -> None:
    with pytest.raises(PlanError, match=words):
        load_scenario(NAME, overrides)


@pytest.mark.parametrize("schedule", SPLIT_BACKWARD)
def test_no_schedule_without_a_barrier_offloads(schedule: str) -> None:
    """Their breakdown knows gathers that a rank waits for first, but not the copies before them."""
    with pytest.raises(PlanError, match=f"schedule {schedule} together"):
        load_scenario(
            NAME,
            [
                f"plan={{pp: 4, dp: 4, schedule: {schedule}, offload: {GRADIENTS}}}",
                f"plan.virtual_stages={2 if schedule == 'zb-v' else 1}",
                "model.num_layers=64",
                "training.global_batch_size=64",
            ],
        )


def test_a_policy_of_levels_refuses_adapters() -> None:
    with pytest.raises(PlanError, match=r"adapters, .* with sharding zero3-hpz"):
        load_scenario("gpt-18b-zeropp", ["plan.sharding=zero3-hpz", "training.fine_tuning=lora"])


def test_the_memory_that_is_too_small_is_named() -> None:
    memory = memory_of(load_scenario(NAME, ["plan.sharding=ddp"]))
    short = shortage(memory)
    assert short is not None
    assert "host memory of a node" in str(short)
    assert short.demand_bytes > short.usable_bytes


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        (("compare",), "does NOT fit in host memory"),
        (("tradeoff", "--micro-batch-size", "2"), "too large for host memory"),
        (("hardware", "--clusters", "dgx-2-cluster"), "does not fit in host memory"),
    ],
)
def test_tables_that_show_the_device_name_another_memory(verb: tuple[str, ...], words: str) -> None:
    command, *options = verb
    result = CliRunner().invoke(app, [command, NAME, *options, "--set", "plan.sharding=ddp"])
    assert result.exit_code == 3
    last_column = " ".join(line[100:] for line in result.stdout.splitlines())
    assert words in result.stdout or words in " ".join(last_column.split())


def test_a_share_of_memory_is_one_of_every_memory() -> None:
    memory = memory_of(load_scenario(NAME))
    (host,) = [tier for tier in memory.tiers if tier.name == "host"]
    full = max(memory.peak_bytes / memory.capacity_bytes, host.demand_bytes / host.capacity_bytes)
    assert full < 1.0
    assert fits(memory, full + 1e-9)
    assert not fits(memory, full - 1e-9)


def test_no_update_begins_before_its_gradients_are_there() -> None:
    scenario = load_scenario(
        NAME, ["plan.sharding=zero2", "plan.overlap.dp=false", f"plan.offload={GRADIENTS}"]
    )
    graph = build_step(scenario).graph
    updates = {
        op for op in range(graph.num_ops) if graph.streams[graph.stream[op]].name == "cpu-optimizer"
    }
    landed = {op for op in range(graph.num_ops) if graph.phase[op] == OpPhase.TO_HOST}
    waits = set()
    for op in updates:
        preds = graph.preds[graph.pred_offsets[op] : graph.pred_offsets[op + 1]].tolist()
        waits |= set(preds) & landed
    assert updates
    assert waits == landed


def test_offload_is_a_term_wherever_something_lives_elsewhere() -> None:
    assert "offload" in simulate(load_scenario(NAME), levers=False).time
    assert "offload" not in simulate(load_scenario("gpt2-xl-one-gpu"), levers=False).time


def test_gathers_run_no_further_ahead_than_copies() -> None:
    """A layer is gathered when the one before it is done, however far the plan lets gathers run.

    Two layers ahead, a gather would stand in its stream before a reduction that the copy of its
    weights waits for: a deadlock.
    """
    homes = "{weights: {tier: host, fraction: 0.25}, optimizer: {tier: host, fraction: 0.25}"
    late = load_scenario(
        NAME,
        [
            "plan.sharding=zero3",
            "plan.prefetch_depth=2",
            "plan.overlap.dp=true",
            f"plan.offload={homes}, prefetch_depth: 0, overlap: false}}",
        ],
    )
    timeline, _ = run_step(build_step(late), "des")
    phase = timeline.graph.phase
    gathers = np.flatnonzero(phase == OpPhase.GATHER_WEIGHTS)
    passes = np.flatnonzero((phase == OpPhase.F) | (phase == OpPhase.B))
    assert gathers.size == passes.size > 2
    assert np.all(timeline.start_s[gathers[1:]] >= timeline.end_s[passes[:-1]])


def _with_delayed_update(gradient_bytes: int, moment: str) -> float:
    """Gradients in the host memory of a node, in bytes."""
    offload = f"{{gradients: host, optimizer: host, optimizer_moment: {moment}}}"
    memory = memory_of(
        load_scenario(
            NAME,
            [
                "plan.sharding=zero2",
                f"plan.offload={offload}",
                f"training.optimizer={{name: adam, gradient_bytes: {gradient_bytes}}}",
            ],
        )
    )
    return next(tier for tier in memory.tiers if tier.name == "host").terms["gradients"]


def test_a_delayed_update_reads_one_set_of_gradients_while_another_lands() -> None:
    """In 32 bits two sets of 4 bytes; in 16 bits the landing 2 and the 4 that the update reads."""
    assert _with_delayed_update(4, "delayed") == 2 * _with_delayed_update(4, "after_step")
    assert _with_delayed_update(2, "delayed") == _with_delayed_update(2, "after_step")
    assert _with_delayed_update(2, "delayed") == 1.5 * _with_delayed_update(4, "after_step")


@pytest.mark.parametrize(("home", "depth"), [("host", 1), ("nvme", 6)])
def test_weights_asked_for_ahead_do_not_queue_behind_gradients_that_come_back(
    home: str, depth: int
) -> None:
    """Else a gather waits for its copy, that for gradients, those for a reduction after the gather.

    Found by the laws of offload; each home deadlocked on a stream of its own.
    """
    offload = f"{{weights: {home}, gradients: {home}, optimizer: {home}, prefetch_depth: {depth}}}"
    shape = "num_layers: 2, hidden_size: 512, num_attention_heads: 8, vocab_size: 1024"
    overrides = [
        f"model={{{shape}}}",
        "training.global_batch_size=8",
        "training.micro_batch_size=1",
        "cluster={preset: dgx-2-cluster, nodes: 1}",
        f"plan={{dp: 2, sharding: zero3, prefetch_depth: {depth}, offload: {offload}}}",
    ]
    assert simulate(load_scenario(NAME, overrides)).step_time_s > 0
