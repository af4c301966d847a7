"""Running a schedule without a machine: every phase takes a fixed time, messages take none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.numeric import FloatArray, IntArray
from simulator.schedule.action import Phase, Schedule


@dataclass(frozen=True, slots=True)
class DryRun:
    """When every action ran; NaN where it never could (the schedule deadlocks).

    Attributes:
        start, end: [ranks, actions], in the unit of the durations.
    """

    start: FloatArray
    end: FloatArray


def action_index(schedule: Schedule) -> IntArray:
    """Flat index ``rank * actions + position`` of every action; -1 where there is none.

    Shapes: [phases, stages, microbatches]. If an action occurs twice the last one counts.
    """
    shape = (len(Phase), schedule.num_stages, schedule.num_microbatches)
    index = np.full(shape, -1, dtype=np.int64)
    flat = np.arange(schedule.phase.size).reshape(schedule.phase.shape)
    index[schedule.phase, schedule.stage, schedule.microbatch] = flat
    return index


def message_source(schedule: Schedule) -> IntArray:
    """Flat index of the action whose output every action waits for; -1 for none.

    F(s) waits for F(s - 1), B(last) for F(last), B(s) for B(s + 1), W(s) for B(s).

    Shapes: [ranks, actions].
    """
    index = action_index(schedule)
    source = np.full_like(index, -1)
    source[Phase.F, 1:] = index[Phase.F, :-1]
    source[Phase.B, :-1] = index[Phase.B, 1:]
    source[Phase.B, -1] = index[Phase.F, -1]
    source[Phase.W] = index[Phase.B]
    return source[schedule.phase, schedule.stage, schedule.microbatch]


def dry_run(schedule: Schedule, forward: float, backward: float, weight: float) -> DryRun:
    """Start and end of every action when ranks run in order and wait only for messages.

    Linear in the number of actions: a rank runs until it waits, and is woken by the action it
    waits for (every action has at most one dependent on another rank).

    Args:
        schedule: every action exactly once.
        forward: duration of one F action, that is of one chunk.
        backward: of one B action; the whole backward where no W actions exist.
        weight: of one W action.
    """
    num_ranks, num_actions = schedule.phase.shape
    duration = np.array([forward, backward, weight], dtype=np.float64)[schedule.phase]
    durations: list[float] = duration.ravel().tolist()
    sources: list[int] = message_source(schedule).ravel().tolist()
    end: list[float] = [float("nan")] * len(durations)
    waiter: list[int] = [-1] * len(durations)
    position: list[int] = [rank * num_actions for rank in range(num_ranks)]
    clock: list[float] = [0.0] * num_ranks
    awake: list[int] = list(range(num_ranks))
    while awake:
        rank = awake.pop()
        now = clock[rank]
        here = position[rank]
        stop = (rank + 1) * num_actions
        while here < stop:
            source = sources[here]
            if source >= 0:
                arrival = end[source]
                if arrival != arrival:  # NaN: has not run yet
                    waiter[source] = rank
                    break
                if arrival > now:
                    now = arrival
            now += durations[here]
            end[here] = now
            if waiter[here] >= 0:
                awake.append(waiter[here])
            here += 1
        clock[rank], position[rank] = now, here
    ends = np.array(end, dtype=np.float64).reshape(num_ranks, num_actions)
    return DryRun(start=ends - duration, end=ends)
