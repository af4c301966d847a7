from __future__ import annotations

from pathlib import Path

import pytest

from simulator.spec.sweep import Sweep, load_sweep
from simulator.sweep.store import read

SWEEP = """
scenario: gpt2-xl-one-gpu
axes:
  model.num_layers: [1, 2, 300]
  training.global_batch_size: [8, 12, 16, 24]
  training.micro_batch_size: [1, 2, 4, 8]
  training.seq_length: [256, 512, 1024, 4096]
  training.recompute: [none, full]
constraints:
  - training.micro_batch_size * training.seq_length <= 16384
"""
NUM_POINTS = 3 * 4 * (4 * 4 - 1) * 2
"""Of the pairs of micro-batch and length only 8 * 4096 is excluded."""


@pytest.fixture
def sweep_file(tmp_path: Path) -> Path:
    path = tmp_path / "cheap.yaml"
    path.write_text(SWEEP, encoding="utf-8")
    return path


@pytest.fixture
def sweep(sweep_file: Path) -> Sweep:
    return load_sweep(sweep_file)


def all_rows(folder: Path) -> tuple[tuple[object, ...], ...]:
    return read(folder, "SELECT * FROM rows ORDER BY ALL").rows
