"""A sweep from its file to a directory of rows: what is missing is computed, nothing is lost."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias

from simulator.errors import SpecError, UnknownNameError
from simulator.progress import Progress, part_of, silent
from simulator.spec.sweep import Sweep
from simulator.sweep.columns import STATUS, STATUSES, Row, columns_of
from simulator.sweep.evaluate import Job, timed_points
from simulator.sweep.executors import EXECUTORS, Place, Request
from simulator.sweep.metrics import chosen_metrics
from simulator.sweep.points import WHOLE, Point, Shard, Space
from simulator.sweep.store import Store, read

MAX_BATCH: Final = 1024
"""Most points of a batch."""
MAX_LOSSES: Final = 5
"""Batches lost in a row, without a finished one between them, after which a sweep gives up."""
_IN_FLIGHT: Final = 2
"""Batches handed out per worker, so that none waits for the next one."""

Batch: TypeAlias = tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of a sweep did.

    Attributes:
        points: of this shard, all of which have a row now.
        evaluated: by this run; the others were there.
        statuses: rows of the directory by status.
        lost_batches: batches whose worker died, and which ran again.
        combinations: of axis values, of all shards.
        rejected: those of them that a constraint leaves out.
        shard: which part this was.
    """

    folder: Path
    points: int
    evaluated: int
    statuses: dict[str, int]
    lost_batches: int
    combinations: int
    rejected: int
    shard: Shard = WHOLE


@dataclass(frozen=True, slots=True)
class Execution:
    """How a sweep runs; none of it changes a row.

    Attributes:
        address: of a running Dask or Ray, instead of an own one.
    """

    workers: int = 1
    executor: str = "process"
    shard: Shard = WHOLE
    address: str = ""


def run_sweep(
    sweep: Sweep,
    folder: Path,
    execution: Execution,
    *,
    progress: Progress = silent,
) -> Outcome:
    """Computes the rows that the directory does not hold yet.

    Args:
        sweep: what to compute.
        folder: where the rows are, or will be.
        execution: on what.
        progress: told how many of the points have a row on disk: first those that were there.

    Raises:
        TrainsimError: if the sweep is wrong, no point is left of it, or the directory holds
            another one.
    """
    if execution.executor not in EXECUTORS:
        raise UnknownNameError.of("executor", execution.executor, EXECUTORS, where="--executor")
    metrics = chosen_metrics(sweep.metrics, sweep.where)
    space = Space(sweep)
    everything = _all_points(space, sweep.where)
    points = [point for point in everything if execution.shard.holds(point.id)]
    columns = columns_of(sweep, metrics, everything)
    store = Store(folder, columns, space.base_digest())
    present = store.present()
    missing = deque(point for point in points if point.id not in present)
    evaluated = len(missing)
    told = part_of(progress, len(points) - evaluated, len(points))
    place = EXECUTORS[execution.executor]
    job = Job(sweep.base, sweep.base_dir, columns, metrics)
    work = _Work(job, missing, place, batch_size=place.first_points)
    request = Request(execution.workers, execution.address, folder.resolve())
    _fill(store, work, request, told)
    return Outcome(
        folder=folder,
        points=len(points),
        evaluated=evaluated,
        statuses=_statuses(folder),
        lost_batches=work.lost,
        combinations=space.num_combinations,
        rejected=space.num_combinations - len(everything),
        shard=execution.shard,
    )


def _fill(store: Store, work: _Work, request: Request, progress: Progress) -> None:
    """Rows of all points into the directory, on one executor after another while they break."""
    written, missing = 0, len(work.missing)
    progress("Simulating points", written, missing)
    while work.unfinished:
        with work.place.open(request) as executor:
            # Only now: a missing package or a dead scheduler leaves no directory behind.
            store.make()
            for rows in work.results(executor, _IN_FLIGHT * request.workers):
                store.append(rows)
                written += len(rows)
                progress("Simulating points", written, missing)
    store.make()


def _all_points(space: Space, where: str) -> list[Point]:
    points = list(space.points())
    if not points:
        raise SpecError(
            f"the constraints reject all {space.num_combinations:,} combinations of axis values",
            where=f"{where}: constraints",
            hint="loosen a constraint, or give the axes other values",
        )
    return points


@dataclass(slots=True)
class _Work:
    """Points without a row yet, handed out in batches and taken back when a worker dies."""

    job: Job
    missing: deque[Point]
    place: Place
    lost: int = 0
    losses_in_a_row: int = 0
    batch_size: int = 1
    running: dict[Future[tuple[list[Row], float]], Batch] = field(
        default_factory=dict[Future[tuple[list[Row], float]], Batch]
    )

    @property
    def unfinished(self) -> bool:
        """Whether some point has no row."""
        return bool(self.missing or self.running)

    def results(self, executor: Executor, in_flight: int) -> Iterator[list[Row]]:
        """Rows of one batch after another, until none is missing or the executor is broken."""
        try:
            while self.unfinished:
                while self.missing and len(self.running) < in_flight:
                    # A broken executor refuses the batch, which must not be lost.
                    batch = tuple(islice(self.missing, self.batch_size))
                    self.running[executor.submit(timed_points, self.job, batch)] = batch
                    self._drop(len(batch))
                done, _ = wait(self.running, return_when=FIRST_COMPLETED)
                # What is finished is kept, even if the pool broke meanwhile.
                for future in sorted(done, key=lambda one: one.exception() is not None):
                    yield from self._finished(future)
        except BrokenExecutor as error:
            # Every batch of a broken pool is lost; another pool is opened for them.
            self._take_back(error, *self.running)

    def _drop(self, points: int) -> None:
        for _ in range(points):
            self.missing.popleft()

    def _finished(self, future: Future[tuple[list[Row], float]]) -> Iterator[list[Row]]:
        error = future.exception()
        if isinstance(error, BrokenExecutor):
            raise error
        if error is not None:
            # Whatever a point does becomes a row: this is the worker's death, not the point's.
            self._take_back(error, future)
            return
        rows, seconds = future.result()
        del self.running[future]
        self.losses_in_a_row = 0
        self._resize(len(rows), seconds)
        yield rows

    def _resize(self, points: int, seconds: float) -> None:
        """Towards batches of ``batch_s``, at most twice as many points as the last time."""
        wanted = round(self.place.batch_s * points / max(seconds, 1e-9))
        self.batch_size = max(1, min(wanted, 2 * self.batch_size, MAX_BATCH))

    def _take_back(self, error: BaseException, *futures: Future[tuple[list[Row], float]]) -> None:
        batches = [self.running.pop(future) for future in futures]
        for batch in reversed(batches):
            self.missing.extendleft(reversed(batch))
        self.lost += len(batches)
        self.losses_in_a_row += 1
        if self.losses_in_a_row > MAX_LOSSES:
            raise SpecError(
                f"{self.losses_in_a_row} times in a row a worker was lost before it finished "
                f"anything: {type(error).__name__}: {str(error)[:200]}",
                hint="is there memory for them? give fewer --workers; the same command resumes",
            ) from error


def _statuses(folder: Path) -> dict[str, int]:
    """Rows of a directory by status, those without a row left out."""
    counted = read(folder, f"SELECT {STATUS} FROM rows").rows
    counts = Counter(str(status) for (status,) in counted)
    return {status: counts[status] for status in STATUSES if counts[status]}
