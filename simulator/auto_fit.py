"""The largest microbatch that fits in memory: what ``micro_batch_size: auto_fit`` means."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from simulator.batch_policy import AutoFit
from simulator.errors import NothingFitsError, PlanError, ScheduleError
from simulator.machine import Assumption
from simulator.plan import divisors, num_microbatches
from simulator.report.report import MemoryReport
from simulator.report.shortage import shortage
from simulator.scenario import Scenario, check
from simulator.simulate import memory_of

MAX_MICRO_BATCH: Final = 1 << 20
"""Sequences; a larger microbatch is no question of memory any more."""


def fits(memory: MemoryReport, share: float = 1.0) -> bool:
    """Whether a job fits in a share of every memory: all of it when left out."""
    return memory.fits and shortage(memory, share) is None


def fit_batch(scenario: Scenario) -> Scenario:
    """The scenario with the largest microbatch that fits, as its ``auto_fit`` says.

    A scenario without ``auto_fit`` is returned as it is. The note among the assumptions says what
    was chosen and what the next larger microbatch would need.

    Assumes: memory grows with the microbatch.

    Raises:
        NothingFitsError: if not even the smallest microbatch fits.
        PlanError: if no microbatch keeps the rules of the plan.
    """
    policy = scenario.auto_fit
    if policy is None:
        return scenario
    found = _growing(scenario, policy) if policy.num_microbatches else _dividing(scenario, policy)
    return replace(
        found.scenario, assumptions=(*_other_notes(scenario), _note(found.scenario, found.reason))
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """A fitting scenario, and why no larger microbatch was taken."""

    scenario: Scenario
    reason: str


def _growing(scenario: Scenario, policy: AutoFit) -> _Found:
    """The global batch is dp * num_microbatches * micro_batch_size."""
    unit = scenario.plan.dp * (policy.num_microbatches or 1)
    step = policy.multiple_of

    def sized(count: int) -> Scenario:
        return _with_batch(scenario, unit * count * step, count * step)

    check(sized(1))
    _require(sized(1), policy)
    most = MAX_MICRO_BATCH // step
    return _largest(sized, most, policy)


def _dividing(scenario: Scenario, policy: AutoFit) -> _Found:
    """The global batch is held: the microbatch divides the batch of a replica."""
    sizes = list(_allowed(scenario, policy))
    if not sizes:
        batch = scenario.training.global_batch_size
        raise PlanError(
            f"no micro_batch_size that is a multiple of {policy.multiple_of} divides "
            f"global_batch_size / dp = {batch} / {scenario.plan.dp} as the plan needs",
            where="training.micro_batch_size",
            hint="take another global_batch_size, or global_batch_size: auto_fit",
        )
    _require(sizes[0], policy)
    return _largest(lambda count: sizes[count - 1], len(sizes), policy)


def _largest(sized: Callable[[int], Scenario], most: int, policy: AutoFit) -> _Found:
    """Bisection among scenarios 1 to ``most``, of which the first fits."""
    low, high = 1, 2
    while high <= most and _fits(sized(high), policy):
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _fits(sized(middle), policy) else (low, middle)
    if high > most:
        return _Found(sized(low), "no larger one divides the batch of a replica")
    larger = sized(high)
    return _Found(sized(low), f"{larger.training.micro_batch_size} {_excess(larger, policy)}")


def _allowed(scenario: Scenario, policy: AutoFit) -> Iterator[Scenario]:
    """Scenarios that keep the rules, smallest microbatch first."""
    training, dp = scenario.training, scenario.plan.dp
    check(_with_batch(scenario, training.global_batch_size, 1))
    for size in divisors(training.global_batch_size // dp):
        if size % policy.multiple_of:
            continue
        candidate = _with_batch(scenario, training.global_batch_size, size)
        try:
            check(candidate)
        except (PlanError, ScheduleError):
            continue  # for example a number of microbatches that the schedule cannot run
        yield candidate


def _with_batch(scenario: Scenario, global_batch_size: int, micro_batch_size: int) -> Scenario:
    training = replace(
        scenario.training, global_batch_size=global_batch_size, micro_batch_size=micro_batch_size
    )
    return replace(scenario, training=training)


def _require(scenario: Scenario, policy: AutoFit) -> None:
    if not _fits(scenario, policy):
        size = scenario.training.micro_batch_size
        raise NothingFitsError(
            f"not even micro_batch_size {size} fits: it {_excess(scenario, policy)}",
            where="training.micro_batch_size",
            hint="'trainsim memory' with that micro_batch_size says what would help",
        )


def _fits(scenario: Scenario, policy: AutoFit) -> bool:
    return fits(memory_of(scenario), policy.memory_share)


def _excess(scenario: Scenario, policy: AutoFit) -> str:
    return f"needs {shortage(memory_of(scenario), policy.memory_share)}"


def _note(scenario: Scenario, reason: str) -> Assumption:
    training = scenario.training
    count = num_microbatches(training, scenario.plan)
    return Assumption(
        "training.micro_batch_size",
        str(training.micro_batch_size),
        f"auto_fit: the largest that fits, {reason}; global batch {training.global_batch_size:,}, "
        f"{count} microbatches per replica",
    )


def _other_notes(scenario: Scenario) -> tuple[Assumption, ...]:
    return tuple(n for n in scenario.assumptions if not n.source.startswith("auto_fit"))
