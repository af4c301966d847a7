"""The same work on other machines: speed, dollars and energy per token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from simulator.errors import SpecError, TrainsimError, UnknownNameError
from simulator.machine import Cluster
from simulator.planning.budget import (
    Sourced,
    check_pue,
    mwh_per_billion_tokens,
    usd_per_million_tokens,
)
from simulator.planning.power import catalogue_power
from simulator.planning.variant import (
    Job,
    Prediction,
    attempt,
    check_any_runs,
    nodes_for,
)
from simulator.progress import Progress, silent
from simulator.spec.hardware import load_cluster
from simulator.spec.prices import GIVEN


@dataclass(frozen=True, slots=True)
class Machine:
    """One cluster.

    Attributes:
        usd_per_million_tokens, usd_per_million_tokens_low, usd_per_million_tokens_high: at the
            predicted step time and at the ends of its 90 % range; None without a price.
        mwh_per_billion_tokens: at the data centre's meter.
        reason: why there is no prediction.
    """

    cluster: str
    accelerator: str
    prediction: Prediction | None
    price: Sourced | None
    power_w: Sourced
    usd_per_million_tokens: float | None = None
    usd_per_million_tokens_low: float | None = None
    usd_per_million_tokens_high: float | None = None
    mwh_per_billion_tokens: float | None = None
    reason: str = ""


def compare_machines(
    job: Job,
    clusters: Sequence[str],
    prices: Mapping[str, Sourced],
    pue: float,
    devices: int | None = None,
    progress: Progress = silent,
) -> tuple[Machine, ...]:
    """Simulates a scenario on every cluster, with as many devices as its plan has.

    Args:
        job: the scenario; its plan, training and software stay as they are.
        clusters: names or paths.
        prices: cluster or accelerator -> dollars per device and hour; a cluster's own counts first.
        pue: power usage effectiveness of all of them.
        devices: instead of those of the plan (``dp`` follows).
        progress: told before every simulation.

    Raises:
        SpecError: if a price is for none of the machines, the devices hold no whole replica, or
            the PUE is below 1.
        PlanError: if the plan can run on none of them.
    """
    check_pue(pue)
    scenario = job.load()
    replica = scenario.plan.num_devices // scenario.plan.dp
    count = devices or scenario.plan.num_devices
    if count % replica:
        raise SpecError(
            f"{count} devices are not a multiple of tp * cp * pp = {replica}",
            where="--devices",
            hint=f"take {count // replica * replica or replica}",
        )
    loaded = {name: _load(name) for name in clusters}
    _check_prices(prices, loaded)
    rows: list[Machine] = []
    for done, (name, cluster) in enumerate(loaded.items()):
        progress(f"Simulating {name}", done, len(loaded))
        nodes = nodes_for(cluster, count)
        overrides = (f"cluster={{preset: {name}, nodes: {nodes}}}", f"plan.dp={count // replica}")
        found, reason = attempt(job, overrides)
        rows.append(_machine(cluster, found, reason, prices, pue))
    check_any_runs(
        [f"{row.cluster}: {row.reason}" if row.reason else "" for row in rows],
        "--clusters",
        "take another plan with --set, or another number of --devices",
    )
    return tuple(rows)


def ranked(machines: Sequence[Machine]) -> tuple[Machine, ...]:
    """Cheapest token first; without prices the fastest device first; what cannot run last."""

    def rank(machine: Machine) -> tuple[bool, bool, float, float]:
        found = machine.prediction
        usd = machine.usd_per_million_tokens
        speed = found.tokens_per_s_per_device if found else 0.0
        return (found is None or not found.fits, usd is None, usd or 0.0, -speed)

    return tuple(sorted(machines, key=rank))


def price_of(prices: Mapping[str, Sourced], cluster: Cluster) -> Sourced | None:
    """The price of a cluster's devices: the cluster's own, else that of its accelerator."""
    return prices.get(cluster.name) or prices.get(cluster.node.accelerator.name)


def _check_prices(prices: Mapping[str, Sourced], clusters: Mapping[str, Cluster]) -> None:
    """A price that the user gave must be for one of the machines."""
    known = {c.name for c in clusters.values()}
    known |= {c.node.accelerator.name for c in clusters.values()}
    for name, price in prices.items():
        if price.source == GIVEN and name not in known:
            raise UnknownNameError.of("machine", name, known, where="--prices")


def _machine(
    cluster: Cluster,
    found: Prediction | None,
    reason: str,
    prices: Mapping[str, Sourced],
    pue: float,
) -> Machine:
    price, power = price_of(prices, cluster), catalogue_power(cluster.node)
    row = Machine(cluster.name, cluster.node.accelerator.name, found, price, power, reason=reason)
    if found is None:
        return row
    speed = found.tokens_per_s_per_device

    def usd(step_s: float | None) -> float | None:
        if price is None or step_s is None:
            return None
        return usd_per_million_tokens(price.value, speed * found.step_time_s / step_s)

    return replace(
        row,
        usd_per_million_tokens=usd(found.step_time_s),
        usd_per_million_tokens_low=usd(found.step_time_low_s),
        usd_per_million_tokens_high=usd(found.step_time_high_s),
        mwh_per_billion_tokens=mwh_per_billion_tokens(power.value, pue, speed),
    )


def _load(name: str) -> Cluster:
    try:
        return load_cluster(name)
    except TrainsimError as error:
        raise type(error)(error.problem, where="--clusters", hint=error.hint) from None
