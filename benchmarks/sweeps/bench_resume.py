"""A sweep of 100,000 rows, killed ten times at random moments, beside an uninterrupted one.

    python benchmarks/sweeps/bench_resume.py [--kills 10] [--workers 2] [--executor process]

Every kill is a SIGKILL of the command's whole process group, workers included. At the end the
directory must hold exactly the rows of the uninterrupted run, each once; otherwise it exits with 1.
Most points of the grid break a rule of divisibility, as those of any full grid do; they are rows
with their reason.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

SWEEP = """
scenario:
  model: {preset: gpt2-xl, num_attention_heads: 24, hidden_size: 1536}
  training: {global_batch_size: 64, seq_length: 1024}
  cluster: {preset: dgx-a100-cluster, nodes: 1}
  stack: ideal
axes:
  plan.tp: [1, 2, 3, 4, 8]
  plan.pp: [1, 2, 3, 4, 8]
  plan.dp: [1, 2, 3, 4, 8]
  training.micro_batch_size: [1, 2, 3, 4, 6, 8, 12, 16]
  training.global_batch_size: [8, 12, 16, 24, 32, 36, 40, 48, 56, 64]
  training.seq_length: [128, 256, 384, 512, 640, 768, 896, 1024, 2048, 4096]
"""
ROWS = 5 * 5 * 5 * 8 * 10 * 10
"""All combinations: 100,000."""
SEED = 2026
STARTING = 0.25
"""Share of the kills that come while a run starts."""


def start(sweep: Path, folder: Path, options: argparse.Namespace) -> subprocess.Popen[bytes]:
    command = ["sweep", str(sweep), "--out", str(folder), "--workers", str(options.workers)]
    return subprocess.Popen(
        [sys.executable, "-m", "simulator", *command, "--executor", options.executor],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def finish(sweep: Path, folder: Path, options: argparse.Namespace) -> float:
    began_s = time.perf_counter()
    code = start(sweep, folder, options).wait()
    if code:
        raise SystemExit(f"the sweep ended with {code}")
    return time.perf_counter() - began_s


def table(folder: Path) -> str:
    return f"read_parquet('{folder / 'part-*.parquet'}')"


def count(folder: Path) -> int:
    if not any(folder.glob("part-*.parquet")):
        return 0
    return duckdb.execute(f"SELECT count(*) FROM {table(folder)}").fetchall()[0][0]


def num_parts(folder: Path) -> int:
    return sum(1 for _ in folder.glob("part-*.parquet"))


def kill_at_random(
    sweep: Path, folder: Path, options: argparse.Namespace, moments: random.Random, limit_s: float
) -> None:
    """Kills one run: one of four while it starts, the others once it has written something."""
    before = num_parts(folder)
    process = start(sweep, folder, options)
    if moments.random() > STARTING:
        while process.poll() is None and num_parts(folder) == before:
            time.sleep(0.01)
    try:
        process.wait(moments.uniform(0.0, limit_s))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--executor", default="process")
    options = parser.parse_args()
    moments = random.Random(SEED)
    with tempfile.TemporaryDirectory() as place:
        sweep = Path(place) / "grid.yaml"
        sweep.write_text(SWEEP, encoding="utf-8")
        whole, killed = Path(place) / "whole", Path(place) / "killed"
        whole_s = finish(sweep, whole, options)
        rate = count(whole) / whole_s
        print(f"uninterrupted: {count(whole):,} rows in {whole_s:.0f} s, {rate:,.0f}/s", flush=True)
        for number in range(1, options.kills + 1):
            kill_at_random(sweep, killed, options, moments, whole_s / options.kills)
            print(f"kill {number}: {count(killed):,} rows on disk", flush=True)
        finish(sweep, killed, options)
        statuses = duckdb.execute(
            f"SELECT status, count(*) FROM {table(killed)} GROUP BY status ORDER BY status"
        ).fetchall()
        differing = duckdb.execute(
            f"(SELECT * FROM {table(whole)} EXCEPT ALL SELECT * FROM {table(killed)}) UNION ALL "
            f"(SELECT * FROM {table(killed)} EXCEPT ALL SELECT * FROM {table(whole)})"
        ).fetchall()
        print(f"resumed: {count(killed):,} rows, {len(differing)} differ; {dict(statuses)}")
        if count(whole) != ROWS or count(killed) != ROWS or differing:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
