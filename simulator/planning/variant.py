"""A scenario with some of its values replaced, simulated; or the reason why it cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.errors import PlanError, TrainsimError, UnknownNameError
from simulator.machine import Cluster
from simulator.numeric import ceil_div
from simulator.report.report import Report
from simulator.report.shortage import short_of
from simulator.scenario import Scenario
from simulator.simulate import simulate
from simulator.spec.load import load_scenario


@dataclass(frozen=True, slots=True)
class Job:
    """A scenario file, or the name of a shipped one, and the assignments made on it."""

    path: str
    overrides: tuple[str, ...] = ()

    def load(self, *more: str) -> Scenario:
        """The checked scenario, with ``more`` assignments on top."""
        return load_scenario(self.path, (*self.overrides, *more))


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a simulated step comes to, without its timeline.

    Attributes:
        step_time_low_s, step_time_high_s: 90 % range, None where the stack does not say.
        peak_bytes, capacity_bytes: of a device.
        short_of: kind of memory that is too small, in words; empty where all suffice.
    """

    devices: int
    step_time_s: float
    step_time_low_s: float | None
    step_time_high_s: float | None
    tokens_per_step: int
    tokens_per_s: float
    tokens_per_s_per_device: float
    mfu: float
    peak_bytes: float
    capacity_bytes: float
    fits: bool
    short_of: str


def predict(scenario: Scenario) -> Prediction:
    """One step of a scenario, in the numbers that a comparison needs."""
    return prediction(simulate(scenario, levers=False), scenario)


def prediction(report: Report, scenario: Scenario) -> Prediction:
    """The numbers of a report that a comparison needs."""
    training = scenario.training
    return Prediction(
        devices=report.devices,
        step_time_s=report.step_time_s,
        step_time_low_s=report.step_time_low_s,
        step_time_high_s=report.step_time_high_s,
        tokens_per_step=training.global_batch_size * training.seq_length,
        tokens_per_s=report.tokens_per_s,
        tokens_per_s_per_device=report.tokens_per_s_per_device,
        mfu=report.mfu,
        peak_bytes=report.memory.peak_bytes,
        capacity_bytes=report.memory.capacity_bytes,
        fits=report.memory.fits,
        short_of=short_of(report.memory),
    )


def attempt(job: Job, overrides: Sequence[str]) -> tuple[Prediction | None, str]:
    """Simulates a variant.

    Returns:
        Its prediction, or None and the reason why there is none.

    Raises:
        UnknownNameError: for a misspelt name, which no other variant would mend.
    """
    try:
        return predict(job.load(*overrides)), ""
    except UnknownNameError:
        raise
    except TrainsimError as error:
        return None, error.problem


def check_any_runs(reasons: Sequence[str], where: str, hint: str = "") -> None:
    """Raises a ``PlanError`` with the first of the reasons if every variant has one.

    Args:
        reasons: of each variant why it cannot be run, empty where it can.
        where: the option that made them.
        hint: what would be right.
    """
    if all(reasons):
        others = f" (and {len(reasons) - 1} more that cannot run)" if len(reasons) > 1 else ""
        raise PlanError(f"{next(iter(reasons), 'nothing to run')}{others}", where=where, hint=hint)


def nodes_assignment(scenario: Scenario, devices: int) -> str:
    """The assignment that gives a scenario's cluster the nodes for ``devices``."""
    nodes = nodes_for(scenario.cluster, devices)
    data = scenario.normalised["cluster"]
    if isinstance(data, dict) and "preset" in data:
        return f"cluster.nodes={nodes}"
    return f"cluster.num_nodes={{value: {nodes}, source: asked for}}"


def nodes_for(cluster: Cluster, devices: int) -> int:
    """Nodes that hold so many devices."""
    return ceil_div(devices, cluster.node.num_devices)
