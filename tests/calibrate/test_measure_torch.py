"""The pure parts of the script that measures on a GPU; its kernels are not run here."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.calibration import measure_torch
from simulator.calibrate.microbench import (
    ATTENTION_COLUMNS,
    COLLECTIVE_COLUMNS,
    GEMM_COLUMNS,
    MEMORY_COLUMNS,
    read_columns,
)
from simulator.cost.memory_bound import CURVE_KEYS

SCRIPT = Path(measure_torch.__file__)


def test_shapes_are_many_different_and_fit_small_devices() -> None:
    shapes = measure_torch.gemm_shapes()
    assert len(shapes) == len(set(shapes)) >= 60
    assert max(shape.num_bytes for shape in shapes) <= measure_torch.MAX_BYTES
    # m k, three k n and m n of 2 bytes: 2 * (6 + 3 * 15 + 10)
    assert measure_torch.GemmShape(2, 5, 3).num_bytes == 2 * (6 + 45 + 10)


def test_attention_keeps_the_tokens_and_varies_the_heads() -> None:
    cases = measure_torch.attention_cases()
    assert {case.batch * case.tokens for case in cases} == {16384}
    assert {case.head_dim for case in cases} == {64, 128}
    assert len(cases) == len(set(cases))


@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_payloads_divide_by_the_ranks(ranks: int) -> None:
    sizes = measure_torch.payloads(ranks)
    assert all(size % (2 * ranks) == 0 for size in sizes)
    assert sizes == sorted(sizes)


def test_the_median_ignores_a_disturbed_repetition() -> None:
    assert measure_torch.median_s([1.0, 9.0, 1.1]) == 1.1
    with pytest.raises(ValueError, match="nothing was measured"):
        measure_torch.median_s([])


@pytest.mark.parametrize(
    ("header", "columns", "row"),
    [
        (measure_torch.GEMM_HEADER, GEMM_COLUMNS, (8, 8, 8, "bf16", "1.5")),
        (
            measure_torch.ATTENTION_HEADER,
            ATTENTION_COLUMNS,
            ("flash2", 64, 1, 8, 512, 1, "forward", "9"),
        ),
        (measure_torch.MEMORY_HEADER, MEMORY_COLUMNS, ("copy", 4096, "2")),
        (measure_torch.COLLECTIVE_HEADER, COLLECTIVE_COLUMNS, ("all_reduce", 8, 1024, "20")),
    ],
)
def test_what_it_writes_is_what_calibrate_reads(tmp_path: Path, header, columns, row) -> None:
    path = tmp_path / "deep" / "m.csv"
    measure_torch.write_rows(path, header, [row])
    assert read_columns(path, columns).seconds().tolist() == pytest.approx([float(row[-1]) * 1e-6])
    assert list(path.parent.iterdir()) == [path]


def test_its_kernels_are_known() -> None:
    source = SCRIPT.read_text()
    for name in ("copy", "add", "gelu", "layernorm", "softmax", "dropout"):
        assert name in CURVE_KEYS
        assert f'"{name}": (' in source


def test_help_and_errors_without_torch() -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        # -S and -I hide what is installed, torch with it
        return subprocess.run(
            [sys.executable, "-I", "-S", str(SCRIPT), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    assert "NOT RUN ON A GPU" in run("--help").stdout
    failed = run("gpu")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: PyTorch is not installed")
