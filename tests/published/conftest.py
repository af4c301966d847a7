"""A stand-in for the simulator, so that validation is tested without one."""

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from simulator.published.rows import PublishedRow, read_rows
from simulator.report.report import MemoryReport, RankMemory, Report
from simulator.scenario import Scenario

Run = Callable[[Scenario], Report]
MakeRow = Callable[..., PublishedRow]

FULL = {
    "id": "r1",
    "role": "test",
    "year": "2022",
    "model": "GPT-0.35B",
    "layers": "24",
    "hidden": "1024",
    "heads": "16",
    "vocab": "51200",
    "seq_len": "1024",
    "gpu": "A100-SXM4-80GB",
    "n_gpus": "8",
    "tp": "1",
    "pp": "1",
    "dp": "8",
    "zero_stage": "0",
    "offload": "none",
    "micro_batch": "4",
    "global_batch": "32",
    "recompute": "none",
    "sequence_parallel": "no",
    "precision": "bf16",
    "flash_attn": "no",
    "framework": "Megatron-LM",
    "step_time_s": "0.5",
}
"""A row in which nothing is left open."""


def write_table(path: Path, *records: dict[str, str]) -> Path:
    columns = list(dict.fromkeys(column for record in records for column in record))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(records)
    return path


@pytest.fixture
def full_record() -> dict[str, str]:
    return dict(FULL)


@pytest.fixture
def write() -> Callable[..., Path]:
    """Writes records as a CSV file."""
    return write_table


@pytest.fixture
def make_row(tmp_path: Path) -> MakeRow:
    """The complete row with some cells changed: ``make_row(tp="2", dp="4")``."""

    def make(**cells: str) -> PublishedRow:
        stem = cells.pop("file", "mine")
        (row,) = read_rows(write_table(tmp_path / f"{stem}.csv", FULL | cells))
        return row

    return make


TERMS = {"weights": 60e9, "framework": 2e9, "communicators": 1e9, "fragmentation": 4e9}


def _memory(fits: bool) -> MemoryReport:
    first = RankMemory("pipeline rank 0", 1, sum(TERMS.values()), 0.0, 1.0, TERMS)
    last = dataclasses.replace(
        first, rank_class="pipeline rank 1", peak_bytes=30e9, terms={"weights": 30e9}
    )
    return MemoryReport(fits, 80e9, first.peak_bytes, "pipeline rank 0", (first, last), None)


def fake_report(step_time_s: float = 2.0, fits: bool = True) -> Report:
    return Report(
        schema_version="1",
        scenario={},
        step_time_s=step_time_s,
        tokens_per_s=1.0,
        tokens_per_s_per_device=1.0,
        model_flops_per_s_per_device=1.0,
        hardware_flops_per_s_per_device=1.0,
        mfu=0.5,
        hfu=0.5,
        flops_convention="palm",
        flops={},
        time={},
        memory=_memory(fits),
        devices=1,
        kernels=(),
        assumptions=(),
        provenance={},
    )


@pytest.fixture
def two_seconds() -> Run:
    """A simulator that says 2 s and 67 GB for everything."""
    return lambda scenario: fake_report()
