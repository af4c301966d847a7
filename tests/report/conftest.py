"""A small report with a hand-made timeline: two pipeline ranks, GPipe-like, four microbatches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.engine.timeline import Timeline
from simulator.machine import Assumption
from simulator.report.report import (
    SCHEMA_VERSION,
    FlopsRates,
    KernelShare,
    MemoryReport,
    OutOfMemory,
    RankMemory,
    Report,
)
from simulator.workload.op import OpGraph, OpPhase, Stream

P = OpPhase
STREAMS = (
    Stream("compute", 0),
    Stream("compute", 1),
    Stream("pp-send", 0),
    Stream("pp-send", 1),
    Stream("dp", 0),
)
# (stream, phase, stage, microbatch, start_s, end_s, preds): two microbatches over two ranks.
# A forward takes 1 ms, a backward 2 ms, a message 0.25 ms.
OPS: list[tuple[int, OpPhase, int, int, float, float, tuple[int, ...]]] = [
    (0, P.F, 0, 0, 0.0, 1e-3, ()),
    (2, P.SEND_ACTIVATION, 0, 0, 1e-3, 1.25e-3, (0,)),
    (0, P.F, 0, 1, 1e-3, 2e-3, ()),
    (1, P.F, 1, 0, 1.25e-3, 2.25e-3, (1,)),
    (2, P.SEND_ACTIVATION, 0, 1, 2e-3, 2.25e-3, (2,)),
    (1, P.B, 1, 0, 2.25e-3, 4.25e-3, (3,)),
    (3, P.SEND_GRADIENT, 1, 0, 4.25e-3, 4.5e-3, (5,)),
    (1, P.F, 1, 1, 4.25e-3, 5.25e-3, (4,)),
    (0, P.B, 0, 0, 4.5e-3, 6.5e-3, (6,)),
    (1, P.B, 1, 1, 5.25e-3, 7.25e-3, (7,)),
    (3, P.SEND_GRADIENT, 1, 1, 7.25e-3, 7.5e-3, (9,)),
    (0, P.B, 0, 1, 7.5e-3, 9.5e-3, (10,)),
    (-1, P.JOIN, -1, -1, 9.5e-3, 9.5e-3, (11, 9)),
    (4, P.REDUCE_GRADIENTS, 0, -1, 9.5e-3, 9.9e-3, (12,)),
    (0, P.OPTIMIZER, 0, -1, 9.9e-3, 10e-3, (13,)),
]


def make_timeline(ops: list[tuple[int, OpPhase, int, int, float, float, tuple[int, ...]]] = OPS):
    columns = list(zip(*ops, strict=True))
    last: dict[int, int] = {}
    stream_pred = []
    for index, stream in enumerate(columns[0]):
        stream_pred.append(last.get(stream, -1) if stream >= 0 else -1)
        last[stream] = index
    preds = columns[6]
    graph = OpGraph(
        op_class=np.array(columns[1], dtype=np.int64),
        stream=np.array(columns[0], dtype=np.int64),
        resource=np.full(len(ops), -1, dtype=np.int64),
        coupled=np.zeros(len(ops), dtype=np.bool_),
        phase=np.array(columns[1], dtype=np.int64),
        stage=np.array(columns[2], dtype=np.int64),
        microbatch=np.array(columns[3], dtype=np.int64),
        pred_offsets=np.cumsum([0, *map(len, preds)], dtype=np.int64),
        preds=np.array([p for row in preds for p in row], dtype=np.int64),
        stream_pred=np.array(stream_pred, dtype=np.int64),
        level_offsets=np.arange(len(ops) + 1, dtype=np.int64),
        streams=STREAMS,
        resources=(),
        class_names=tuple(phase.name.lower() for phase in OpPhase),
    )
    return Timeline(graph, np.array(columns[4]), np.array(columns[5]), "test")


def _rank(rank: int, activations: float) -> RankMemory:
    terms = {
        "weights": 10e9,
        "gradients": 10e9,
        "optimizer": 20e9,
        "activations": activations,
        "framework": 1.5e9,
    }
    states = 40e9 + 1.5e9
    return RankMemory(
        rank_class=f"pipeline rank {rank}",
        num_ranks=4,
        peak_bytes=sum(terms.values()),
        peak_at_s=2e-3,
        inflight_microbatches=2.0 - rank,
        terms=terms,
        history_s=(0.0, 1e-3, 2e-3, 6e-3, 9.5e-3, 10e-3),
        history_bytes=(
            states,
            states + activations / 2,
            states + activations,
            states + activations / 2,
            states,
            states,
        ),
    )


@pytest.fixture
def report() -> Report:
    """Eight devices, a step of 10 ms; every derived number follows from the ones given here."""
    ranks = (_rank(0, 12e9), _rank(1, 6e9))
    peak_flops_per_s, step_s = 312e12, 10e-3
    rates = {
        name: FlopsRates(u * peak_flops_per_s * step_s * 8, u * peak_flops_per_s, u)
        for name, u in {"palm": 0.40, "hardware": 0.50, "6n": 0.38, "megatron_model": 0.41}.items()
    }
    return Report(
        schema_version=SCHEMA_VERSION,
        scenario={
            "name": 'tiny <b>&amp; "quoted"',
            "model": {"preset": "tiny", "num_layers": 4},
            "plan": {"tp": 4, "pp": 2, "layers_per_stage": [2, 2]},
        },
        step_time_s=step_s,
        tokens_per_s=819200.0,
        tokens_per_s_per_device=102400.0,
        model_flops_per_s_per_device=0.40 * peak_flops_per_s,
        hardware_flops_per_s_per_device=0.50 * peak_flops_per_s,
        mfu=0.40,
        hfu=0.50,
        flops_convention="palm",
        flops=rates,
        time={
            "compute": 5e-3,
            "recompute": 1e-3,
            "tp_comm": 0.9e-3,
            "pp_comm": 0.25e-3,
            "dp_comm": 0.4e-3,
            "optimizer": 0.1e-3,
            "bubble": 2.35e-3,
        },
        memory=MemoryReport(
            fits=True,
            capacity_bytes=80e9,
            peak_bytes=ranks[0].peak_bytes,
            worst_rank_class=ranks[0].rank_class,
            rank_classes=ranks,
            out_of_memory=None,
        ),
        devices=8,
        kernels=(
            KernelShare("gemm", 4e-3, 9e11, 3e9),
            KernelShare("attention", 1e-3, 1e11, 1e9),
        ),
        assumptions=(
            Assumption("stack.kappa_gemm", "0.93", "fitted on calibration rows"),
            Assumption("network.hop_s", "1 us", "vendor data sheet"),
            Assumption("network.base_s", "5 us", "vendor data sheet"),
        ),
        provenance={"version": "0.1.0", "engine": "test"},
        timeline=make_timeline(),
    )


@pytest.fixture
def oom_report(report: Report) -> Report:
    """The same job on 40 GB devices: rank 0 needs 53.5 GB."""
    peak_bytes = report.memory.peak_bytes
    oom = OutOfMemory(
        peak_bytes,
        40e9,
        "optimizer",
        (("plan.sharding zero1", 18e9), ("training.recompute full", 9e9)),
    )
    memory = replace(report.memory, fits=False, capacity_bytes=40e9, out_of_memory=oom)
    return replace(report, memory=memory, timeline=None)
