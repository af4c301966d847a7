"""Tables of what a search found beside what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from simulator.published.document import Cell, Marked, Prose, Table, table
from simulator.published.picks import SearchPick, Tried, pick_statistics
from simulator.published.ranking import GOOD_PICK
from simulator.published.whole_space import Claim
from simulator.scenario import Scenario
from simulator.search.space import DEFAULT_SCHEDULES
from simulator.units import percent

PICKS: Final = "picks"
CLAIMS: Final = "claims"
"""Names of the blocks in docs/search.md."""
LARGE_GAIN: Final = 0.15
"""A claim that is shown by itself."""


def picks_block(picks: Sequence[SearchPick]) -> Marked:
    """Shares by source, whether plans fit, and every pick that missed."""
    measured = [pick for pick in picks if not pick.simulated]
    return Marked(
        PICKS,
        (
            shares_table(picks),
            Prose(fits_sentence(measured)),
            Prose("The picks that missed, with seconds measured:"),
            misses_table(measured),
        ),
    )


def claims_block(claims: Sequence[Claim]) -> Marked:
    """What searches of the whole space promise beyond what was measured; large promises one by one.

    Args:
        claims: of at least one group.
    """
    return Marked(
        CLAIMS,
        (
            gains_table(claims),
            Prose(f"Those above {percent(LARGE_GAIN, digits=0)}:"),
            large_claims_table(claims),
        ),
    )


def gains_table(claims: Sequence[Claim]) -> Table:
    """One line per source: mean and largest gain over the best plan measured."""
    sources = dict.fromkeys(one.pick.source for one in claims)
    groups = {name: [one for one in claims if one.pick.source == name] for name in sources}
    columns = ("sweep", "groups", "features of the sweep", "largest", "all features", "largest")
    return table(columns, [(name, *_gains(chosen)) for name, chosen in groups.items()])


def _gains(claims: Sequence[Claim]) -> tuple[str, ...]:
    same = [one.gain(one.same_features) for one in claims]
    whole = [one.gain(one.whole) for one in claims]
    cells = [(sum(gains) / len(gains), max(gains)) for gains in (same, whole)]
    return (str(len(claims)), *(percent(value) for pair in cells for value in pair))


def large_claims_table(claims: Sequence[Claim]) -> Table:
    """Groups in which the best plan of the space is much faster than the best measured."""
    columns = (
        "source",
        "work",
        "best measured",
        "best with features of the sweep",
        "gain",
        "best with all features",
        "gain",
    )
    large = [claim_line(one) for one in claims if one.gain(one.whole) > LARGE_GAIN]
    return table(columns, large, "llllrlr")


def claim_line(one: Claim) -> tuple[Cell, ...]:
    """The line of a group."""
    return (
        one.pick.source,
        _work(one.pick),
        _plan(one.pick.best.scenario),
        *(
            cell
            for found in (one.same_features, one.whole)
            for cell in (_plan(found.scenario), percent(one.gain(found)))
        ),
    )


def shares_table(picks: Sequence[SearchPick]) -> Table:
    """One line per source, one over all that was measured."""
    measured = [pick for pick in picks if not pick.simulated]
    sets = {
        name: [pick for pick in picks if pick.source == name]
        for name in dict.fromkeys(pick.source for pick in measured)
    }
    sets["measured sweeps"] = measured
    simulated = [pick for pick in picks if pick.simulated]
    for name in dict.fromkeys(pick.source for pick in simulated):
        sets[f"{name}, times of another simulator"] = [p for p in picks if p.source == name]
    return table(
        (
            "sweep",
            "groups",
            "plans that ran",
            "within 4 %",
            "mean regret",
            "worst regret",
            "plans out of memory",
            "within 4 % with these offered too",
        ),
        [_shares(name, chosen) for name, chosen in sets.items() if chosen],
    )


def _shares(name: str, picks: Sequence[SearchPick]) -> tuple[str, ...]:
    ran = pick_statistics([pick.among_those_that_ran() for pick in picks])
    tried = [one for pick in picks for one in pick.tried]
    return (
        name,
        str(ran.groups),
        str(sum(one.ran for one in tried)),
        percent(ran.within_4_percent),
        percent(ran.mean_regret),
        percent(ran.worst_regret),
        str(sum(not one.ran for one in tried)),
        percent(pick_statistics(picks).within_4_percent),
    )


def fits_sentence(picks: Sequence[SearchPick]) -> str:
    """Whether the search calls feasible what ran, and infeasible what did not."""
    tried = [one for pick in picks for one in pick.tried]
    ran = [one.fits for one in tried if one.ran and one.fits is not None]
    failed = [one.fits for one in tried if not one.ran and one.fits is not None]
    return (
        f"Of {len(ran)} plans that ran the search calls {ran.count(True)} feasible "
        f"({percent(ran.count(True) / len(ran))}), of {len(failed)} that ran out of memory it "
        f"calls {failed.count(False)} infeasible ({percent(failed.count(False) / len(failed))})."
    )


def misses_table(picks: Sequence[SearchPick]) -> Table:
    """Groups whose pick is not within 4 % of the best, with both plans."""
    missed = [pick for pick in picks if pick.regret > GOOD_PICK]
    columns = ("source", "work", "best measured", "s", "found", "s", "regret")
    return table(columns, [_miss(p) for p in missed], "lllrlrr")


def _miss(pick: SearchPick) -> tuple[Cell, ...]:
    best, found = pick.best, pick.found
    return (
        pick.source,
        _work(pick),
        _named(best),
        f"{best.measured_s:.2f}",
        _named(found) if found else "none",
        f"{found.measured_s:.2f}" if found and found.ran else "out of memory" if found else "-",
        percent(pick.regret) if pick.regret < math.inf else "-",
    )


def _work(pick: SearchPick) -> str:
    work = pick.work
    size = f"{work.shape[0]} layers of {work.shape[1]}, {work.num_devices} devices"
    return f"{size}, batch {work.global_batch_size}"


def _named(tried: Tried) -> str:
    return f"`{tried.row_ids[0]}`: {_plan(tried.scenario)}"


def _plan(scenario: Scenario) -> str:
    plan, training = scenario.plan, scenario.training
    parts = [
        f"tp {plan.tp}{' sp' if plan.sequence_parallel and plan.tp > 1 else ''}",
        f"pp {plan.pp}" + (f" x{plan.virtual_stages}" if plan.virtual_stages > 1 else ""),
        f"dp {plan.dp}",
        f"micro {training.micro_batch_size}",
    ]
    if plan.pp > 1 and plan.schedule not in DEFAULT_SCHEDULES:
        parts.append(plan.schedule)
    if plan.dp > 1:
        parts.append(plan.sharding.name)
    if training.recompute.mode != "none":
        parts.append(f"{training.recompute.mode} recompute")
    return ", ".join(parts)
