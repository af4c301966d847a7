"""The largest model that a machine holds under a plan, and what the next larger one lacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

from simulator.auto_fit import fit_batch, fits
from simulator.errors import NothingFitsError, PlanError, SpecError, TrainsimError
from simulator.model import TransformerConfig, num_parameters
from simulator.progress import Progress, silent
from simulator.report.breakdown import TIER_TERM_LABELS
from simulator.report.report import MemoryReport
from simulator.report.shortage import shortage
from simulator.scenario import Scenario, check
from simulator.simulate import memory_of

MAX_LAYERS: Final = 10_000
"""Deepest model that is tried."""


@dataclass(frozen=True, slots=True)
class Size:
    """One model under the plan.

    Attributes:
        micro_batch_size: of its microbatches; the scenario's own unless it is fitted.
        memory: of every class of ranks; None if not even a fitted microbatch was found.
    """

    model: TransformerConfig
    parameters: int
    micro_batch_size: int
    memory: MemoryReport


@dataclass(frozen=True, slots=True)
class LargestModel:
    """The answer.

    Attributes:
        varied: what was varied, in words.
        memory_share: of the memory that may be filled.
        largest: None if not even the smallest fits.
        too_large: the next larger model; None if there is none in the family.
        left_out: (model, reason) of shapes that break a rule of the plan.
    """

    varied: str
    memory_share: float
    largest: Size | None
    too_large: Size | None
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def limit(self) -> str:
        """What the next larger model lacks, in words."""
        if self.too_large is None:
            return "no larger model was asked for"
        lacks = shortage(self.too_large.memory, self.memory_share)
        if lacks is None:
            return "nothing: it fits"
        return f"{lacks}, most of it {TIER_TERM_LABELS[lacks.term]}"


def deepest_model(scenario: Scenario, progress: Progress = silent) -> LargestModel:
    """The most layers that fit, at the width of the scenario's model.

    Layers grow by as many as the virtual stages hold evenly.

    Raises:
        PlanError: if the plan splits layers itself, or breaks a rule with any number of them.
    """
    if scenario.plan.layers_per_stage is not None:
        raise PlanError(
            f"layers_per_stage {list(scenario.plan.layers_per_stage)} fixes the number of layers",
            where="plan.layers_per_stage",
            hint="leave it out to let the layers grow",
        )
    step = scenario.plan.num_stages

    tries = count()

    def sized(multiple: int) -> Size:
        layers = multiple * step
        progress(f"Trying {layers:,} layers", next(tries), None)
        return _size(scenario, replace(scenario.model, num_layers=layers))

    most = MAX_LAYERS // step
    largest, too_large = _boundary(sized, most, _share(scenario))
    varied = f"layers, in steps of {step}, at hidden_size {scenario.model.hidden_size:,}"
    return LargestModel(varied, _share(scenario), largest, too_large)


def largest_of(
    scenario: Scenario, models: Sequence[TransformerConfig], progress: Progress = silent
) -> LargestModel:
    """The largest of several shapes that fits.

    Raises:
        SpecError: if there are none.
        PlanError: if all of them break a rule of the plan.
    """
    if not models:
        raise SpecError("there are no shapes", where="--shapes", hint="name model presets")
    found: list[Size] = []
    left_out: list[tuple[str, str]] = []
    for done, model in enumerate(sorted(models, key=num_parameters)):
        progress(f"Trying {model.name}", done, len(models))
        try:
            found.append(_size(scenario, model))
        except TrainsimError as error:
            left_out.append((model.name, error.problem))
    if not found:
        raise PlanError(left_out[0][1], where="--shapes")
    share = _share(scenario)
    fitting = [size for size in found if fits(size.memory, share)]
    largest = fitting[-1] if fitting else None
    larger = [s for s in found if largest is None or s.parameters > largest.parameters]
    return LargestModel(
        f"{len(models)} shapes", share, largest, larger[0] if larger else None, tuple(left_out)
    )


def _boundary(
    sized: Callable[[int], Size], most: int, share: float
) -> tuple[Size | None, Size | None]:
    """The last size that fits and the first that does not, by bisection.

    Assumes: memory grows with the layers.
    """
    low, high = 0, 1
    best: Size | None = None
    worst: Size | None = None
    while high <= most:
        tried = sized(high)
        if not fits(tried.memory, share):
            worst = tried
            break
        best, low, high = tried, high, 2 * high
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        tried = sized(middle)
        if fits(tried.memory, share):
            best, low = tried, middle
        else:
            worst, high = tried, middle
    return best, worst


def _size(scenario: Scenario, model: TransformerConfig) -> Size:
    """A model under the plan, with the microbatch that is the largest for it if that is fitted."""
    other = replace(scenario, model=model)
    check(other)
    try:
        other = fit_batch(other)
    except NothingFitsError:
        smallest = scenario.auto_fit.multiple_of if scenario.auto_fit is not None else 1
        other = replace(other, training=replace(other.training, micro_batch_size=smallest))
    training = other.training
    return Size(model, num_parameters(model), training.micro_batch_size, memory_of(other))


def _share(scenario: Scenario) -> float:
    return 1.0 if scenario.auto_fit is None else scenario.auto_fit.memory_share
