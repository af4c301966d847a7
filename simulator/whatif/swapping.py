"""Swap or recompute: how many layers keep all activations off the device, by the cost model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from simulator.errors import NothingFitsError, PlanError
from simulator.report.report import Report
from simulator.scenario import Scenario
from simulator.simulate import simulate
from simulator.spec.load import ScenarioSource
from simulator.spec.overrides import Override

POINTS: Final = 9
"""Numbers of layers tried: the step time is flat around its best."""


def best_swap(source: ScenarioSource) -> tuple[Scenario, Report]:
    """The scenario with the number of recomputed layers that makes its step fastest.

    A layer that recomputes sends its checkpoint away and computes the rest again; one that does not
    sends everything it keeps. Fuyou (arXiv 2403.06504) chooses the amount by such a model, too.

    Args:
        source: of a scenario whose activations live off the device.

    Raises:
        PlanError: if they live on the device.
        NothingFitsError: if no number of layers fits.
        TrainsimError: if the scenario is wrong.
    """
    base = source.scenario()
    offload = base.plan.offload
    if offload is None or not offload.activations.away:
        raise PlanError(
            "activations stay on the device, so that there is nothing to swap",
            where="plan.offload.activations",
            hint="give them a home on the host or on nvme",
        )
    tried = [_swapping(source, count) for count in _counts(base)]
    runs = [(scenario, simulate(scenario, levers=False)) for scenario in tried]
    fitting = [(scenario, report) for scenario, report in runs if report.memory.fits]
    if not fitting:
        raise NothingFitsError("does not fit, however many layers recompute")
    return min(fitting, key=lambda run: run[1].step_time_s)


def _counts(scenario: Scenario) -> Sequence[int]:
    """Layers that recompute, from none to all of a virtual stage."""
    most = scenario.model.num_layers // scenario.plan.num_stages
    return sorted({round(count) for count in np.linspace(0, most, POINTS).tolist()})


def _swapping(source: ScenarioSource, recomputed: int) -> Scenario:
    mode: dict[str, object] = {"mode": "full", "num_layers": recomputed}
    recompute = mode if recomputed else "none"
    return source.having(Override("training.recompute", recompute)).scenario()
