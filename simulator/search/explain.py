"""Why the best plan beats the runner-up: where the time of each goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simulator.report.report import TIME_TERMS
from simulator.search.optimum import SearchResult
from simulator.simulate import simulate


@dataclass(frozen=True, slots=True)
class Explanation:
    """The best plan beside the next one that takes another time.

    Attributes:
        runner_up: its place among the best, from 1 (the winner is 0).
        changed: settings that differ: key -> (of the winner, of the runner-up).
        terms_s: term of the step -> (of the winner, of the runner-up), in the unit.
        unit: ``s``; ``device-s`` where the two use different numbers of devices, as then a longer
            step may still cost less.
    """

    runner_up: int
    changed: Mapping[str, tuple[object, object]]
    terms_s: Mapping[str, tuple[float, float]]
    unit: str = "s"


def explanation(result: SearchResult) -> Explanation | None:
    """Winner and runner-up term by term; None if only one plan was found.

    The runner-up is the next plan with another step time, or the second where all are equal.
    """
    if len(result.best) < 2:
        return None
    winner = result.best[0]
    others = [
        place for place, found in enumerate(result.best) if found.step_time_s != winner.step_time_s
    ]
    place = others[0] if others else 1
    other = result.best[place]
    reports = [simulate(result.scenarios[index], levers=False) for index in (0, place)]
    differ = winner.devices != other.devices
    own_weight, other_weight = (winner.devices, other.devices) if differ else (1, 1)
    return Explanation(
        runner_up=place,
        changed={
            key: (value, other.settings[key])
            for key, value in winner.settings.items()
            if value != other.settings[key]
        },
        terms_s={
            term: (
                own_weight * reports[0].time.get(term, 0.0),
                other_weight * reports[1].time.get(term, 0.0),
            )
            for term in TIME_TERMS
            if reports[0].time.get(term) or reports[1].time.get(term)
        },
        unit="device-s" if differ else "s",
    )
