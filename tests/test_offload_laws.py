"""Laws of offload over random homes and machines: volumes, bandwidths, windows, bounds."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine.timeline import Timeline
from simulator.host_share import ADAM_BYTES_PER_PARAMETER
from simulator.machine import MemoryTier
from simulator.numeric import FloatArray, IntArray
from simulator.offload import Offload
from simulator.plan import num_microbatches
from simulator.scenario import Scenario, check
from simulator.simulate import memory_of, run_step, simulate
from simulator.spec.load import parse_scenario
from simulator.step import Step, build_step
from simulator.workload.op import OpPhase

ROUNDING = 1e-6
"""Times are whole ticks of 1 ps, of copies of a microsecond and more."""

HOMES = st.sampled_from(["device", "host", "nvme"]).flatmap(
    lambda tier: st.fixed_dictionaries(
        {
            "tier": st.just(tier),
            "fraction": st.just(1.0) if tier == "device" else st.sampled_from([0.25, 0.5, 1.0]),
        }
    )
)
OFFLOADS = st.fixed_dictionaries(
    {
        "weights": HOMES,
        "gradients": HOMES,
        "optimizer": HOMES,
        "activations": HOMES,
        "prefetch_depth": st.integers(0, 5),
        "pinned_buffer_bytes": st.sampled_from(["2 MB", "1 GB"]),
        "pinned_buffers": st.integers(1, 4),
        "transfer": st.sampled_from(["partitioned", "broadcast"]),
        "overlap": st.booleans(),
        "optimizer_moment": st.sampled_from(["after_step", "in_backward", "delayed"]),
    }
)
RATES = st.floats(0.5e9, 50e9)


def _away(home: dict[str, object]) -> float:
    return 0.0 if home["tier"] == "device" else float(str(home["fraction"]))


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    dp, count = draw(st.sampled_from([1, 2, 4])), draw(st.integers(1, 3))
    sharding = draw(st.sampled_from(["ddp", "zero1", "zero2", "zero3"]))
    offload = draw(OFFLOADS)
    adds_up = dp > 1 and count > 1 and sharding in ("ddp", "zero1")
    whole = dp > 1 and sharding == "zero1"
    if adds_up or whole or offload["optimizer"]["tier"] == "device":
        offload["gradients"] = {"tier": "device"}
    away = {kind: _away(offload[kind]) for kind in ("weights", "optimizer")}
    copied = dp > 1 and sharding in ("zero1", "zero2")
    if copied or away["weights"] > away["optimizer"]:
        offload["weights"] = {"tier": "device"}
    if offload["weights"]["tier"] == "nvme":
        offload["transfer"] = "partitioned"
    scenario = parse_scenario(
        {
            "model": {
                "num_layers": draw(st.integers(1, 4)),
                "hidden_size": 512,
                "ffn_hidden_size": 2048,
                "num_attention_heads": 8,
                "vocab_size": 1024,
                "max_position_embeddings": 256,
            },
            "training": {
                "global_batch_size": dp * count,
                "seq_length": 256,
                "precision": "fp16",
                "recompute": draw(st.sampled_from(["none", "full"])),
            },
            "plan": {
                "dp": dp,
                "sharding": sharding,
                "prefetch_depth": draw(st.integers(1, 4)),
                "overlap": {"dp": draw(st.booleans())},
                "offload": offload,
            },
            "cluster": {"preset": "dgx-2-cluster", "nodes": 1},
            "stack": "deepspeed-zero-2020",
        }
    )
    node = replace(
        scenario.cluster.node,
        host_memory=MemoryTier(1e12, draw(RATES) * 16, 1e12),
        nvme=MemoryTier(1e13, draw(RATES), draw(RATES)),
        host_link_bytes_per_s=draw(RATES),
        adam_parameters_per_s=draw(st.floats(1e8, 1e10)),
    )
    return replace(scenario, cluster=replace(scenario.cluster, node=node))


def offload_of(step: Step) -> Offload:
    host = step.costs.host
    return Offload() if host is None else host.offload


def moved(step: Step) -> dict[tuple[str, str], float]:
    """(stream, what) -> bytes of the step."""
    graph, total = step.graph, defaultdict[tuple[str, str], float](float)
    for op in np.flatnonzero(graph.flow >= 0).tolist() if graph.flow.size else []:
        stream = graph.streams[int(graph.stream[op])].name
        what, size = moved_by(graph.class_names[int(graph.op_class[op])])
        total[stream, what] += size
    return {key: size for key, size in total.items() if size}


def moved_by(name: str) -> tuple[str, float]:
    """What a class of ops moves, and how many bytes: its name says so."""
    if updates := re.fullmatch(r"Adam on host, (\d+) parameters", name):
        return "adam", ADAM_BYTES_PER_PARAMETER * float(updates[1])
    copies = re.fullmatch(r"\S+ (\d+) B of (.+)", name)
    assert copies is not None, name
    return copies[2], float(copies[1])


def closed_forms(step: Step) -> dict[tuple[str, str], float]:
    """The volumes of a rank and step, from parameters, homes and shards alone."""
    scenario, offload = step.scenario, offload_of(step)
    plan, optimizer = scenario.plan, scenario.training.optimizer
    psi = step.costs.rank_parameters((0,))
    count = num_microbatches(scenario.training, plan)
    states = optimizer.state_bytes + optimizer.master_bytes
    width, narrow = 2.0, optimizer.gradient_bytes
    policy, n = plan.sharding, plan.dp
    gathers = policy.gather == "before_use" and n > 1
    weights = psi * width / (n if gathers and offload.transfer == "partitioned" else 1)
    gradients = psi * narrow / (n if policy.shard_gradients or policy.shard_optimizer else 1)
    owned = psi / (n if policy.shard_optimizer else 1)
    w, g, o, a = offload.weights, offload.gradients, offload.optimizer, offload.activations
    landings = count if g.away else 1
    swapped = count * step.costs.activations[0].swapped
    volumes = {
        ("h2d", "weights"): 2 * count * weights * w.away,
        ("nvme-read", "weights"): 2 * count * weights * w.on_nvme,
        ("d2h", "gradients"): landings * gradients * max(g.away, o.away),
        ("h2d", "gradients"): (count - 1) * gradients * g.share("host"),
        ("nvme-write", "gradients"): count * gradients * g.on_nvme,
        ("nvme-read", "gradients"): (count - 1) * gradients * g.on_nvme,
        ("d2h", "activations"): swapped,
        ("h2d", "activations"): swapped,
        ("nvme-write", "activations"): swapped * (a.on_nvme > 0),
        ("nvme-read", "activations"): swapped * (a.on_nvme > 0),
        ("cpu-optimizer", "adam"): 28 * owned * o.away,
        ("optimizer-h2d", "updated weights"): owned * o.away * width * w.share("device"),
        ("optimizer-write", "states"): owned * (states * o.on_nvme + o.away * width * w.on_nvme),
        ("optimizer-read", "states"): owned * (states * o.on_nvme + o.away * narrow * g.on_nvme),
    }
    return {key: size for key, size in volumes.items() if size}


@given(scenarios())
@settings(deadline=None)
def test_bytes_on_every_way_equal_the_closed_forms(scenario: Scenario) -> None:
    check(scenario)
    step = build_step(scenario)
    # A name of a class holds whole bytes, of which a chunk has some thousand.
    assert moved(step) == pytest.approx(closed_forms(step), rel=1e-3)


@given(scenarios())
@settings(deadline=None)
def test_time_terms_are_not_negative_and_sum_to_the_step(scenario: Scenario) -> None:
    report = simulate(scenario, levers=False)
    assert min(report.time.values()) >= 0.0
    assert sum(report.time.values()) == pytest.approx(report.step_time_s, rel=1e-9)


def busiest(timeline: Timeline, duration_s: FloatArray, resource: int) -> float:
    """Most work on a resource inside any interval, over the interval's length."""
    graph = timeline.graph
    share = np.array(
        [dict(graph.flows[f]).get(resource, 0.0) if f >= 0 else 0.0 for f in graph.flow.tolist()]
    )
    users = np.flatnonzero(share > 0)
    starts, ends = timeline.start_s[users], timeline.end_s[users]
    work = (share * duration_s)[users]
    most = 0.0
    for begin in np.unique(starts).tolist():
        inside = starts >= begin
        order = np.argsort(ends[inside])
        done = np.cumsum(work[inside][order])
        length = ends[inside][order] - begin
        most = max(most, float(np.max(done[length > 0] / length[length > 0], initial=0.0)))
    return most


@given(scenarios())
@settings(deadline=None)
def test_no_resource_is_above_its_bandwidth_at_any_time(scenario: Scenario) -> None:
    step = build_step(scenario)
    timeline, _ = run_step(step, "des")
    if not timeline.graph.flow.size:
        return
    for resource in range(len(timeline.graph.resources)):
        assert busiest(timeline, step.durations_s(), resource) <= 1 + ROUNDING


@given(scenarios())
@settings(deadline=None)
def test_maxplus_is_a_lower_bound(scenario: Scenario) -> None:
    step = build_step(scenario)
    bound, _ = run_step(step, "maxplus")
    timeline, _ = run_step(step, "des")
    assert np.all(bound.end_s <= timeline.end_s + 1e-9)


def held(timeline: Timeline, begins: IntArray, ends: IntArray) -> int:
    """Most pairs that are open at once: from the start of one op to the end of the other."""
    opened, closed = np.sort(timeline.start_s[begins]), np.sort(timeline.end_s[ends])
    at = opened + 1e-9  # what ends as another begins makes room for it
    counts = np.searchsorted(opened, at, side="right") - np.searchsorted(closed, at, side="right")
    return int(counts.max(initial=0))


def ops_of(timeline: Timeline, stream: str, what: str = "") -> IntArray:
    graph = timeline.graph
    named = [
        op
        for op in range(graph.num_ops)
        if graph.stream[op] >= 0
        and graph.streams[int(graph.stream[op])].name == stream
        and graph.class_names[int(graph.op_class[op])].endswith(what)
    ]
    return np.array(named, dtype=np.int64)


@given(scenarios())
@settings(deadline=None)
def test_layers_in_buffers_never_exceed_what_the_report_counts(scenario: Scenario) -> None:
    step = build_step(scenario)
    timeline, _ = run_step(step, "auto")
    offload, plan = offload_of(step), scenario.plan
    compute = ops_of(timeline, "compute")
    passes = compute[np.isin(timeline.graph.phase[compute], [OpPhase.F, OpPhase.B])]
    gathers = plan.sharding.gather == "before_use" and plan.dp > 1
    if offload.weights.away and not gathers:
        weights = ops_of(timeline, "h2d", "weights")
        assert held(timeline, weights, passes) <= offload.depth + 1
    if offload.weights.on_nvme:
        reads = ops_of(timeline, "nvme-read", "weights")
        assert held(timeline, reads, ops_of(timeline, "h2d", "weights")) <= offload.depth + 1
    if offload.gradients.away and plan.dp == 1:
        backwards = compute[timeline.graph.phase[compute] == OpPhase.B]
        landed = ops_of(timeline, "d2h", "gradients")
        assert held(timeline, backwards, landed) <= 1 + offload.overlap


@given(scenarios())
@settings(deadline=None)
def test_no_level_holds_more_than_the_report_says(scenario: Scenario) -> None:
    step = build_step(scenario)
    timeline, _ = run_step(step, "auto")
    memory = memory_of(scenario)
    assert max(memory.rank_classes[0].history_bytes) <= memory.peak_bytes * (1 + ROUNDING)
    offload = offload_of(step)
    tiers = {tier.name: tier.terms for tier in memory.tiers}
    if offload.activations.away:
        out, back = ops_of(timeline, "d2h", "activations"), ops_of(timeline, "h2d", "activations")
        each = step.costs.activations[0].swapped / scenario.model.num_layers
        on_node = held(timeline, out, back) * each * scenario.plan.dp
        assert on_node <= sum(
            tiers[name].get("activations", 0.0) + terms.get("pinned", 0.0)
            for name, terms in tiers.items()
        ) * (1 + ROUNDING)
    if offload.optimizer.away:
        states = memory.rank_classes[0].terms
        assert states["optimizer"] == pytest.approx(
            offload.optimizer.share("device")
            * step.costs.rank_parameters((0,))
            * scenario.training.optimizer.state_bytes
            / (scenario.plan.dp if scenario.plan.sharding.shard_optimizer else 1)
        )
