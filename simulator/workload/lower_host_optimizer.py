"""Lowering of the optimizer step on the host: read states | update | write, chunk by chunk."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from simulator.numeric import FloatArray, IntArray
from simulator.offload import consumes_gradients
from simulator.workload.host_costs import Copies, HostCosts, Owner
from simulator.workload.lower_offload import after
from simulator.workload.op import OpPhase
from simulator.workload.replica import Replica

_Stream = Literal["cpu-optimizer", "optimizer-read", "optimizer-write", "optimizer-h2d"]
"""Queues that a chunk passes, each after the one before it has let it go."""


class _Chunks(NamedTuple):
    """The optimizer's work of a rank, in the order of the gradients.

    Attributes:
        stage: [chunks].
        order: [chunks], place of the piece whose gradient it is.
        gradient: [chunks], op that lands it.
    """

    stage: IntArray
    order: FloatArray
    gradient: IntArray


def add_host_optimizer(replica: Replica) -> None:
    """The update of what lives off the device, and the join that ends the step when it is done."""
    host = replica.costs.host
    if host is None:
        return
    for rank in range(replica.schedule.num_ranks):
        ends = _optimizer(replica, host, rank) if host.offload.optimizer.away > 0 else []
        if rank in replica.landed:
            ends.append(int(replica.landed[rank][1][-1]))
        done = replica.draft.add_ops(
            replica.costs.join_row(),
            replica.stream("compute", rank),
            order=replica.pieces.end + 3.5,
            phase=int(OpPhase.JOIN),
        )
        replica.draft.add_edges(np.array(ends, dtype=np.int64), np.full(len(ends), done[0]))


def chunks_of(replica: Replica, host: HostCosts, stage: int) -> int:
    """Chunks of the states of one layer: each fits a pinned buffer with its gradients."""
    parameters = replica.costs.piece_parameters(stage) * host.offload.optimizer.away
    held = parameters / host.optimizer_shards * (host.state_bytes + host.gradient_bytes)
    return max(1, int(np.ceil(held / host.offload.pinned_buffer_bytes)))


def _chunks(replica: Replica, host: HostCosts, rank: int) -> _Chunks:
    done, landed = replica.landed[rank]
    stage = replica.pieces.stage[done]
    times = np.array([chunks_of(replica, host, s) for s in stage.tolist()])
    return _Chunks(
        np.repeat(stage, times),
        np.repeat(replica.pieces.order[done], times),
        np.repeat(landed, times),
    )


def _optimizer(replica: Replica, host: HostCosts, rank: int) -> list[int]:
    """Chunks through read, update, write and copy back; the ops that end each stream."""
    offload, chunks = host.offload, _chunks(replica, host, rank)
    draft = replica.draft
    adam = _add(replica, host, rank, "cpu-optimizer", chunks)
    begins, stages = adam, [adam]
    frees = adam
    if offload.optimizer.on_nvme > 0 or offload.gradients.on_nvme > 0:
        begins = _add(replica, host, rank, "optimizer-read", chunks)
        draft.add_edges(begins, adam)
        stages.append(begins)
    if _written_bytes(host):
        frees = _add(replica, host, rank, "optimizer-write", chunks)
        draft.add_edges(adam, frees)
        stages.append(frees)
    if offload.weights.share("device") > 0:
        updated = _add(replica, host, rank, "optimizer-h2d", chunks)
        draft.add_edges(adam, updated)
        stages.append(updated)
        if rank in replica.step_gathers:
            entry = replica.step_gathers[rank].entry
            draft.add_edges(np.full(entry.size, updated[-1]), entry)
    if begins is not adam:
        after(replica, frees, begins, offload.pinned_buffers)
    if offload.optimizer_moment == "in_backward":
        draft.add_edges(chunks.gradient, adam)
        if consumes_gradients(offload, replica.schedule.num_microbatches):
            # A gradient has a buffer on the host until it is used.
            first = np.flatnonzero(np.append(True, chunks.gradient[1:] != chunks.gradient[:-1]))
            after(
                replica,
                adam[np.append(first[1:], adam.size) - 1],
                chunks.gradient[first],
                offload.pinned_buffers,
            )
        if offload.gradients.on_nvme > 0 and begins is not adam:
            draft.add_edges(chunks.gradient, begins)
    elif offload.optimizer_moment == "after_step":
        gate = replica.optimizer_steps[rank]
        draft.add_edges(np.array([gate, gate]), np.array([begins[0], adam[0]]))
        draft.add_edges(chunks.gradient, adam)
    return [int(ops[-1]) for ops in stages]


def _written_bytes(host: HostCosts) -> float:
    """Bytes per parameter that go back to NVMe: states, and weights where they live there."""
    offload = host.offload
    return host.state_bytes * offload.optimizer.on_nvme / offload.optimizer.away + (
        host.weight_bytes * offload.weights.on_nvme
    )


def _add(
    replica: Replica, host: HostCosts, rank: int, stream: _Stream, chunks: _Chunks
) -> IntArray:
    rows, flows = np.zeros_like(chunks.stage), np.zeros_like(chunks.stage)
    phase = 0
    for stage in np.unique(chunks.stage).tolist():
        ops = _ops(replica, host, rank, stream, stage)
        mask = chunks.stage == stage
        rows[mask], flows[mask], phase = ops.row, ops.flow, ops.phase
    return replica.draft.add_ops(
        rows,
        replica.stream(stream, rank),
        order=chunks.order,
        phase=phase,
        stage=chunks.stage,
        flow=flows,
    )


def _ops(replica: Replica, host: HostCosts, rank: int, stream: _Stream, stage: int) -> Copies:
    """What one chunk of a stage does on one of the streams."""
    offload = host.offload
    parameters = replica.costs.piece_parameters(stage) * offload.optimizer.away
    parameters /= host.optimizer_shards * chunks_of(replica, host, stage)
    on_nvme = offload.optimizer.on_nvme / offload.optimizer.away
    owner = Owner(replica.draft, replica.costs.table, rank, replica.index)
    match stream:
        case "cpu-optimizer":
            return host.adam(owner, parameters)
        case "optimizer-read":
            gradients = host.gradient_bytes * offload.gradients.on_nvme
            read = parameters * (host.state_bytes * on_nvme + gradients)
            return host.copies(owner, "nvme-read", read, what="states")
        case "optimizer-write":
            written = parameters * _written_bytes(host)
            return host.copies(owner, "nvme-write", written, what="states")
        case "optimizer-h2d":
            updated = parameters * (host.weight_bytes * offload.weights.share("device"))
            return host.copies(owner, "h2d", updated, what="updated weights")
