"""All that a calibration writes, composed before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from simulator.calibrate.fit_stack import StackFit
from simulator.calibrate.spread import pooled_spread, stack_spreads
from simulator.calibrate.write_stack import (
    declared_by,
    declared_in,
    extension,
    pooled_text,
    with_fit,
    with_values,
)
from simulator.spec.fits import POOLED_FILE
from simulator.spec.stacks import stack_files
from simulator.spec.yaml_file import data_dir

Texts = tuple[tuple[Path, str], ...]
"""Files and their new contents."""


def stack_texts(fits: Sequence[StackFit], *, values: bool, pooled: bool) -> Texts:
    """The files of the stacks with their fit blocks, and with the fitted values if asked for.

    Args:
        fits: of the stacks.
        values: write what was fitted; else the files keep their values and declarations, and the
            spread is that of the values in the file.
        pooled: the pooled spread as well.
    """
    spreads = stack_spreads(fits, as_shipped=not values)
    by_stack = {fit.job.stack: fit for fit in fits}
    texts: list[tuple[Path, str]] = []
    for name in sorted({*by_stack, *spreads}):
        fit = by_stack.get(name)
        path = fit.job.path if fit else stack_files(name)[0].path
        text = path.read_text(encoding="utf-8")
        declared = declared_in(text, str(path))
        if values and fit is not None and fit.parameters:
            text, declared = with_values(text, fit), declared_by(fit)
        if name in spreads:
            text = with_fit(text, declared, spreads[name])
        texts.append((path, text))
    if pooled:
        texts.append((data_dir("hardware") / POOLED_FILE, pooled_text(pooled_spread(fits))))
    return tuple(texts)


def extension_text(name: str, fit: StackFit) -> str:
    """A stack file with the fitted values that extends a stack, wherever it is put.

    Args:
        name: of a shipped stack, or the path of a file.
        fit: of it.
    """
    parent = str(Path(name).resolve()) if name.endswith((".yaml", ".yml")) else name
    return extension(parent, fit, stack_spreads([fit]).get(fit.job.stack))
