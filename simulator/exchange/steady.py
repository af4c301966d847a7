"""The pattern in which steps repeat once a worker and its exchanges have settled."""

from __future__ import annotations

from typing import Final

import numpy as np

from simulator.errors import PlanError
from simulator.exchange.program import InnerStep, Program
from simulator.exchange.unroll import unroll
from simulator.numeric import FloatArray

SETTLED: Final = 1e-9
"""Share of a period by which two may differ and still count as the same: rounding."""
MAX_STEPS: Final = 20_000
"""Most steps that are unrolled before a policy counts as one that never settles."""


def steady_steps_s(
    inner: InnerStep, program: Program, link_scale: FloatArray | None = None
) -> FloatArray:
    """Seconds of every step of a period, once two periods in a row are the same.

    Periods are unrolled, 3 at first, or more where exchanges span periods, and twice as many until
    the last two agree: in their steps, and in how far the link is behind compute. Steps alone may
    repeat while exchanges pile up that are waited for much later. Compute and what is under way on
    the link are all that a period leaves to the next, so what repeats once repeats for ever.

    Where exchanges need the link for longer than a worker computes, the link starts behind: from a
    link at rest a small excess would take many periods to fill a long overlap.

    Args:
        inner: one step of a worker.
        program: what workers exchange.
        link_scale: [batch], factors on the time of all exchanges; one run as it is if left out.

    Returns:
        [batch, period].

    Raises:
        PlanError: if the period is too long to be unrolled often enough.
    """
    scale = np.ones(1) if link_scale is None else np.asarray(link_scale, dtype=np.float64)
    period = program.period
    span = 1 + max((t.overlap_steps for t in program.transfers), default=0) // period
    behind_s = _behind_s(inner, program, scale, span)
    periods = 2 + span
    while periods * period <= MAX_STEPS:
        steps_s, lag_s = unroll(inner, program, periods * period).run(scale, behind_s)
        last_s = steps_s[:, -period:]
        slack_s = SETTLED * last_s.sum(axis=1, keepdims=True)
        if _repeats(steps_s, slack_s, periods, 1) and _repeats(lag_s, slack_s, periods, span):
            return last_s
        periods *= 2
    raise PlanError(
        f"a period of {period} steps does not settle within {MAX_STEPS} steps",
        where="plan.exchange.every",
        hint="take a smaller every",
    )


def _behind_s(inner: InnerStep, program: Program, scale: FloatArray, span: int) -> FloatArray:
    """[batch], more than all overlaps where the link is the bottleneck, else nothing."""
    kernels_s = sum(t.before_s + t.after_s for t in program.transfers)
    computing_s = program.period * inner.seconds + kernels_s
    link_s = scale * sum(t.link_s for t in program.transfers)
    return np.where(link_s > computing_s, (span + 1) * link_s, 0.0)


def _repeats(rows_s: FloatArray, slack_s: FloatArray, periods: int, of: int) -> bool:
    """Whether the last ``of`` periods are what each had before it, to rounding.

    Args:
        rows_s: [batch, periods * rows of a period], seconds.
        slack_s: [batch, 1], what counts as rounding.
        periods: that were unrolled.
        of: how many of them have to repeat.
    """
    rows = rows_s.shape[1] // periods
    last, before = rows_s[:, -of * rows :], rows_s[:, -(of + 1) * rows : -rows]
    return bool((np.abs(last - before) <= slack_s).all())
