"""Lowering of offload: weights come, activations go and come back, gradients go.

A pass is cut into one piece per layer. Everything a piece needs is asked for some layers ahead of
it, and everything that leaves it goes while the next ones compute; edges from pieces that are done
("credits") bound how many layers are on a tier at once, as buffers do.
"""

from __future__ import annotations

import numpy as np

from simulator.numeric import IntArray
from simulator.schedule.action import Phase
from simulator.workload.host_costs import HostCosts, Way
from simulator.workload.replica import Replica


def add_offload(replica: Replica) -> None:
    """Copies of weights, activations and gradients of every rank; the optimizer comes later."""
    host = replica.costs.host
    if host is None:
        return
    for rank in range(replica.schedule.num_ranks):
        if host.offload.weights.away > 0:
            _fetch_weights(replica, host, rank)
        if host.offload.activations.away > 0:
            _swap_activations(replica, host, rank)
        if host.offload.gradients.away > 0 or host.offload.optimizer.away > 0:
            _land_gradients(replica, host, rank)


def add_copies(
    replica: Replica,
    rank: int,
    way: Way,
    payload: tuple[float, ...] | float,
    pieces: IntArray,
    *,
    what: str,
    offset: float,
    stream: str = "",
) -> IntArray:
    """One copy per piece on the stream of its way.

    Args:
        replica: to which they are added.
        rank: whose they are.
        way: where from and to.
        payload: bytes of each, by virtual stage or the same for all.
        pieces: [copies], the pieces of passes that they serve.
        what: is copied.
        offset: place on the stream relative to that of the piece.
        stream: another stream than that of the way.

    Returns:
        [copies] ids.
    """
    host = replica.costs.host
    assert host is not None
    stages = replica.pieces.stage[pieces]
    rows, flows = np.zeros_like(pieces), np.zeros_like(pieces)
    phase = 0
    for stage in np.unique(stages).tolist():
        size = payload if isinstance(payload, float) else payload[stage]
        ops = host.copies(
            replica.draft,
            replica.costs.table,
            way,
            size,
            what=what,
            rank=rank,
            replica=replica.index,
        )
        rows[stages == stage], flows[stages == stage], phase = ops.row, ops.flow, ops.phase
    return replica.draft.add_ops(
        rows,
        replica.stream(stream or way.removesuffix("-broadcast"), rank),
        order=replica.pieces.order[pieces] + offset,
        phase=phase,
        stage=stages,
        microbatch=replica.pieces.microbatch[pieces],
        flow=flows,
    )


def after(replica: Replica, before: IntArray, ops: IntArray, distance: int) -> None:
    """Lets every op wait for the one ``distance`` places earlier in ``before``."""
    if distance < ops.size:
        replica.draft.add_edges(before[: ops.size - distance], ops[distance:])


def piece_parameters(replica: Replica, stage: int) -> float:
    """Parameters that one piece of a pass of a stage works on."""
    return replica.costs.parameters(stage) / max(replica.costs.kinds[stage].num_layers, 1)


def _payloads(replica: Replica, per_parameter: float) -> tuple[float, ...]:
    """[stages], bytes of one piece."""
    stages = range(replica.schedule.num_stages)
    return tuple(per_parameter * piece_parameters(replica, stage) for stage in stages)


def _fetch_weights(replica: Replica, host: HostCosts, rank: int) -> None:
    """NVMe -> host -> device -> gather -> use, each stage of this pipeline some layers ahead.

    On a device that gathers, a layer's shard is on its way ``depth`` layers ahead of its gather.
    """
    offload, pieces = host.offload, replica.pieces
    used = np.flatnonzero((pieces.rank == rank) & (pieces.phase != Phase.W))
    ids = replica.ids[used]
    gathers = replica.gathers.get(rank)
    whole = offload.transfer == "broadcast" or gathers is None
    elements = offload.weights.away / (1 if whole else host.weight_shards)
    payload = _payloads(replica, elements * host.weight_bytes)
    broadcast = offload.transfer == "broadcast" and host.weight_shards > 1
    way: Way = "h2d-broadcast" if broadcast else "h2d"
    copies = add_copies(replica, rank, way, payload, used, what="weights", offset=-0.4)
    replica.draft.add_edges(copies, ids if gathers is None else gathers.entry)
    beside = gathers is not None and replica.plan.overlap_dp and offload.overlap
    ahead = offload.depth + (replica.plan.prefetch_depth if beside else 0)
    after(replica, ids, copies, ahead + 1)
    if offload.weights.on_nvme > 0:
        reads = add_copies(replica, rank, "nvme-read", payload, used, what="weights", offset=-0.4)
        replica.draft.add_edges(reads, copies)
        # A buffer in host memory is free again when its copy to the device has ended.
        after(replica, copies if offload.overlap else ids, reads, offload.depth + 1)


def _swap_activations(replica: Replica, host: HostCosts, rank: int) -> None:
    """What a layer keeps leaves after its forward and is back before its backward."""
    offload, pieces = host.offload, replica.pieces
    forward = np.flatnonzero((pieces.rank == rank) & (pieces.phase == Phase.F))
    backward = np.flatnonzero((pieces.rank == rank) & (pieces.phase == Phase.B))
    counts = [max(kind.num_layers, 1) for kind in replica.costs.kinds]
    payload = tuple(
        swapped / count for swapped, count in zip(host.swapped_bytes, counts, strict=True)
    )
    out = add_copies(replica, rank, "d2h", payload, forward, what="activations", offset=0.4)
    back = add_copies(replica, rank, "h2d", payload, backward, what="activations", offset=-0.3)
    replica.draft.add_edges(replica.ids[forward], out)
    replica.draft.add_edges(back, replica.ids[backward])
    window = offload.depth + 1
    after(replica, out, replica.ids[forward], window)
    used = np.flatnonzero((pieces.rank == rank) & (pieces.phase != Phase.W))
    place = np.searchsorted(used, backward)
    earlier = place - window
    ok = earlier >= 0
    replica.draft.add_edges(replica.ids[used[earlier[ok]]], back[ok])

    # Of backward piece j of a pass the layer is that of forward piece count - 1 - j.
    stage, microbatch = pieces.stage[backward], pieces.microbatch[backward]
    same = pieces.last[Phase.F, stage, microbatch] - pieces.index[backward]
    stored = out[np.searchsorted(forward, same)]
    if offload.activations.on_nvme > 0:
        kept = add_copies(
            replica, rank, "nvme-write", payload, forward, what="activations", offset=0.4
        )
        reads = add_copies(
            replica, rank, "nvme-read", payload, backward, what="activations", offset=-0.3
        )
        replica.draft.add_edges(out, kept)
        after(replica, kept, out, window)
        replica.draft.add_edges(kept[np.searchsorted(forward, same)], reads)
        replica.draft.add_edges(reads, back)
        after(replica, back, reads, window)
    else:
        replica.draft.add_edges(stored, back)


def _land_gradients(replica: Replica, host: HostCosts, rank: int) -> None:
    """Gradients leave as they are reduced: after every microbatch, where they live off the device.

    Those that only the optimizer needs on the host leave after the last microbatch.
    """
    offload, pieces = host.offload, replica.pieces
    phase = replica.last_phase
    own = (pieces.rank == rank) & (pieces.phase == phase)
    every = offload.gradients.away > 0
    if not every:
        own &= pieces.microbatch == replica.schedule.num_microbatches - 1
    done = np.flatnonzero(own)
    away = max(offload.gradients.away, offload.optimizer.away)
    payload = _payloads(replica, away * host.gradient_bytes / host.gradient_shards)
    ready = np.array([replica.reduced.get(int(piece), -1) for piece in done])
    whole = replica.reduced_at_end.get(rank, -1)
    offset = 0.5 if whole < 0 else pieces.end + 1.5
    copies = add_copies(replica, rank, "d2h", payload, done, what="gradients", offset=offset)
    ready = np.where(ready >= 0, ready, whole if whole >= 0 else replica.ids[done])
    replica.draft.add_edges(ready, copies)
    if whole < 0:
        after(replica, copies, replica.ids[done], 1 + offload.overlap)
    landed = copies
    if offload.gradients.on_nvme > 0:
        stored = _payloads(
            replica, offload.gradients.on_nvme * host.gradient_bytes / host.gradient_shards
        )
        landed = _store_gradients(replica, rank, stored, done, copies)
    last = pieces.microbatch[done] == replica.schedule.num_microbatches - 1
    replica.landed[rank] = (done[last], landed[last])


def _store_gradients(
    replica: Replica, rank: int, payload: tuple[float, ...], done: IntArray, copies: IntArray
) -> IntArray:
    """Gradients on NVMe: after the first microbatch they are read, added up and written again."""
    pieces = replica.pieces
    writes = add_copies(replica, rank, "nvme-write", payload, done, what="gradients", offset=0.5)
    replica.draft.add_edges(copies, writes)
    later = pieces.microbatch[done] > 0
    if later.any():
        reads = add_copies(
            replica, rank, "nvme-read", payload, done[later], what="gradients", offset=0.5
        )
        replica.draft.add_edges(reads, writes[later])
        before = pieces.first[
            replica.last_phase, pieces.stage[done[later]], pieces.microbatch[done[later]] - 1
        ]
        stored = writes[np.searchsorted(done, before + pieces.index[done[later]])]
        replica.draft.add_edges(stored, reads)
    return writes
