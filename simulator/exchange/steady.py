"""The pattern in which steps repeat once a worker and its exchanges have settled."""

from __future__ import annotations

from typing import Final

import numpy as np

from simulator.errors import PlanError
from simulator.exchange.program import InnerStep, Program
from simulator.exchange.unroll import unroll
from simulator.numeric import FloatArray

SETTLED: Final = 1e-9
"""Share by which the steps of two periods may differ and still count as the same: rounding."""
MAX_STEPS: Final = 20_000
"""Most steps that are unrolled before a policy counts as one that never settles."""


def steady_steps_s(
    inner: InnerStep, program: Program, link_scale: FloatArray | None = None
) -> FloatArray:
    """Seconds of every step of a period, once two periods in a row are the same.

    Periods are unrolled, 3 at first, or more where exchanges span periods, and twice as many until
    the last two agree.

    Args:
        inner: one step of a worker.
        program: what workers exchange.
        link_scale: [batch], factors on the time of all exchanges; one run as it is if left out.

    Returns:
        [batch, period].

    Raises:
        PlanError: if the period is too long to be unrolled often enough.
    """
    scale = np.ones(1) if link_scale is None else link_scale
    period = program.period
    span = 1 + max((t.overlap_steps for t in program.transfers), default=0) // period
    periods = 2 + span
    while periods * period <= MAX_STEPS:
        steps_s = unroll(inner, program, periods * period).step_times_s(scale)
        last, before = steps_s[:, -period:], steps_s[:, -2 * period : -period]
        if np.allclose(last, before, rtol=SETTLED, atol=SETTLED * inner.seconds):
            return last
        periods *= 2
    raise PlanError(
        f"a period of {period} steps does not settle within {MAX_STEPS} steps",
        where="plan.exchange.every",
        hint="take a smaller every",
    )
