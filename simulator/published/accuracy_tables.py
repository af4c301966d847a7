"""The tables of the accuracy page: each a function from what validation found."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from simulator.published.coverage import range_statistics
from simulator.published.document import Cell, Strong, Table, count, table
from simulator.published.left_out import with_left_out
from simulator.published.metrics import ErrorStatistics
from simulator.published.ranking import RankingStatistics
from simulator.published.results import (
    RowResult,
    Summary,
    ValidationResult,
    fits_predicted,
    ranged,
)
from simulator.published.targets import LEFT_OUT_TARGETS, Outcome, outcomes
from simulator.uncertainty import OWN_RANGE
from simulator.units import percent

TIERS: Final[Mapping[str, str]] = {
    "A": "tier A: full configuration",
    "B": "tier B: something missing or read from a figure",
    "C": "tier C: trend only",
}
COLUMNS: Final = (
    "compared",
    "bias",
    "mean absolute error",
    "median",
    "90 %",
    "worst",
    "within 20 %",
)
_LARGEST: Final = 20


def statistics_table(first: str, statistics: Mapping[str, ErrorStatistics]) -> Table:
    """One line of error statistics per name."""
    return table(
        (first, *COLUMNS), [(name, *statistics_cells(e)) for name, e in statistics.items()]
    )


def statistics_cells(errors: ErrorStatistics) -> tuple[str, ...]:
    """The cells under ``COLUMNS``."""
    return (
        count(errors.compared),
        percent(errors.bias, signed=True),
        percent(errors.mape),
        percent(errors.median),
        percent(errors.p90),
        percent(errors.worst),
        percent(errors.within_20_percent),
    )


def headline_table(result: ValidationResult) -> Table:
    """Errors per tier, over all rows, and over those that were measured."""
    tiers = {TIERS.get(name, f"tier {name}"): summary for name, summary in result.tiers.items()}
    named = {name: s.test for name, s in (tiers | {"all test rows": result.overall}).items()}
    if result.measured.count < result.overall.count:
        named["all but the outputs of another simulator"] = result.measured.test
    return statistics_table("published runs", named)


def bars(result: ValidationResult) -> tuple[Outcome, ...]:
    """All bars that something can be compared with."""
    found = outcomes(result.rows)
    if result.left_out:
        found += outcomes(with_left_out(result, result.left_out).rows, LEFT_OUT_TARGETS)
    return tuple(outcome for outcome in found if outcome.count)


def targets_table(result: ValidationResult) -> Table:
    """Every bar, what was reached, and whether it holds."""
    lines = [_target_line(outcome) for outcome in bars(result)]
    return table(("set", "over", "bar", "reached", "holds"), lines, "lrrrl")


def _target_line(outcome: Outcome) -> tuple[Cell, ...]:
    side = "at least" if outcome.at_least else "at most"
    missed: Cell = Strong("no") if outcome.holds is False else "yes" if outcome.holds else "-"
    return (
        outcome.name,
        count(outcome.count),
        "-" if outcome.bar is None else f"{side} {percent(outcome.bar)}",
        percent(outcome.reached, digits=2),
        missed,
    )


def coverage_table(result: ValidationResult) -> Table:
    """Of the sources whose predictions have ranges, how many measurements lie in them."""
    groups = {name: [r for r in result.rows if r.source == name] for name in result.sources}
    own = [row for row in result.rows if row.range_basis.startswith(OWN_RANGE)]
    others = [row for row in result.rows if not row.range_basis.startswith(OWN_RANGE)]
    groups |= {"calibrated on the accelerator": own, "others": others, "all": [*result.rows]}
    found = {name: range_statistics(ranged(rows)) for name, rows in groups.items()}
    lines = [
        (
            name,
            count(ranges.count),
            percent(ranges.inside),
            percent(ranges.below),
            percent(ranges.above),
            percent(ranges.width),
        )
        for name, ranges in found.items()
        if ranges is not None
    ]
    return table(("source", "rows", "inside", "faster", "slower", "mean width"), lines)


def source_table(result: ValidationResult) -> Table:
    """Rows, skipped rows and errors of every source."""
    return table(
        ("source", "rows", "skipped", *COLUMNS),
        [
            (name, count(summary.count), count(summary.skipped), *statistics_cells(summary.test))
            for name, summary in result.sources.items()
        ],
    )


def calibration_table(result: ValidationResult) -> Table:
    """Errors over the rows that constants were fitted on."""
    return _compared_table(result, lambda summary: summary.calibration)


def memory_table(result: ValidationResult) -> Table:
    """Errors of the peak memory."""
    return _compared_table(result, lambda summary: summary.memory)


def _compared_table(
    result: ValidationResult, statistics: Callable[[Summary], ErrorStatistics]
) -> Table:
    """The sources that have something to compare, and all."""
    by_source = {name: statistics(summary) for name, summary in result.sources.items()}
    known = {name: errors for name, errors in by_source.items() if errors.compared}
    return statistics_table("source", known | {"all": statistics(result.overall)})


def largest_errors_table(result: ValidationResult) -> Table:
    """The test rows that are farthest off."""
    tested = sorted(compared(result.rows), key=lambda pair: -abs(pair[1]))
    lines = [
        (f"{row.source} {row.row_id}", percent(error, signed=True), "; ".join(row.notes))
        for row, error in tested[:_LARGEST]
    ]
    return table(("row", "error", "notes"), lines, "lrl")


def assumptions_table(result: ValidationResult) -> Table:
    """What was assumed or derived for the rows of a source, most frequent first."""
    notes: dict[str, Counter[str]] = defaultdict(Counter)
    for row in result.rows:
        if row.status == "ok":
            notes[row.source].update(row.notes)
    lines = [
        (source, text, count(number))
        for source, counts in notes.items()
        for text, number in grouped(counts)
    ]
    return table(("source", "assumed or derived", "rows"), lines, "llr")


def skipped_table(result: ValidationResult) -> Table:
    """Why rows could not be run."""
    reasons = Counter(note for row in result.rows if row.status == "skipped" for note in row.notes)
    return table(("reason", "rows"), [(text, count(n)) for text, n in grouped(reasons)])


def grouped(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Texts that differ in their numbers only, together: those numbers become N."""
    alike: dict[str, list[str]] = defaultdict(list)
    for text in counts:
        alike[re.sub(r"\b\d+(\.\d+)?\b", "N", text)].append(text)
    sums = [
        (form if texts[1:] else texts[0], sum(counts[text] for text in texts))
        for form, texts in alike.items()
    ]
    return sorted(sums, key=lambda pair: -pair[1])


def ranking_table(result: ValidationResult) -> Table:
    """Order and choice of every source that holds runs of the same work, and of all."""
    known = {name: s.ranking for name, s in result.sources.items() if s.ranking.groups}
    return table(
        ("source", "pairs", "order right", "tied", "groups", "mean regret", "within 4 %", "worst"),
        [
            (name, *_ranking_cells(ranking))
            for name, ranking in (known | {"all": result.overall.ranking}).items()
        ],
    )


def _ranking_cells(ranking: RankingStatistics) -> tuple[str, ...]:
    return (
        count(ranking.pairs),
        percent(ranking.order_right),
        count(ranking.pairs_tied),
        count(ranking.groups),
        percent(ranking.mean_regret),
        percent(ranking.within_4_percent),
        percent(ranking.worst_regret),
    )


def fits_table(result: ValidationResult) -> Table:
    """Of the test rows that ran, and of those out of memory, how many are predicted right."""
    return table(
        ("test rows that", "rows", "predicted to fit", "predicted not to fit", "right"),
        [
            _fits_line("ran", result.rows, fits=True),
            _fits_line("ran out of memory", result.rows, fits=False),
        ],
    )


def _fits_line(name: str, rows: Iterable[RowResult], *, fits: bool) -> tuple[str, ...]:
    known = fits_predicted(rows, fits=fits)
    right = known.count(fits)
    return (
        name,
        count(len(known)),
        count(known.count(True)),
        count(known.count(False)),
        percent(right / len(known) if known else None),
    )


def compared(rows: Iterable[RowResult]) -> list[tuple[RowResult, float]]:
    """Test rows that have a measured time, with their error."""
    return [(row, row.error) for row in rows if row.role == "test" and row.error is not None]
