"""Checking that a schedule can run: everything once, at home, in order and without deadlock."""

from __future__ import annotations

from typing import Final

import numpy as np

from simulator.errors import ScheduleError
from simulator.numeric import BoolArray
from simulator.schedule.action import Phase, Schedule, format_action
from simulator.schedule.dry_run import action_index, dry_run, message_source

_GRID_RANKS: Final = 16
_GRID_ACTIONS: Final = 12
"""Most ranks and actions per rank that an error prints, around the action at fault."""


def validate(schedule: Schedule) -> None:
    """Check that every rank can run its actions in order until all are done.

    Every F, B (and W) of every stage and microbatch occurs once, on the rank that holds the
    stage, F before B before W; and no rank waits for ever (checked by a dry run). Takes time
    linear in the number of actions.

    Raises:
        ScheduleError: at the first rule broken, with the part of the schedule around it.
    """
    _check_shapes(schedule)
    _check_ranges(schedule)
    _check_ranks(schedule)
    _check_once(schedule)
    _check_phase_order(schedule)
    _check_progress(schedule)


def _check_shapes(schedule: Schedule) -> None:
    """Columns have one entry per action, and every rank holds ``num_chunks`` stages."""
    per_rank = schedule.num_phases * schedule.num_chunks * schedule.num_microbatches
    expected = (schedule.num_ranks, per_rank)
    for name in ("phase", "stage", "microbatch"):
        shape = getattr(schedule, name).shape
        if shape != expected:
            raise ScheduleError(
                f"column {name} has the shape {shape}, but {schedule.num_ranks} ranks with "
                f"{schedule.num_phases} phases * {schedule.num_chunks} chunks * "
                f"{schedule.num_microbatches} microbatches need {expected}"
            )
    held = np.bincount(schedule.stage_rank, minlength=schedule.num_ranks)
    if held.size != schedule.num_ranks or (held != schedule.num_chunks).any():
        raise ScheduleError(
            f"ranks hold {held.tolist()} stages, but each of {schedule.num_ranks} must hold "
            f"{schedule.num_chunks}"
        )


def _check_ranges(schedule: Schedule) -> None:
    """Indices are those of existing phases, stages and microbatches."""
    for name, column, stop in (
        ("phase", schedule.phase, schedule.num_phases),
        ("stage", schedule.stage, schedule.num_stages),
        ("microbatch", schedule.microbatch, schedule.num_microbatches),
    ):
        wrong = (column < 0) | (column >= stop)
        if wrong.any():
            rank, position = _first(wrong)
            value = int(column[rank, position])
            _fail(schedule, rank, position, f"{name} {value} is not one of 0 to {stop - 1}")


def _check_ranks(schedule: Schedule) -> None:
    """Every action lies on the rank that holds its stage."""
    home = schedule.stage_rank[schedule.stage]
    wrong = home != np.arange(schedule.num_ranks)[:, None]
    if wrong.any():
        rank, position = _first(wrong)
        problem = f"rank {rank} runs {_name(schedule, rank, position)}, but stage "
        problem += f"{schedule.stage[rank, position]} lies on rank {home[rank, position]}"
        _fail(schedule, rank, position, problem)


def _check_once(schedule: Schedule) -> None:
    """No action occurs twice; the number of actions being right, none is missing then."""
    flat = np.arange(schedule.phase.size).reshape(schedule.phase.shape)
    index = action_index(schedule)
    repeated = index[schedule.phase, schedule.stage, schedule.microbatch] != flat
    if repeated.any():
        rank, position = _first(repeated)
        missing = np.argwhere(index[: schedule.num_phases] < 0)[0].tolist()
        _fail(
            schedule,
            rank,
            position,
            f"{_name(schedule, rank, position)} occurs more than once",
            hint=f"{format_action(*missing)} is missing",
        )


def _check_phase_order(schedule: Schedule) -> None:
    """On its rank, a microbatch's F comes before its B, and B before W."""
    index = action_index(schedule)
    for earlier, later in ((Phase.F, Phase.B), (Phase.B, Phase.W))[: schedule.num_phases - 1]:
        wrong = index[earlier] > index[later]
        if wrong.any():
            stage, microbatch = np.argwhere(wrong)[0].tolist()
            rank, position = divmod(int(index[later, stage, microbatch]), schedule.phase.shape[1])
            problem = f"{format_action(later, stage, microbatch)} comes before "
            problem += format_action(earlier, stage, microbatch)
            _fail(schedule, rank, position, problem)


def _check_progress(schedule: Schedule) -> None:
    """A dry run ends: no rank waits for an action that itself waits for that rank."""
    stuck = np.isnan(dry_run(schedule, 1.0, 1.0, 1.0).end)
    if not stuck.any():
        return
    blocked = stuck.any(axis=1)
    firsts = stuck.argmax(axis=1)
    source = message_source(schedule)
    waits = ", ".join(
        f"{_name(schedule, rank, firsts[rank])} for "
        f"{_name(schedule, *divmod(int(source[rank, firsts[rank]]), schedule.phase.shape[1]))}"
        for rank in np.flatnonzero(blocked)[:_GRID_RANKS].tolist()
    )
    rank = int(blocked.argmax())
    _fail(
        schedule,
        rank,
        int(firsts[rank]),
        f"deadlock: {int(blocked.sum())} of {schedule.num_ranks} ranks wait for ever: {waits}",
    )


def _first(wrong: BoolArray) -> tuple[int, int]:
    """Rank and position of the first action at fault."""
    rank, position = np.argwhere(wrong)[0].tolist()
    return rank, position


def _name(schedule: Schedule, rank: int, position: int) -> str:
    """Text of one action, also of one that does not exist."""
    phase = int(schedule.phase[rank, position])
    letter = Phase(phase).name if 0 <= phase < len(Phase) else "?"
    return f"{schedule.stage[rank, position]}{letter}{schedule.microbatch[rank, position]}"


def _fail(schedule: Schedule, rank: int, position: int, problem: str, *, hint: str = "") -> None:
    """Raise with the grid of ranks and actions around the one at fault."""
    num_ranks, num_actions = schedule.phase.shape
    top = max(0, min(rank - _GRID_RANKS // 2, num_ranks - _GRID_RANKS))
    left = max(0, min(position - _GRID_ACTIONS // 2, num_actions - _GRID_ACTIONS))
    columns = range(left, min(left + _GRID_ACTIONS, num_actions))
    lines: list[str] = []
    for row in range(top, min(top + _GRID_RANKS, num_ranks)):
        cells = [_name(schedule, row, column) for column in columns]
        mark = ""
        if row == rank:
            cells[position - left] = f"[{cells[position - left]}]"
            mark = " <-- ERROR HERE"
        lines.append(f"  rank {row:>3} | " + " ".join(f"{cell:>7}" for cell in cells) + mark)
    title = f"  actions {columns.start} to {columns.stop - 1} of {num_actions}:"
    raise ScheduleError(
        "\n".join([problem, title, *lines]), where=f"rank {rank}, action {position}", hint=hint
    )
