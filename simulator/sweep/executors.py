"""Where the points of a sweep run. Everything has the shape of ``concurrent.futures.Executor``.

A row of ``EXECUTORS`` opens one and closes it again; nothing else in the package knows of Dask,
Ray or Slurm. What they bring is imported when they are opened.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, ParamSpec, Protocol, TypeVar, cast

from simulator.errors import SpecError
from simulator.sweep.extras import needs

_RETRIES: Final = 3
"""Times that Dask and Ray run a task again whose worker died."""

_CONNECT_S: Final = 10
"""Seconds to wait for an answer of a Dask scheduler or a Ray cluster."""

_JOB_LIMIT_MIN: Final = 60
"""Minutes after which a job is ended, far above ``batch_s``; ``SBATCH_TIMELIMIT`` overrides it."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of an executor.

    Attributes:
        workers: processes (or jobs) at a time.
        address: of a scheduler that runs already; empty for an own one on this machine.
        folder: where an executor may leave its logs.
    """

    workers: int
    address: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Place:
    """One kind of executor.

    Attributes:
        open: opens it for the length of a context.
        first_points: points of the first batches; later ones grow towards ``batch_s``.
        batch_s: seconds that a batch should take: long against the cost of handing it out, short
            against what may be lost when the sweep is killed.
    """

    open: Callable[[Request], AbstractContextManager[Executor]]
    first_points: int
    batch_s: float


@contextmanager
def _processes(request: Request) -> Generator[Executor]:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(request.workers, context, initializer=_end_with_parent)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _end_with_parent() -> None:
    """A worker leaves Ctrl-C to its parent, and ends when that was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def _threads(request: Request) -> Generator[Executor]:
    pool = ThreadPoolExecutor(request.workers)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _reaching(address: str) -> Generator[None]:
    """Around connecting to a scheduler.

    Raises:
        SpecError: if none answers there.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        if not address:
            raise
        first = (str(error).splitlines() or [""])[0][:200]
        raise SpecError(
            f"no scheduler answers at '{address[:80]}': {first}",
            where="--address",
            hint="is it running, and reached from here? without --address one is started",
        ) from None


@contextmanager
def _dask(request: Request) -> Generator[Executor]:
    with needs("dask", "--executor dask"):
        distributed = importlib.import_module("distributed")
    with ExitStack() as stack:
        scheduler: object = request.address
        if not request.address:
            # Its nannies start a worker that died again, and the scheduler runs its tasks again.
            scheduler = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=request.workers, threads_per_worker=1, dashboard_address=None
                )
            )
        with _reaching(request.address):
            client = stack.enter_context(distributed.Client(scheduler, timeout=_CONNECT_S))
        yield client.get_executor(pure=False, retries=_RETRIES)


class _RayTask(Protocol):
    """A function that runs on Ray."""

    def remote(self, *args: object, **kwargs: object) -> _RayResult: ...


class _RayResult(Protocol):
    """What a task will return."""

    def future(self) -> Future[object]: ...


class _RayExecutor(Executor):
    """Ray tasks as futures; a task whose worker dies runs again."""

    def __init__(self, on_ray: Callable[[Callable[..., object]], _RayTask]) -> None:
        self._on_ray = on_ray
        self._tasks: dict[Callable[..., object], _RayTask] = {}

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Runs a function on some worker."""
        if fn not in self._tasks:
            self._tasks[fn] = self._on_ray(fn)
        return cast("Future[T]", self._tasks[fn].remote(*args, **kwargs).future())


@contextmanager
def _ray(request: Request) -> Generator[Executor]:
    with needs("ray", "--executor ray"):
        ray = importlib.import_module("ray")
    own = {"num_cpus": request.workers, "include_dashboard": False}
    where = {"address": request.address} if request.address else own
    with _reaching(request.address):
        # Ray itself tries for minutes.
        host, _, port = request.address.rpartition("://")[2].rpartition(":")
        if port.isdecimal():
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
        ray.init(log_to_driver=False, logging_level="ERROR", **where)
    try:
        yield _RayExecutor(ray.remote(max_retries=_RETRIES))
    finally:
        ray.shutdown()


class _SlurmJob(Protocol):
    """A job that was handed in."""

    def result(self) -> object: ...
    def done(self) -> bool: ...
    def cancel(self) -> None: ...


class _JobExecutor(ThreadPoolExecutor):
    """Batch jobs as futures: a thread for each waits for its job."""

    def __init__(self, workers: int, hand_in: Callable[..., _SlurmJob]) -> None:
        super().__init__(workers)
        self._hand_in = hand_in
        self._jobs: list[_SlurmJob] = []

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Runs a function as a job."""

        def run() -> T:
            job = self._hand_in(fn, *args, **kwargs)
            self._jobs.append(job)
            return cast("T", job.result())

        return super().submit(run)

    def cancel(self) -> None:
        """Ends the jobs that still run."""
        for job in self._jobs:
            if not job.done():
                job.cancel()


@contextmanager
def _slurm(request: Request) -> Generator[Executor]:
    """Slurm where there is one, else jobs of this machine; options through ``SBATCH_*``."""
    with needs("slurm", "--executor slurm"):
        submitit = importlib.import_module("submitit")
    jobs = submitit.AutoExecutor(request.folder / "jobs")
    jobs.update_parameters(name="trainsim-sweep", cpus_per_task=1, timeout_min=_JOB_LIMIT_MIN)
    pool = _JobExecutor(request.workers, jobs.submit)
    try:
        yield pool
    finally:
        pool.cancel()
        pool.shutdown(wait=True, cancel_futures=True)


EXECUTORS: Final[Mapping[str, Place]] = {
    "process": Place(_processes, first_points=1, batch_s=1.0),
    "thread": Place(_threads, first_points=1, batch_s=1.0),
    "dask": Place(_dask, first_points=1, batch_s=1.0),
    "ray": Place(_ray, first_points=1, batch_s=1.0),
    "slurm": Place(_slurm, first_points=256, batch_s=600.0),
}
"""Name -> where the points run."""
