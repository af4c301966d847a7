"""All that a calibration writes, composed before anything is written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from simulator.calibrate.fit_stack import StackFit
from simulator.calibrate.other_software import OtherSoftware
from simulator.calibrate.spread import pooled_spread, stack_spreads
from simulator.calibrate.write_stack import (
    declared_by,
    declared_in,
    extension,
    pooled_text,
    with_fit,
    with_typical,
    with_values,
)
from simulator.spec.fits import POOLED_FILE
from simulator.spec.stacks import stack_files
from simulator.spec.yaml_file import data_dir, list_data

Texts = tuple[tuple[Path, str], ...]
"""Files and their new contents."""


def stack_texts(fits: Sequence[StackFit], *, values: bool, pooled: bool) -> Texts:
    """The files of the stacks with their fit blocks, and with the fitted values if asked for.

    Args:
        fits: of the stacks.
        values: write what was fitted; else the files keep their values and declarations, and the
            spread is that of the values in the file.
        pooled: the fits are those of all stacks: what is typical of them and the pooled spread as
            well.
    """
    spreads = stack_spreads(fits, as_shipped=not values)
    by_stack = {fit.job.stack: fit for fit in fits}
    typical = _typical(fits) if values and pooled else {}
    texts: list[tuple[Path, str]] = []
    for name in sorted({*by_stack, *spreads, *typical}):
        fit = by_stack.get(name)
        path = fit.job.path if fit else stack_files(name)[0].path
        text = path.read_text(encoding="utf-8")
        declared = declared_in(text, str(path))
        if values and fit is not None and fit.parameters:
            text, typical_names = with_values(text, fit), declared.typical
            declared = declared_by(fit).model_copy(update={"typical": typical_names})
        text = with_typical(text, typical.get(name, {}))
        if name in spreads:
            text = with_fit(text, declared, spreads[name])
        texts.append((path, text))
    if pooled:
        texts.append((data_dir("hardware") / POOLED_FILE, pooled_text(pooled_spread(fits))))
    return tuple(texts)


def _typical(fits: Sequence[StackFit]) -> dict[str, dict[str, float]]:
    """Shipped stack -> its scalars that are those of other software, where that tells them."""
    others = OtherSoftware(fits)
    wanted = {name: stack_files(name)[0].fit for name in list_data("stacks")}
    return {
        name: others.typical(fit.typical)
        for name, fit in wanted.items()
        if fit is not None and fit.typical
    }


def extension_text(name: str, fit: StackFit, out: Path) -> str:
    """A stack file with the fitted values that extends a stack.

    Args:
        name: of a shipped stack, or the path of a file.
        fit: of it.
        out: where it will be; a path is written relative to it, so that both can move together.
    """
    is_path = name.endswith((".yaml", ".yml"))
    parent = os.path.relpath(Path(name).resolve(), out.resolve().parent) if is_path else name
    return extension(Path(parent).as_posix(), fit, stack_spreads([fit]).get(fit.job.stack))
