"""A pipeline schedule laid out in time: who runs what when, its bubble and what it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.engine.timeline import Timeline
from simulator.errors import ScheduleError, TrainsimError, UnknownNameError
from simulator.numeric import FloatArray, IntArray
from simulator.plan import num_microbatches
from simulator.planning.variant import Job
from simulator.progress import Progress, silent
from simulator.report.ops import drawn_ops, timeline_of
from simulator.schedule.action import Phase, Schedule
from simulator.schedule.analysis import inflight_ranks
from simulator.schedule.dry_run import dry_run
from simulator.schedule.table import INTERLEAVED, build_schedule, least_chunks
from simulator.simulate import simulate
from simulator.workload.op import OpGraph, Stream

MAX_PASSES: Final = 200_000
"""Most forwards of a schedule that is drawn; more take seconds and show nothing."""


@dataclass(frozen=True, slots=True)
class PassTimes:
    """Time of the passes of all of one rank's layers; ``weight`` is 0 where it is in ``backward``.

    In seconds for a scenario; in forwards, F = 1, for a schedule alone.
    """

    forward: float
    backward: float
    weight: float


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """The idle time that a paper's formula gives."""

    formula: str
    idle: float
    source: str


@dataclass(frozen=True, slots=True)
class Grid:
    """One schedule in time.

    Attributes:
        kind, ranks, microbatches, chunks: what was laid out.
        timeline: passes (and all else, for a scenario) of every pipeline rank.
        is_real: times are seconds of a scenario.
        times: of the passes, mean over the stages.
        length: from the first start to the last end.
        bubble_share: idle share of the step: of the rank occupied longest for a schedule alone, of
            the critical rank for a scenario.
        closed_form: what the papers say; None where they give no formula.
        inflight: most microbatches held by every rank, in units of a rank's layers. [ranks].
        stage_time: F + B + W of one microbatch on every virtual stage. [stages].
    """

    kind: str
    ranks: int
    microbatches: int
    chunks: int
    timeline: Timeline
    is_real: bool
    times: PassTimes
    length: float
    bubble_share: float
    closed_form: ClosedForm | None
    inflight: tuple[float, ...]
    stage_time: tuple[float, ...]

    @property
    def closed_form_share(self) -> float | None:
        """Bubble share, idle / (idle + m (F + B + W)) of the closed form."""
        if self.closed_form is None:
            return None
        times = self.times
        busy = self.microbatches * (times.forward + times.backward + times.weight)
        return self.closed_form.idle / (self.closed_form.idle + busy)

    @property
    def worst_stage(self) -> int:
        """Virtual stage whose passes take longest; the first of equal ones."""
        return int(np.argmax(self.stage_time))


Formula = Callable[[int, int, PassTimes], float]
"""``(ranks, chunks, times) -> idle time``."""

_PTD: Final = "arXiv 2104.04473, section 2.2"
_ZB: Final = "arXiv 2401.10241, table 1"
CLOSED_FORMS: Final[Mapping[str, tuple[str, Formula, str]]] = {
    "gpipe": ("(p - 1)(F + B)", lambda p, _, t: (p - 1) * (t.forward + t.backward), _PTD),
    "1f1b": ("(p - 1)(F + B)", lambda p, _, t: (p - 1) * (t.forward + t.backward), _PTD),
    "interleaved": (
        "(p - 1)(F + B) / v",
        lambda p, v, t: (p - 1) * (t.forward + t.backward) / v,
        _PTD,
    ),
    "interleaved-steady": (
        "(p - 1)(F + B) / v",
        lambda p, v, t: (p - 1) * (t.forward + t.backward) / v,
        _PTD,
    ),
    "zb-h1": (
        "(p - 1)(F + B - W)",
        lambda p, _, t: (p - 1) * (t.forward + t.backward - t.weight),
        _ZB,
    ),
    "zb-h2": (
        "(p - 1) max(0, F + B - 2W)",
        lambda p, _, t: (p - 1) * max(0.0, t.forward + t.backward - 2 * t.weight),
        _ZB,
    ),
    "zb-2p": (
        "(p - 1) max(0, F + B - 3W)",
        lambda p, _, t: (p - 1) * max(0.0, t.forward + t.backward - 3 * t.weight),
        "arXiv 2401.10241, section 3",
    ),
    "zb-v": ("0 for F = B = W", lambda p, v, t: 0.0, "arXiv 2401.10241, section 6"),
}
"""Idle time of a schedule in whole-rank F, B, W; messages are free there."""


def chunks_for(kind: str, wanted: int | None) -> int:
    """Virtual stages per rank: as wanted where the schedule has a choice, else what it needs."""
    least = least_chunks(kind)
    return max(wanted or least, least) if kind in INTERLEAVED else least


def unit_grid(kind: str, ranks: int, microbatches: int, chunks: int) -> Grid:
    """A schedule alone: F = 1, B = 2, or B = W = 1 where the backward is split; free messages.

    Raises:
        UnknownNameError, ScheduleError: if there is no such schedule for these numbers.
    """
    if ranks * chunks * microbatches > MAX_PASSES:
        raise ScheduleError(
            f"{ranks} ranks x {chunks} chunks x {microbatches} microbatches are more than "
            f"{MAX_PASSES:,} passes",
            hint="take fewer microbatches",
        )
    schedule = build_schedule(kind, ranks, microbatches, chunks)
    times = PassTimes(1.0, 1.0, 1.0) if schedule.splits_backward else PassTimes(1.0, 2.0, 0.0)
    per_chunk = [value / chunks for value in (times.forward, times.backward, times.weight)]
    ran = dry_run(schedule, *per_chunk)
    occupied = float((ran.end[:, -1] - ran.start[:, 0]).max())
    busy = microbatches * (times.forward + times.backward + times.weight)
    return Grid(
        kind=kind,
        ranks=ranks,
        microbatches=microbatches,
        chunks=chunks,
        timeline=_unit_timeline(schedule, ran.start, ran.end),
        is_real=False,
        times=times,
        length=float(ran.end.max()),
        bubble_share=max(0.0, 1 - busy / occupied),
        closed_form=_closed_form(kind, ranks, chunks, times),
        inflight=tuple(inflight_ranks(schedule).tolist()),
        stage_time=(busy / microbatches / chunks,) * (ranks * chunks),
    )


def scenario_grid(job: Job, overrides: tuple[str, ...] = ()) -> Grid:
    """The schedule of a scenario with its simulated times.

    Raises:
        TrainsimError: if the scenario cannot run.
    """
    scenario = job.load(*overrides)
    plan, training = scenario.plan, scenario.training
    report = simulate(scenario, levers=False)
    microbatches = num_microbatches(training, plan)
    schedule = build_schedule(plan.schedule, plan.pp, microbatches, plan.virtual_stages)
    timeline = timeline_of(report)
    per_stage = _pass_times(timeline, schedule)
    means = [float(column.mean()) * plan.virtual_stages for column in per_stage.T]
    times = PassTimes(*means)
    return Grid(
        kind=plan.schedule,
        ranks=plan.pp,
        microbatches=microbatches,
        chunks=plan.virtual_stages,
        timeline=timeline,
        is_real=True,
        times=times,
        length=report.step_time_s,
        bubble_share=report.time["bubble"] / report.step_time_s,
        closed_form=_closed_form(plan.schedule, plan.pp, plan.virtual_stages, times),
        inflight=tuple(inflight_ranks(schedule).tolist()),
        stage_time=tuple(per_stage.sum(axis=1).tolist()),
    )


@dataclass(frozen=True, slots=True)
class Skipped:
    """A schedule that does not exist for these numbers, and why."""

    schedule: str
    microbatches: int
    reason: str


def laid_out(
    wanted: Sequence[tuple[str, int]],
    lay_out: Callable[[str, int], Grid],
    progress: Progress = silent,
) -> tuple[list[Grid], list[Skipped]]:
    """Grids of (schedule, microbatches) pairs, and those that do not exist.

    Raises:
        UnknownNameError: if there is no such schedule.
        TrainsimError: if none of them exists: the reason of the first.
    """
    grids: list[Grid] = []
    errors: list[TrainsimError] = []
    skipped: list[Skipped] = []
    for done, (kind, microbatches) in enumerate(wanted):
        progress(f"Laying out {kind} with {microbatches} microbatches", done, len(wanted))
        try:
            grids.append(lay_out(kind, microbatches))
        except UnknownNameError:
            raise
        except TrainsimError as error:
            errors.append(error)
            skipped.append(Skipped(kind, microbatches, error.problem))
    if not grids:
        raise errors[0]
    return grids, skipped


def _closed_form(kind: str, ranks: int, chunks: int, times: PassTimes) -> ClosedForm | None:
    if kind not in CLOSED_FORMS:
        return None
    formula, idle, source = CLOSED_FORMS[kind]
    return ClosedForm(formula, idle(ranks, chunks, times), source)


def _pass_times(timeline: Timeline, schedule: Schedule) -> FloatArray:
    """Mean seconds of F, B and W of one microbatch on every stage. [stages, phases]."""
    ops = drawn_ops(timeline)
    times = np.zeros((schedule.num_stages, len(Phase)))
    for phase in Phase:
        own = ops.where(ops.phase == phase)
        total = np.bincount(
            own.stage, weights=own.end_s - own.start_s, minlength=schedule.num_stages
        )
        times[:, phase] = total / np.maximum(
            np.bincount(own.stage, minlength=schedule.num_stages), 1
        )
    return times


def _unit_timeline(schedule: Schedule, start: FloatArray, end: FloatArray) -> Timeline:
    """A timeline for drawings: passes on the compute streams, without their dependencies."""
    ranks, actions = schedule.num_ranks, schedule.phase.size // schedule.num_ranks
    size = ranks * actions
    none: IntArray = np.full(size, -1, dtype=np.int64)
    zero: IntArray = np.zeros(size, dtype=np.int64)
    graph = OpGraph(
        op_class=zero,
        stream=np.repeat(np.arange(ranks, dtype=np.int64), actions),
        resource=none,
        coupled=np.zeros(size, dtype=np.bool_),
        phase=schedule.phase.ravel(),
        stage=schedule.stage.ravel(),
        microbatch=schedule.microbatch.ravel(),
        pred_offsets=np.zeros(size + 1, dtype=np.int64),
        preds=np.zeros(0, dtype=np.int64),
        stream_pred=none,
        level_offsets=np.array([0], dtype=np.int64),
        streams=tuple(Stream("compute", rank) for rank in range(ranks)),
        resources=(),
        class_names=(),
    )
    return Timeline(graph, start.ravel(), end.ravel(), engine="dry run")
