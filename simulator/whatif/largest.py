"""The largest microbatch that fits in memory."""

from __future__ import annotations

from simulator.errors import NothingFitsError
from simulator.scenario import Scenario
from simulator.simulate import job_memory
from simulator.spec.load import ScenarioSource
from simulator.spec.overrides import Override


def largest_micro_batch(source: ScenarioSource, batch_unit: int) -> Scenario:
    """The scenario with the largest microbatch that fits.

    Args:
        source: of the scenario.
        batch_unit: dp * number of microbatches; the global batch is so many microbatches.

    Assumes: memory grows with the microbatch.

    Raises:
        NothingFitsError: if not even one sequence fits.
        TrainsimError: if the scenario is wrong.
    """
    fitting, size = _with(source, 1, batch_unit), 1
    if not _fits(fitting):
        raise NothingFitsError("does not fit, not even with micro_batch_size 1")
    while _fits(double := _with(source, 2 * size, batch_unit)):
        fitting, size = double, 2 * size
    low, high = size, 2 * size
    while high - low > 1:
        middle = (low + high) // 2
        between = _with(source, middle, batch_unit)
        if _fits(between):
            fitting, low = between, middle
        else:
            high = middle
    return fitting


def _with(source: ScenarioSource, micro_batch_size: int, batch_unit: int) -> Scenario:
    return source.having(
        Override("training.micro_batch_size", micro_batch_size),
        Override("training.global_batch_size", batch_unit * micro_batch_size),
    ).scenario()


def _fits(scenario: Scenario) -> bool:
    return job_memory(scenario).fits
