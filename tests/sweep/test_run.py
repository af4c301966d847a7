"""The same rows however a sweep runs, and whenever it is killed."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import duckdb
import pytest

from simulator.errors import SpecError, UnknownNameError
from simulator.spec.sweep import Sweep
from simulator.sweep import run
from simulator.sweep.executors import Place
from simulator.sweep.points import Shard
from simulator.sweep.run import MAX_LOSSES, Execution, run_sweep
from simulator.sweep.store import PARTS
from tests.sweep.conftest import NUM_POINTS, all_rows

KILLS = 10
SEED = 4
LAYERS_OF_FEW = 2
FEW_POINTS = NUM_POINTS // 3
IN_THREADS = Execution(1, "thread")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that each test fills once with an uninterrupted run."""
    return tmp_path_factory.mktemp("whole") / "rows"


@pytest.fixture
def uninterrupted(sweep: Sweep, whole: Path) -> tuple[tuple[object, ...], ...]:
    outcome = run_sweep(sweep, whole, IN_THREADS)
    assert (outcome.points, sum(outcome.statuses.values())) == (NUM_POINTS, NUM_POINTS)
    assert set(outcome.statuses) == {"ok", "does not fit", "infeasible"}
    return all_rows(whole)


@pytest.fixture
def few(sweep: Sweep) -> Sweep:
    return replace(sweep, axes={**sweep.axes, "model.num_layers": (LAYERS_OF_FEW,)})


def rows_of_few(rows: tuple[tuple[object, ...], ...]) -> tuple[tuple[object, ...], ...]:
    """The same points are the same rows, whatever sweep they are in."""
    return tuple(row for row in rows if row[1] == LAYERS_OF_FEW)


def written_rows(folder: Path) -> int:
    """Rows in all part files, those of a point that is there twice counted twice."""
    parts = str(folder / PARTS)
    return duckdb.execute(f"SELECT count(*) FROM read_parquet('{parts}')").fetchall()[0][0]


def wait_for_parts(process: BaseProcess, folder: Path, *, more: int) -> None:
    until = sum(1 for _ in folder.glob(PARTS)) + more
    while process.is_alive() and sum(1 for _ in folder.glob(PARTS)) < until:
        time.sleep(0.001)


def test_killed_ten_times_and_resumed(
    sweep: Sweep, tmp_path: Path, uninterrupted: tuple[tuple[object, ...], ...]
) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["simulator.sweep.run"])
    moments = random.Random(SEED)
    folder = tmp_path / "rows"
    counts: list[int] = []
    for _ in range(KILLS):
        process = context.Process(target=run_sweep, args=(sweep, folder, IN_THREADS))
        process.start()
        wait_for_parts(process, folder, more=moments.randrange(5))
        process.join(moments.uniform(0.0, 0.1))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        counts.append(written_rows(folder) if any(folder.glob(PARTS)) else 0)
    assert counts == sorted(counts)
    assert len(set(counts)) > KILLS / 2
    outcome = run_sweep(sweep, folder, IN_THREADS)
    assert outcome.evaluated == NUM_POINTS - counts[-1]
    assert all_rows(folder) == uninterrupted
    assert written_rows(folder) == NUM_POINTS
    assert run_sweep(sweep, folder, IN_THREADS).evaluated == 0


def test_shards_and_workers_make_the_same_rows(
    few: Sweep, tmp_path: Path, uninterrupted: tuple[tuple[object, ...], ...]
) -> None:
    folder = tmp_path / "rows"
    outcomes = [
        run_sweep(few, folder, Execution(workers, "thread", Shard(i + 1, 3)))
        for i, workers in enumerate((1, 2, 3))
    ]
    assert sum(outcome.points for outcome in outcomes) == FEW_POINTS
    assert min(outcome.points for outcome in outcomes) > FEW_POINTS / 6
    assert all_rows(folder) == rows_of_few(uninterrupted)
    assert written_rows(folder) == FEW_POINTS


def test_an_axis_may_grow(sweep: Sweep, tmp_path: Path) -> None:
    one = {path: values[:1] for path, values in sweep.axes.items()}
    first = run_sweep(replace(sweep, axes=one), tmp_path / "rows", IN_THREADS)
    two = one | {"model.num_layers": sweep.axes["model.num_layers"][:2]}
    second = run_sweep(replace(sweep, axes=two), tmp_path / "rows", IN_THREADS)
    assert (first.evaluated, second.points, second.evaluated) == (1, 2, 1)


def test_progress_counts_rows_on_disk(few: Sweep, tmp_path: Path) -> None:
    told: list[int] = []

    def progress(what: str, done: int, total: int | None) -> None:
        told.append(done)
        assert (what, total) == ("Simulating points", FEW_POINTS)
        assert done == 0 or written_rows(tmp_path / "rows") == done

    run_sweep(few, tmp_path / "rows", IN_THREADS, progress=progress)
    assert (told[0], told[-1]) == (0, FEW_POINTS)
    run_sweep(few, tmp_path / "rows", IN_THREADS, progress=progress)
    assert told[-1] == FEW_POINTS  # of those that were there already


def test_unknown_executors_and_metrics_are_refused_before_anything(
    sweep: Sweep, tmp_path: Path
) -> None:
    with pytest.raises(UnknownNameError, match="executor 'proces'"):
        run_sweep(sweep, tmp_path / "rows", Execution(1, "proces"))
    with pytest.raises(UnknownNameError, match="metric 'mfuu'"):
        run_sweep(replace(sweep, metrics=("mfuu",)), tmp_path / "rows", IN_THREADS)
    assert not (tmp_path / "rows").exists()


class Failing(Executor):
    """Loses every ``nth`` batch, with an error of its own."""

    def __init__(self, nth: int, error: Exception) -> None:
        self.nth, self.error, self.batches = nth, error, 0

    def submit(self, fn, /, *args, **kwargs):
        self.batches += 1
        if self.batches % self.nth == 1 and isinstance(self.error, BrokenProcessPool):
            raise self.error  # a broken pool also refuses what it is given
        future = Future()
        if self.batches % self.nth == 0:
            future.set_exception(self.error)
        else:
            future.set_result(fn(*args, **kwargs))
        return future


@pytest.mark.parametrize("error", [BrokenProcessPool("died"), RuntimeError("worker lost")])
def test_lost_batches_run_again(
    few: Sweep,
    tmp_path: Path,
    uninterrupted: tuple[tuple[object, ...], ...],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    executor = Failing(3, error)
    place = Place(lambda request: nullcontext(executor), first_points=8, batch_s=0.1)
    monkeypatch.setitem(run.EXECUTORS, "failing", place)
    outcome = run_sweep(few, tmp_path / "rows", Execution(1, "failing"))
    assert executor.batches > 9
    assert outcome.lost_batches > 2
    assert all_rows(tmp_path / "rows") == rows_of_few(uninterrupted)
    assert written_rows(tmp_path / "rows") == FEW_POINTS


@pytest.mark.parametrize("error", [BrokenProcessPool("died"), RuntimeError("worker lost")])
def test_workers_that_always_die_end_the_sweep(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    executor = Failing(1, error)
    place = Place(lambda request: nullcontext(executor), first_points=8, batch_s=0.1)
    monkeypatch.setitem(run.EXECUTORS, "failing", place)
    with pytest.raises(SpecError, match=f"{MAX_LOSSES + 1} times in a row a worker was lost"):
        run_sweep(sweep, tmp_path / "rows", Execution(1, "failing"))
