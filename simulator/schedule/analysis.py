"""What a schedule alone tells: activations held at once, and the bubble for uniform stages."""

from __future__ import annotations

import numpy as np

from simulator.numeric import FloatArray
from simulator.schedule.action import Phase, Schedule
from simulator.schedule.dry_run import dry_run


def peak_held(
    schedule: Schedule, stage_size: FloatArray, *, weight_share: float = 1.0
) -> FloatArray:
    """Largest sum of ``stage_size`` over the (stage, microbatch) pairs held at once on a rank.

    A forward's activations are held until its backward ends; if the backward is split, a share
    of them is held until W ends.

    Shapes: ``stage_size`` [..., stages] -> [..., ranks], in the unit of ``stage_size``.

    Args:
        schedule: what runs in which order.
        stage_size: what one microbatch leaves behind on a stage.
        weight_share: part of it that only W releases (M_W / M_B of arXiv 2401.10241, table 1).
    """
    kept = weight_share if schedule.splits_backward else 0.0
    change = np.array([1.0, kept - 1.0, -kept])
    # Fancy indexing gives [..., ranks, actions].
    steps = np.asarray(stage_size, dtype=np.float64)[..., schedule.stage] * change[schedule.phase]
    return np.cumsum(steps, axis=-1).max(axis=-1)


def inflight(schedule: Schedule) -> FloatArray:
    """Most (stage, microbatch) pairs held at once on a rank: from F to B, or to W when split.

    Counted in chunks: one of a rank's ``num_chunks`` stages counts 1. [ranks].
    """
    return peak_held(schedule, np.ones(schedule.num_stages))


def inflight_ranks(schedule: Schedule) -> FloatArray:
    """The same in microbatches of all of a rank's layers: ``inflight / num_chunks``. [ranks]."""
    return inflight(schedule) / schedule.num_chunks


def unit_makespan(
    schedule: Schedule, forward: float = 1.0, backward: float = 1.0, weight: float = 1.0
) -> tuple[FloatArray, FloatArray]:
    """First start and last end of every rank when all stages are alike and messages are free.

    Shapes: two of [ranks].

    Args:
        schedule: a valid schedule.
        forward: duration of one F action, that is of one chunk.
        backward: of one B action; the whole backward where no W actions exist.
        weight: of one W action.
    """
    ran = dry_run(schedule, forward, backward, weight)
    return ran.start[:, 0], ran.end[:, -1]


def bubble(
    schedule: Schedule, forward: float = 1.0, backward: float = 1.0, weight: float = 1.0
) -> float:
    """Idle time of the rank occupied longest: max(last end - first start) - computation.

    This is the bubble of the papers: 1F1B and GPipe (p - 1)(F + B), interleaved 1F1B
    (p - 1)(F + B) / v, ZB-H1 (p - 1)(F + B - W), ZB-H2 (p - 1)(F + B - 2W), with F, B, W of all
    of a rank's chunks. A rank may start its next step before others end theirs, so this is what
    steps cost without a barrier between them; with a barrier the last end of all ranks counts.

    Source: arXiv 2104.04473, section 2.2; arXiv 2401.10241, table 1 and section 5.3.
    """
    start, end = unit_makespan(schedule, forward, backward, weight)
    occupied = float((end - start).max())
    # Without a bubble the difference is zero up to rounding.
    return max(0.0, occupied - _busy(schedule, forward, backward, weight))


def bubble_fraction(
    schedule: Schedule, forward: float = 1.0, backward: float = 1.0, weight: float = 1.0
) -> float:
    """Bubble over bubble and computation: ``bubble / (bubble + m v (F + B + W))``.

    Source: arXiv 2401.10241, section 5.3 (bubble rate).
    """
    idle = bubble(schedule, forward, backward, weight)
    return idle / (idle + _busy(schedule, forward, backward, weight))


def _busy(schedule: Schedule, forward: float, backward: float, weight: float) -> float:
    """Time that every rank computes."""
    per_microbatch = forward + backward + (weight if schedule.splits_backward else 0.0)
    return schedule.num_microbatches * schedule.num_chunks * per_microbatch


def peak_open(schedule: Schedule, rank: int, stage_size: FloatArray) -> float:
    """Largest sum of ``stage_size`` over a rank's stages whose backwards have begun, not ended.

    That is what accumulates whole gradients at once where a stage's gradients are made by its
    first backward and leave, for their shards, after its last.

    Args:
        schedule: any.
        rank: pipeline rank.
        stage_size: [stages], for example parameters.
    """
    last = Phase.W if schedule.splits_backward else Phase.B
    phase, stage = schedule.phase[rank], schedule.stage[rank]
    change = np.zeros(phase.size + 1)
    for own in np.flatnonzero(schedule.stage_rank == rank).tolist():
        passes = np.flatnonzero((phase == last) & (stage == own))
        change[passes[0]] += stage_size[own]
        change[passes[-1] + 1] -= stage_size[own]
    return float(np.cumsum(change).max())
