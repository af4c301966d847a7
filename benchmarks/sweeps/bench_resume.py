"""Sweeps of 100,000 rows, killed again and again, beside an uninterrupted one.

    python benchmarks/sweeps/bench_resume.py [--executor process dask ray] [--kills 10]
        [--worker-kills 5] [--workers 2] [--seed 2026] [--place DIR]

On every executor the sweep goes through ten SIGKILLs of the whole command (its process tree), after
each of which it is started again, and five SIGKILLs of one worker process, after which the command
has to go on by itself. The kills come when random numbers of rows are on disk, drawn over the whole
sweep, and up to a second later; if its number was passed already, while the command starts. At the
end the directory must hold the rows of the uninterrupted sweep (on processes), each once; otherwise
it exits with 1. Most points of the grid break a rule of divisibility, as those of any full grid do;
they are rows with their reason, spread evenly over the sweep. ``docs/sweeps.md`` has the figures.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import duckdb
import psutil

SWEEP = """
scenario:
  model: {preset: gpt2-xl, num_attention_heads: 24, hidden_size: 1536}
  training: {global_batch_size: 64, seq_length: 1024}
  cluster: {preset: dgx-a100-cluster, nodes: 1}
  stack: ideal
axes:
  training.seq_length: [128, 256, 384, 512, 640, 768, 896, 1024, 2048, 4096]
  training.global_batch_size: [8, 12, 16, 24, 32, 36, 40, 48, 56, 64]
  training.micro_batch_size: [1, 2, 3, 4, 6, 8, 12, 16]
  plan.tp: [1, 2, 3, 4, 8]
  plan.pp: [1, 2, 3, 4, 8]
  plan.dp: [1, 2, 3, 4, 8]
"""
ROWS = 10 * 10 * 8 * 5 * 5 * 5
"""All combinations: 100,000."""
LAST_KILL = 95_000
"""No kill waits for more rows, so that each one finds a running sweep."""
DELAY_S = 1.0
"""Longest time from the row that a kill waits for to the kill: about that between two parts."""
POLL_S = 0.1
WORKERS = {"process": "spawn_main", "dask": "spawn_main", "ray": "ray::timed_points"}
"""Executor -> what the command line of its worker processes holds."""


@dataclass(frozen=True, slots=True)
class Kill:
    """A SIGKILL, some time after so many rows are on disk."""

    at_rows: int
    delay_s: float
    of: Literal["command", "worker"]


def drawn_kills(options: argparse.Namespace) -> list[Kill]:
    """Kills at moments drawn over the whole sweep, earliest first."""
    drawn = random.Random(options.seed)
    kinds = ["command"] * options.kills + ["worker"] * options.worker_kills
    drawn.shuffle(kinds)
    moments = sorted(drawn.sample(range(LAST_KILL), len(kinds)))
    return [
        Kill(moment, drawn.uniform(0.0, DELAY_S), kind)
        for moment, kind in zip(moments, kinds, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Job:
    """A sweep into a directory on one kind of executor."""

    sweep: Path
    folder: Path
    executor: str
    workers: int

    def start(self) -> subprocess.Popen[bytes]:
        """The command, running."""
        command = ["sweep", str(self.sweep), "--out", str(self.folder)]
        where = ["--executor", self.executor, "--workers", str(self.workers)]
        return subprocess.Popen(
            [sys.executable, "-m", "simulator", *command, *where], stdout=subprocess.DEVNULL
        )

    def parts(self) -> str:
        """All part files, for DuckDB."""
        return f"read_parquet('{self.folder / 'part-*.parquet'}')"

    def num_rows(self) -> int:
        """Rows on disk; one that was written twice counts twice."""
        return sum(rows_of(part) for part in self.folder.glob("part-*.parquet"))

    def digest(self) -> str:
        """SHA-256 of all rows in the order of their ids."""
        digest = hashlib.sha256()
        for row in duckdb.execute(f"SELECT * FROM {self.parts()} ORDER BY point").fetchall():
            digest.update(repr(row).encode())
        return digest.hexdigest()[:16]

    def statuses(self) -> dict[str, int]:
        """Status -> rows."""
        sql = f"SELECT status, count(*) FROM {self.parts()} GROUP BY status ORDER BY status"
        return dict(duckdb.execute(sql).fetchall())


@cache
def rows_of(part: Path) -> int:
    """Rows of a part file, which never changes."""
    return duckdb.execute(f"SELECT count(*) FROM read_parquet('{part}')").fetchall()[0][0]


def finish(process: subprocess.Popen[bytes]) -> float:
    """Waits for the end of a command; CPU seconds of it and of all that it started."""
    used_s: dict[psutil.Process, float] = {}
    while process.poll() is None:
        for one in family_of(process):
            with suppress(psutil.Error):
                times = one.cpu_times()
                used_s[one] = times.user + times.system
        time.sleep(5 * POLL_S)
    if process.returncode:
        raise SystemExit(f"the sweep ended with {process.returncode}")
    return sum(used_s.values())


def family_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """A command and all that it started; nothing once it has ended."""
    try:
        command = psutil.Process(process.pid)
        return [command, *command.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def wait_for_rows(process: subprocess.Popen[bytes], job: Job, rows: int) -> None:
    while process.poll() is None and job.num_rows() < rows:
        time.sleep(POLL_S)


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a command first, then to all that it started."""
    family = family_of(process)
    for one in family:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()
    psutil.wait_procs(family[1:], timeout=30)


def workers_of(process: subprocess.Popen[bytes], mark: str) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for child in family_of(process)[1:]:
        with suppress(psutil.Error):
            if mark in " ".join(child.cmdline()):
                found.append(child)
    return found


def kill_worker(process: subprocess.Popen[bytes], mark: str, which: random.Random) -> None:
    """SIGKILL to one of the workers, as soon as there is one."""
    while process.poll() is None:
        found = workers_of(process, mark)
        if found:
            which.choice(found).kill()
            return
        time.sleep(POLL_S)


def run_killed(job: Job, kills: list[Kill], seed: int) -> None:
    """Runs a sweep to its end through all kills."""
    which = random.Random(seed)
    process = job.start()
    for number, kill in enumerate(kills, 1):
        wait_for_rows(process, job, kill.at_rows)
        time.sleep(kill.delay_s)
        if process.poll() is not None:
            raise SystemExit(f"the sweep had ended ({process.returncode}) before kill {number}")
        if kill.of == "command":
            kill_tree(process)
        else:
            kill_worker(process, WORKERS[job.executor], which)
        print(f"  kill {number:2} ({kill.of}): {job.num_rows():,} rows on disk", flush=True)
        if kill.of == "command":
            process = job.start()
    finish(process)


def num_differing(one: Job, other: Job) -> int:
    """Rows of one directory that the other lacks, both ways."""
    first, second = one.parts(), other.parts()
    sql = (
        f"(SELECT * FROM {first} EXCEPT ALL SELECT * FROM {second}) UNION ALL "
        f"(SELECT * FROM {second} EXCEPT ALL SELECT * FROM {first})"
    )
    return len(duckdb.execute(sql).fetchall())


def run_uninterrupted(whole: Job) -> None:
    began_s, before = time.perf_counter(), whole.num_rows()
    cpu_s = finish(whole.start())
    seconds = time.perf_counter() - began_s
    print(
        f"uninterrupted: {whole.num_rows():,} rows, {before:,} of them there before, in "
        f"{seconds:.0f} s and {cpu_s:.0f} CPU s; rows {whole.digest()}; {whole.statuses()}",
        flush=True,
    )


def survives(job: Job, whole: Job, options: argparse.Namespace) -> bool:
    """Whether a sweep ends with the rows of the uninterrupted one after all kills."""
    began_s = time.perf_counter()
    run_killed(job, drawn_kills(options), options.seed)
    seconds = time.perf_counter() - began_s
    differing = num_differing(whole, job)
    print(
        f"{job.executor}: {job.num_rows():,} rows after {options.kills} kills of the command and "
        f"{options.worker_kills} of a worker, in {seconds:.0f} s; rows {job.digest()}; "
        f"{differing} differ",
        flush=True,
    )
    return job.num_rows() == whole.num_rows() == ROWS and not differing


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--executor", nargs="+", choices=WORKERS, default=list(WORKERS))
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--worker-kills", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--place", type=Path, help="directory to keep; else a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = options.place or Path(temporary)
        sweep = place / "grid.yaml"
        sweep.write_text(SWEEP, encoding="utf-8")
        whole = Job(sweep, place / "whole", "process", options.workers)
        run_uninterrupted(whole)
        alike = [
            survives(Job(sweep, place / name, name, options.workers), whole, options)
            for name in options.executor
        ]
        if not all(alike):
            raise SystemExit(1)


if __name__ == "__main__":
    main()
