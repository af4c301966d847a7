"""Every executor with real workers, one of which is killed in the middle."""

from __future__ import annotations

import builtins
import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from simulator.errors import SpecError
from simulator.spec.sweep import Sweep, load_sweep
from simulator.sweep.executors import EXECUTORS, Request
from simulator.sweep.run import Execution, run_sweep
from simulator.sweep.store import PARTS
from tests.sweep.conftest import NUM_POINTS, all_rows

WORKERS = {
    "process": "spawn_main",
    "dask": "spawn_main",
    "ray": "ray::timed_points",
    "slurm": "submitit.core._submit",
}
"""Executor -> what the command line of its workers holds."""
BEFORE = {"slurm": "import submitit; submitit.Job._results_timeout_s = 0"}
"""Executor -> what the command runs first. A result may be late on the disk of a cluster, so that
submitit waits 15 s for that of a job which was killed; here it comes at once or never."""
STARTED_S = 90.0
FEW_POINTS = NUM_POINTS // 3


@pytest.fixture
def few(sweep_file: Path) -> Path:
    """A third of the sweep."""
    text = sweep_file.read_text(encoding="utf-8").replace("[1, 2, 300]", "[2]")
    sweep_file.write_text(text, encoding="utf-8")
    return sweep_file


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an uninterrupted run, which the first test fills."""
    return tmp_path_factory.mktemp("whole") / "rows"


def start(sweep_file: Path, folder: Path, executor: str, workers: int = 1) -> subprocess.Popen[str]:
    command = ["sweep", str(sweep_file), "--out", str(folder), "--workers", str(workers)]
    script = f"{BEFORE.get(executor, '')}\nfrom simulator.cli import main\nmain()"
    return subprocess.Popen(
        [sys.executable, "-c", script, *command, "--executor", executor],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "HOME": str(folder.parent)},
    )


def workers_of(process: subprocess.Popen[str], mark: str) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if mark in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


def wait_for(process: subprocess.Popen[str], folder: Path, mark: str) -> psutil.Process:
    """A worker, once there are some rows (a batch job writes none before it ends)."""
    until = time.monotonic() + STARTED_S
    while time.monotonic() < until and process.poll() is None:
        workers = workers_of(process, mark)
        if workers and (mark.startswith("submitit") or any(folder.glob(PARTS))):
            return workers[-1]
        time.sleep(0.02)
    raise AssertionError(process.communicate(timeout=10))


def test_every_executor_is_tested() -> None:
    assert WORKERS.keys() | {"thread"} == EXECUTORS.keys()


@pytest.mark.parametrize("executor", WORKERS)
def test_a_killed_worker_loses_nothing(
    few: Path, tmp_path: Path, whole: Path, executor: str
) -> None:
    folder = tmp_path / "rows"
    process = start(few, folder, executor, workers=2)
    wait_for(process, folder, WORKERS[executor]).send_signal(signal.SIGKILL)
    killed_at = sum(1 for _ in folder.glob(PARTS))
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert f"{FEW_POINTS} points: {FEW_POINTS} simulated" in output
    assert killed_at < sum(1 for _ in folder.glob(PARTS)), "the worker died after the end"
    run_sweep(load_sweep(few), whole, Execution(1, "thread"))
    assert all_rows(folder) == all_rows(whole)


def test_batch_jobs_may_take_far_longer_than_they_should(tmp_path: Path) -> None:
    place = EXECUTORS["slurm"]
    with place.open(Request(1, "", tmp_path)) as executor:
        limit_s = executor.submit(os.getenv, "SUBMITIT_LOCAL_TIMEOUT_S").result()
    assert float(str(limit_s)) >= 4 * place.batch_s


def test_workers_of_a_killed_sweep_end_and_it_resumes(few: Path, tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    process = start(few, folder, "process")
    wait_for(process, folder, "spawn_main")
    workers = workers_of(process, "spawn_main")
    process.kill()
    process.communicate(timeout=60)
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert alive == []
    resumed = run_sweep(load_sweep(few), folder, Execution(1, "thread"))
    assert 0 < resumed.evaluated < FEW_POINTS
    assert len(all_rows(folder)) == FEW_POINTS


def test_ctrl_c_leaves_a_whole_directory(few: Path, tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    process = start(few, folder, "process")
    wait_for(process, folder, "spawn_main")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, ""), errors
    assert errors == f"stopped; '{folder}' is whole, and the same command goes on\n"
    assert [path.name for path in folder.iterdir() if path.name.startswith(".tmp")] == []
    assert 0 < len(all_rows(folder)) < FEW_POINTS


@pytest.mark.parametrize(
    ("executor", "package"), [("dask", "distributed"), ("ray", "ray"), ("slurm", "submitit")]
)
def test_a_missing_extra_is_named(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: str, package: str
) -> None:
    def missing(name: str):
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with (
        pytest.raises(SpecError, match=f"'{package}', which is not installed") as caught,
        EXECUTORS[executor].open(Request(1, "", tmp_path)),
    ):
        pass
    assert caught.value.hint == f"pip install 'trainsim[{executor}]'"


def test_without_duckdb_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest):
        if name == "duckdb":
            raise ModuleNotFoundError("No module named 'duckdb'", name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    monkeypatch.delitem(sys.modules, "simulator.sweep.store")
    with pytest.raises(SpecError, match="'duckdb', which is not installed") as caught:
        importlib.import_module("simulator.sweep.store")
    assert caught.value.hint == "pip install 'trainsim[sweep]'"
