"""Lowering of offload: weights come, activations go and come back, gradients go.

A pass is cut into one piece per layer. Everything a piece needs is asked for some layers ahead of
it, and everything that leaves it goes while the next ones compute; edges from pieces that are done
("credits") bound how many layers are on a tier at once, as buffers do.
"""

from __future__ import annotations

import numpy as np

from simulator.numeric import FloatArray, IntArray
from simulator.schedule.action import Phase
from simulator.workload.host_costs import STREAMS, Cargo, HostCosts, Owner, Way
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
    way: Way,
    payload: FloatArray,
    pieces: IntArray,
    *,
    what: Cargo,
    place: FloatArray,
) -> IntArray:
    """One copy per piece on the stream of its way.

    Args:
        replica: to which they are added.
        way: where from and to.
        payload: [copies], bytes of each.
        pieces: [copies], the pieces of one rank's passes that they serve.
        what: is copied.
        place: [copies], on the stream: that of the last piece that a copy waits for, or what is
            asked for later could block it there.

    Returns:
        [copies] ids.
    """
    host = replica.costs.host
    assert host is not None
    rank = int(replica.pieces.rank[pieces[0]])
    owner = Owner(replica.draft, replica.costs.table, rank, replica.index)
    rows, flows, phase = np.zeros_like(pieces), np.zeros_like(pieces), 0
    for size in np.unique(payload).tolist():
        ops = host.copies(owner, way, size, what=what)
        rows[payload == size], flows[payload == size], phase = ops.row, ops.flow, ops.phase
    return replica.draft.add_ops(
        rows,
        replica.stream(STREAMS[way], rank),
        order=place,
        phase=phase,
        stage=replica.pieces.stage[pieces],
        microbatch=replica.pieces.microbatch[pieces],
        flow=flows,
    )


def after(replica: Replica, before: IntArray, ops: IntArray, distance: int) -> None:
    """Lets every op wait for the one ``distance`` places earlier in ``before``."""
    if distance < ops.size:
        replica.draft.add_edges(before[: ops.size - distance], ops[distance:])


def piece_sizes(replica: Replica, pieces: IntArray) -> FloatArray:
    """[pieces], parameters that each works on."""
    stages = range(replica.schedule.num_stages)
    sizes = np.array([replica.costs.piece_parameters(stage) for stage in stages])
    return sizes[replica.pieces.stage[pieces]]


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
    times = np.array([replica.costs.gathers_in(phase) for phase in (Phase.F, Phase.B)])
    payload = (
        piece_sizes(replica, used) * (elements * host.weight_bytes) * times[pieces.phase[used]]
    )
    broadcast = offload.transfer == "broadcast" and host.weight_shards > 1
    way: Way = "h2d-broadcast" if broadcast else "h2d"
    beside = gathers is not None and replica.plan.overlap_dp and offload.overlap
    ahead = offload.depth + (replica.plan.prefetch_depth if beside else 0)
    place = pieces.order[used] - 0.4 - ahead
    copies = add_copies(replica, way, payload, used, what="weights", place=place)
    replica.draft.add_edges(copies, ids if gathers is None else gathers.entry)
    after(replica, ids, copies, ahead + 1)
    if offload.weights.on_nvme > 0:
        earlier = offload.depth + (1 if offload.overlap else -ahead)
        reads = add_copies(
            replica, "nvme-read", payload, used, what="weights", place=place - earlier
        )
        replica.draft.add_edges(reads, copies)
        # A buffer in host memory is free again when its copy to the device has ended.
        after(replica, copies if offload.overlap else ids, reads, offload.depth + 1)


def _swap_activations(replica: Replica, host: HostCosts, rank: int) -> None:
    """What a layer keeps leaves after its forward and is back before its backward."""
    offload, pieces = host.offload, replica.pieces
    forward = np.flatnonzero((pieces.rank == rank) & (pieces.phase == Phase.F))
    backward = np.flatnonzero((pieces.rank == rank) & (pieces.phase == Phase.B))
    counts = np.array([kind.num_pieces for kind in replica.costs.kinds])
    swapped = np.array(host.swapped_bytes) / counts
    going, coming = swapped[pieces.stage[forward]], swapped[pieces.stage[backward]]
    window = offload.depth + 1
    # Of backward piece j of a pass the layer is that of forward piece count - 1 - j.
    stage, microbatch = pieces.stage[backward], pieces.microbatch[backward]
    same = pieces.last[Phase.F, stage, microbatch] - pieces.index[backward]
    gone, asked = pieces.order[forward] + 0.4, pieces.order[same] + 0.7
    place = np.maximum(pieces.order[backward] - 0.3 - offload.depth, asked)
    out = add_copies(replica, "d2h", going, forward, what="activations", place=gone)
    back = add_copies(replica, "h2d", coming, backward, what="activations", place=place)
    replica.draft.add_edges(replica.ids[forward], out)
    replica.draft.add_edges(back, replica.ids[backward])
    after(replica, out, replica.ids[forward], window)
    used = np.flatnonzero((pieces.rank == rank) & (pieces.phase != Phase.W))
    earlier = np.searchsorted(used, backward) - window
    ok = earlier >= 0
    replica.draft.add_edges(replica.ids[used[earlier[ok]]], back[ok])
    if offload.activations.on_nvme > 0:
        kept = add_copies(replica, "nvme-write", going, forward, what="activations", place=gone)
        place = np.append(asked[:window], np.maximum(asked[window:], place[:-window]))
        reads = add_copies(replica, "nvme-read", coming, backward, what="activations", place=place)
        replica.draft.add_edges(out, kept)
        after(replica, kept, out, window)
        replica.draft.add_edges(kept[np.searchsorted(forward, same)], reads)
        replica.draft.add_edges(reads, back)
        after(replica, back, reads, window)
    else:
        replica.draft.add_edges(out[np.searchsorted(forward, same)], back)


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
    each = piece_sizes(replica, done) * host.gradient_bytes / host.gradient_shards
    ready = np.array([replica.reduced.get(int(piece), -1) for piece in done])
    whole = replica.reduced_at_end.get(rank, -1)
    place = pieces.order[done] + (0.5 if whole < 0 else pieces.end + 1.5)
    copies = add_copies(replica, "d2h", away * each, done, what="gradients", place=place)
    ready = np.where(ready >= 0, ready, whole if whole >= 0 else replica.ids[done])
    replica.draft.add_edges(ready, copies)
    if whole < 0:
        after(replica, copies, replica.ids[done], 1 + offload.overlap)
    if every and offload.gradients.tier == "host":
        _add_up_on_device(replica, each * offload.gradients.away, done, ready, copies)
    landed = copies
    if offload.gradients.on_nvme > 0:
        stored = offload.gradients.on_nvme * each
        landed = _store_gradients(replica, stored, done, copies)
    last = pieces.microbatch[done] == replica.schedule.num_microbatches - 1
    replica.landed[rank] = (done[last], landed[last])


def _add_up_on_device(
    replica: Replica, payload: FloatArray, done: IntArray, ready: IntArray, landings: IntArray
) -> None:
    """After the first microbatch, what has landed comes back, is added to, and lands again.

    The addition itself, and its buffer of one layer's shard, are taken to be small.

    Source: DeepSpeed, runtime/zero/stage3.py, ``partition_grads``: "copy first to src device, do
        the addition there, then move back to dst. adding directly to cpu is very slow".

    Args:
        replica: to which the copies are added.
        payload: [pieces], bytes of each.
        done: [pieces], of the backwards whose gradients leave.
        ready: [pieces], ops that complete their gradients.
        landings: [pieces], ops that take them to the host.
    """
    pieces = replica.pieces
    later = np.flatnonzero(pieces.microbatch[done] > 0)
    if not later.size:
        return
    own = done[later]
    place = pieces.order[own] + 0.45
    back = add_copies(replica, "h2d", payload[later], own, what="gradients", place=place)
    first = pieces.first[replica.last_phase, pieces.stage[own], pieces.microbatch[own] - 1]
    replica.draft.add_edges(ready[later], back)
    replica.draft.add_edges(landings[np.searchsorted(done, first + pieces.index[own])], back)
    replica.draft.add_edges(back, landings[later])


def _store_gradients(
    replica: Replica, payload: FloatArray, done: IntArray, copies: IntArray
) -> IntArray:
    """Gradients on NVMe: after the first microbatch they are read, added up and written again."""
    pieces = replica.pieces
    place = pieces.order[done] + 0.5
    writes = add_copies(replica, "nvme-write", payload, done, what="gradients", place=place)
    replica.draft.add_edges(copies, writes)
    later = pieces.microbatch[done] > 0
    if later.any():
        reads = add_copies(
            replica, "nvme-read", payload[later], done[later], what="gradients", place=place[later]
        )
        replica.draft.add_edges(reads, writes[later])
        before = pieces.first[
            replica.last_phase, pieces.stage[done[later]], pieces.microbatch[done[later]] - 1
        ]
        stored = writes[np.searchsorted(done, before + pieces.index[done[later]])]
        replica.draft.add_edges(stored, reads)
    return writes
