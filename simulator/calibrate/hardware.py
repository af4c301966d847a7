"""``trainsim calibrate accelerator`` and ``node``: reads files, fits, makes YAML text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from simulator.calibrate.fit_collectives import fit_collectives
from simulator.calibrate.fit_curve import CurveFit
from simulator.calibrate.fit_kernels import fit_attention, fit_gemm, fit_memory
from simulator.calibrate.microbench import (
    ATTENTION_COLUMNS,
    GEMM_COLUMNS,
    MEMORY_COLUMNS,
    read_columns,
)
from simulator.calibrate.nccl import read_collectives
from simulator.calibrate.write_hardware import (
    attention_lines,
    collective_lines,
    gemm_lines,
    head,
    memory_lines,
    source_of,
)
from simulator.progress import Progress, silent
from simulator.spec.hardware import load_accelerator, load_node


@dataclass(frozen=True, slots=True)
class HardwareFit:
    """Fitted curves and the description that holds them."""

    fits: tuple[CurveFit, ...]
    text: str

    def to_json(self) -> dict[str, object]:
        """JSON data; standard errors of constants that the data do not determine are null."""
        return {"curves": [_curve_json(fit) for fit in self.fits], "yaml": self.text}


def _curve_json(fit: CurveFit) -> dict[str, object]:
    known = [c.relative_error if math.isfinite(c.relative_error) else None for c in fit.constants]
    constants = [
        {**asdict(constant), "relative_error": error}
        for constant, error in zip(fit.constants, known, strict=True)
    ]
    return {**asdict(fit), "constants": constants}


def calibrate_accelerator(
    base: str,
    *,
    gemm: Path | None,
    attention: Path | None,
    memory: Path | None,
    progress: Progress = silent,
) -> HardwareFit:
    """Fits the curves of an accelerator for which there is a file.

    Args:
        base: the accelerator that is extended: its peaks, memory and what is not fitted.
        gemm: microbenchmarks of matrix products, see ``microbench.py``; None to keep the curve.
        attention: the same for fused attention.
        memory: the same for memory-bound kernels.
        progress: told which curve is fitted, and how many steps that took so far.

    Raises:
        SpecError: if a file is wrong or has too few rows.
    """
    accelerator = load_accelerator(base)
    fits: list[CurveFit] = []
    lines = head(_parent(base))
    if gemm is not None:
        rows = read_columns(gemm, GEMM_COLUMNS, accelerator.name)
        fit, curve = fit_gemm(rows, accelerator, progress)
        fits.append(fit)
        lines += gemm_lines(curve, source_of(fit, gemm.name))
    if attention is not None:
        rows = read_columns(attention, ATTENTION_COLUMNS, accelerator.name)
        curves = fit_attention(rows, accelerator, progress)
        fits += [fit for fit, _ in curves.values()]
        lines += attention_lines(curves, attention.name)
    if memory is not None:
        rows = read_columns(memory, MEMORY_COLUMNS, accelerator.name)
        fit, fraction = fit_memory(rows, accelerator, progress)
        fits.append(fit)
        lines += memory_lines(fit.values["launch_s"], fraction, source_of(fit, memory.name))
    return HardwareFit(tuple(fits), "\n".join(lines) + "\n")


def calibrate_node(
    base: str, collectives: Sequence[Path], progress: Progress = silent
) -> HardwareFit:
    """Fits the collective curve of a node on all files together.

    Raises:
        SpecError: if a file is wrong or there are too few rows.
    """
    node = load_node(base)
    tables = [read_collectives(path, node.accelerator.name) for path in collectives]
    fit, curve = fit_collectives(tables, node, progress)
    source = source_of(fit, ", ".join(path.name for path in collectives))
    lines = [*head(_parent(base)), *collective_lines(curve, source)]
    return HardwareFit((fit,), "\n".join(lines) + "\n")


def _parent(base: str) -> str:
    """A path must hold from wherever the new file lies."""
    return str(Path(base).resolve()) if base.endswith((".yaml", ".yml")) else base
