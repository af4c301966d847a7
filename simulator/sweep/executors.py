"""Where the points of a sweep run. Everything has the shape of ``concurrent.futures.Executor``.

A row of ``EXECUTORS`` opens one and closes it again; nothing else in the package knows of Dask,
Ray or Slurm. What they bring is imported when they are opened.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from simulator.sweep.extras import needs

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
def _dask(request: Request) -> Generator[Executor]:
    with needs("dask", "--executor dask"):
        from distributed import Client, LocalCluster
    if request.address:
        with Client(request.address) as client:
            yield client.get_executor(pure=False)
        return
    cluster = LocalCluster(
        n_workers=request.workers, threads_per_worker=1, dashboard_address=None, protocol="tcp://"
    )
    with cluster, Client(cluster) as client:
        yield client.get_executor(pure=False)


class _RayExecutor(Executor):
    """Ray tasks as futures; a task whose worker dies runs again."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        import ray

        return ray.remote(max_retries=_RETRIES)(fn).remote(*args, **kwargs).future()


@contextmanager
def _ray(request: Request) -> Generator[Executor]:
    with needs("ray", "--executor ray"):
        import ray
    if request.address:
        ray.init(address=request.address, log_to_driver=False)
    else:
        ray.init(num_cpus=request.workers, include_dashboard=False, log_to_driver=False)
    try:
        yield _RayExecutor()
    finally:
        ray.shutdown()


class _JobExecutor(ThreadPoolExecutor):
    """Batch jobs as futures: a thread for each waits for its job."""

    def __init__(self, request: Request) -> None:
        with needs("slurm", "--executor slurm"):
            import submitit
        super().__init__(request.workers)
        self._jobs = submitit.AutoExecutor(request.folder / "jobs")
        self._jobs.update_parameters(name="trainsim-sweep", cpus_per_task=1)
        self._submitted: list[submitit.Job[Any]] = []

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        def run() -> T:
            job = self._jobs.submit(fn, *args, **kwargs)
            self._submitted.append(job)
            return job.result()

        return super().submit(run)

    def cancel(self) -> None:
        """Ends the jobs that still run."""
        for job in self._submitted:
            if not job.done():
                job.cancel()


@contextmanager
def _slurm(request: Request) -> Generator[Executor]:
    """Slurm where there is one, else jobs of this machine; options through ``SBATCH_*``."""
    pool = _JobExecutor(request)
    try:
        yield pool
    finally:
        pool.cancel()
        pool.shutdown(wait=True, cancel_futures=True)


_RETRIES: Final = 3
EXECUTORS: Final[Mapping[str, Place]] = {
    "process": Place(_processes, first_points=1, batch_s=1.0),
    "thread": Place(_threads, first_points=1, batch_s=1.0),
    "dask": Place(_dask, first_points=1, batch_s=1.0),
    "ray": Place(_ray, first_points=1, batch_s=1.0),
    "slurm": Place(_slurm, first_points=256, batch_s=600.0),
}
"""Name -> where the points run."""
