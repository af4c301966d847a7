"""Weak and strong scaling: what more devices bring, and what eats the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal

from simulator.batch_policy import AUTO_FIT
from simulator.errors import NothingFitsError, PlanError, SpecError, TrainsimError
from simulator.numeric import ceil_div
from simulator.plan import num_microbatches
from simulator.progress import Progress, followed, silent
from simulator.report.report import Report
from simulator.report.shortage import shortage
from simulator.scenario import Scenario
from simulator.spec.load import ScenarioSource
from simulator.spec.overrides import Override
from simulator.whatif.runs import simulate_each
from simulator.whatif.terms import efficiency, losses

Mode = Literal["weak", "strong", "largest"]
HELD: Final[Mapping[Mode, str]] = {
    "weak": "weak scaling: sequences per replica held",
    "strong": "strong scaling: global batch held",
    "largest": "largest microbatch that fits: number of microbatches held",
}
"""What stays the same along a curve."""
DEFAULT_PAYS: Final = 0.5
"""Marginal efficiency above which more devices pay: the last ones bring half of the first ones."""


@dataclass(frozen=True, slots=True)
class ScalePoint:
    """One number of devices.

    Attributes:
        efficiency: tokens per second and device over those of the curve's first point.
        marginal: tokens per second that one more device brought since the point before, over those
            per device of the first point; None on the first.
        losses: term of the step -> share of the efficiency it takes; they sum to 1 - efficiency.
    """

    devices: int
    dp: int
    global_batch_size: int
    micro_batch_size: int
    num_microbatches: int
    report: Report
    efficiency: float
    marginal: float | None
    losses: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A number of devices that is not on the curve, and why.

    Attributes:
        too_large: it keeps the rules and lacks memory.
    """

    devices: int
    reason: str
    too_large: bool = False


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of one mode, fewest devices first.

    Attributes:
        pays: marginal efficiency above which more devices pay.
    """

    mode: Mode
    points: tuple[ScalePoint, ...]
    left_out: tuple[LeftOut, ...]
    pays: float

    @property
    def stops_at(self) -> ScalePoint | None:
        """The first point whose added devices did not pay; None if all do."""
        return next(
            (p for p in self.points if p.marginal is not None and p.marginal < self.pays), None
        )

    @property
    def pays_to(self) -> ScalePoint | None:
        """The point before it, or the last; None on an empty curve."""
        stop = self.stops_at
        if stop is not None:
            return self.points[self.points.index(stop) - 1]
        return self.points[-1] if self.points else None


def scale(
    source: ScenarioSource,
    devices: Sequence[int],
    modes: Sequence[Mode] = ("weak", "strong"),
    *,
    pays: float = DEFAULT_PAYS,
    ignore_memory: bool = False,
    progress: Progress = silent,
) -> tuple[Curve, ...]:
    """Scaling curves of a scenario: dp grows, tp, cp and pp stay.

    Args:
        source: the scenario; its own dp and global batch say how large a replica's batch is.
        devices: numbers of devices.
        modes: ``weak`` holds the sequences per replica, ``strong`` the global batch, ``largest``
            the microbatches per replica while each is the largest that fits.
        pays: marginal efficiency above which more devices pay.
        ignore_memory: keep points that do not fit.
        progress: told how many points are prepared, then how many are simulated.

    Raises:
        TrainsimError: if the scenario itself is wrong. A number of devices that cannot be run is
            left out, with the reason.
        PlanError: if all of them break a rule.
    """
    base = source.scenario()
    wanted: list[tuple[Mode, int]] = [*product(modes, sorted(set(devices)))]
    points = followed(wanted, "Preparing", progress)
    jobs = [(mode, count, _job(source, base, mode, count)) for mode, count in points]
    runs = [job for _, _, job in jobs if isinstance(job, Scenario)]
    reports = iter(simulate_each(runs, progress))
    if all(_breaks_a_rule(job) for _, _, job in jobs):
        raise next(job for _, _, job in jobs if isinstance(job, TrainsimError)).at("--devices")
    curves: list[Curve] = []
    for mode in modes:
        ran: list[tuple[Scenario, Report]] = []
        left_out: list[LeftOut] = []
        for _, count, job in (entry for entry in jobs if entry[0] == mode):
            if isinstance(job, TrainsimError):
                lacks = isinstance(job, NothingFitsError)
                left_out.append(LeftOut(count, job.problem, too_large=lacks))
                continue
            report = next(reports)
            if report.memory.fits or ignore_memory:
                ran.append((job, report))
            else:
                left_out.append(LeftOut(count, _too_large(report), too_large=True))
        curves.append(Curve(mode, _points(ran), tuple(left_out), pays))
    return tuple(curves)


def _breaks_a_rule(job: Scenario | TrainsimError) -> bool:
    return isinstance(job, TrainsimError) and not isinstance(job, NothingFitsError)


def _job(
    source: ScenarioSource, base: Scenario, mode: Mode, devices: int
) -> Scenario | TrainsimError:
    """The scenario of a point, or why there is none."""
    plan, training = base.plan, base.training
    replica = plan.tp * plan.cp * plan.pp
    if devices % replica:
        return PlanError(
            f"{devices} devices are not divisible by tp * cp * pp = "
            f"{plan.tp} * {plan.cp} * {plan.pp} = {replica}",
            hint=f"take multiples of {replica}",
        )
    dp = devices // replica
    batch = training.global_batch_size
    if mode != "strong":
        batch = batch // plan.dp * dp
    sized = source.having(_cluster_of(base, devices), Override("plan.dp", dp))
    try:
        return sized.having(*_batch(mode, batch, num_microbatches(training, plan))).scenario()
    except TrainsimError as error:
        return error


def _batch(mode: Mode, batch: int, count: int) -> tuple[Override, ...]:
    """A given global batch, or so many of the largest microbatches that fit."""
    held = mode != "largest"
    return (
        Override("training.global_batch_size", batch if held else AUTO_FIT),
        Override("training.num_microbatches", None if held else count),
        *(() if held else (Override("training.micro_batch_size", AUTO_FIT),)),
    )


def _cluster_of(base: Scenario, devices: int) -> Override:
    """As many nodes as the devices need."""
    nodes = ceil_div(devices, base.cluster.node.num_devices)
    cluster = base.normalised.get("cluster")
    if isinstance(cluster, dict) and "preset" in cluster:
        return Override("cluster.nodes", nodes)
    return Override("cluster.num_nodes", {"value": nodes, "source": "scaling curve"})


def _too_large(report: Report) -> str:
    return f"does not fit: {shortage(report.memory)}"


def _points(ran: Sequence[tuple[Scenario, Report]]) -> tuple[ScalePoint, ...]:
    points: list[ScalePoint] = []
    for scenario, report in ran:
        first = points[0].report if points else report
        points.append(
            ScalePoint(
                devices=report.devices,
                dp=scenario.plan.dp,
                global_batch_size=scenario.training.global_batch_size,
                micro_batch_size=scenario.training.micro_batch_size,
                num_microbatches=num_microbatches(scenario.training, scenario.plan),
                report=report,
                efficiency=efficiency(report, first),
                marginal=_marginal(report, points[-1].report, first) if points else None,
                losses=losses(report, first),
            )
        )
    return tuple(points)


def _marginal(report: Report, before: Report, first: Report) -> float:
    """(Q - Q_before) / (D - D_before) / (Q_first / D_first), with Q tokens/s and D devices."""
    gained = report.tokens_per_s - before.tokens_per_s
    return gained / (report.devices - before.devices) / first.tokens_per_s_per_device


def mode_named(name: str) -> tuple[Mode, ...]:
    """Modes that a word stands for.

    Raises:
        SpecError: if it stands for none.
    """
    match name:
        case "both":
            return ("weak", "strong")
        case "weak" | "strong" | "largest":
            return (name,)
        case _:
            raise SpecError(
                f"unknown mode '{name[:40]}'", where="--mode", hint="weak, strong, both or largest"
            )
