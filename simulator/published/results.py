"""What validation found: one result per row, one summary per source, and their JSON form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from simulator.published.coverage import RangedTime, range_statistics
from simulator.published.facts import Facts, Work, by_work
from simulator.published.metrics import ErrorStatistics, error_statistics
from simulator.published.ranking import RankingStatistics, Times, ranking_statistics

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class RowResult:
    """One row: what was measured, what is predicted, or why it could not be run.

    Attributes:
        notes: of a skipped row the reason; of one that ran what was assumed or derived.
        error: predicted / measured step time - 1; None where no time was measured.
        range_low_s, range_high_s: 90 % range of the prediction; None where it has none.
        fits_measured: None where it is unknown whether the row ran.
        facts: what the run is, for grouping; not part of the JSON.
        simulated: the time compared with is the output of another simulator.
        range_basis: what the range rests on, in a few words.
    """

    row_id: str
    source: str
    role: str
    tier: str
    status: Literal["ok", "skipped"]
    notes: tuple[str, ...]
    measured_step_time_s: float | None = None
    predicted_step_time_s: float | None = None
    error: float | None = None
    range_low_s: float | None = None
    range_high_s: float | None = None
    measured_memory_bytes: float | None = None
    predicted_memory_bytes: float | None = None
    memory_error: float | None = None
    fits_measured: bool | None = None
    fits_predicted: bool | None = None
    facts: Facts | None = None
    simulated: bool = False
    range_basis: str = ""

    def to_json(self) -> Json:
        """JSON data; ``reason`` joins the notes."""
        record = asdict(self)
        reason = "; ".join(self.notes)
        head = {"id": record.pop("row_id"), "source": self.source, "role": self.role}
        record.pop("notes")
        record.pop("facts")
        return head | {"tier": self.tier, "status": self.status, "reason": reason} | record


@dataclass(frozen=True, slots=True)
class Summary:
    """Statistics of a set of rows.

    Attributes:
        count: all rows of the set, of which ``skipped`` could not be run.
        test: errors of the step time over rows marked test, which no constant was fitted on.
        calibration: the same over rows on which constants may have been fitted.
        memory: errors of the peak memory over rows marked test.
        range_coverage: share of rows marked test whose measurement lies in the range, of those
            that have both.
        fits_compared, fits_right: test rows for which it is known whether they fit, and of these
            those predicted right.
        ranking: order and choice over rows marked test, among runs of one source and one work.
    """

    count: int
    skipped: int
    test: ErrorStatistics
    calibration: ErrorStatistics
    memory: ErrorStatistics
    fits_compared: int
    fits_right: int
    ranking: RankingStatistics
    range_coverage: float | None = None

    def to_json(self) -> Json:
        """JSON data; the statistics of test rows stand at the top level."""
        covered = (self.count - self.skipped) / self.count if self.count else None
        head: Json = {"count": self.count, "skipped": self.skipped, "coverage": covered}
        return (
            head
            | asdict(self.test)
            | {
                "calibration": asdict(self.calibration),
                "memory": asdict(self.memory),
                "range_coverage": self.range_coverage,
                "fits": {"compared": self.fits_compared, "right": self.fits_right},
                "ranking": {"order_right": self.ranking.order_right} | asdict(self.ranking),
            }
        )


def summarise(rows: Sequence[RowResult]) -> Summary:
    """Statistics of some rows."""
    test = [row for row in rows if row.role == "test"]
    calibration = [row for row in rows if row.role == "calibration"]
    known = [
        row for row in test if row.fits_measured is not None and row.fits_predicted is not None
    ]
    ranges = range_statistics(ranged(test))
    return Summary(
        count=len(rows),
        skipped=sum(row.status == "skipped" for row in rows),
        test=error_statistics([row.error for row in test if row.error is not None]),
        calibration=error_statistics([row.error for row in calibration if row.error is not None]),
        memory=error_statistics([row.memory_error for row in test if row.memory_error is not None]),
        fits_compared=len(known),
        fits_right=sum(row.fits_measured == row.fits_predicted for row in known),
        ranking=ranking_statistics(same_work(test).values()),
        range_coverage=ranges.inside if ranges else None,
    )


def ranged(rows: Iterable[RowResult]) -> list[RangedTime]:
    """Times of the rows marked test that have a range and a measurement."""
    times = [
        (row.range_low_s, row.measured_step_time_s, row.range_high_s, row.predicted_step_time_s)
        for row in rows
        if row.role == "test"
    ]
    return [
        (low, measured, high, predicted)
        for low, measured, high, predicted in times
        if low is not None and measured is not None and high is not None and predicted is not None
    ]


def fits_predicted(rows: Iterable[RowResult], *, fits: bool) -> list[bool]:
    """Whether they are predicted to fit, of the test rows that ran, or did not for memory."""
    return [
        row.fits_predicted
        for row in rows
        if row.role == "test" and row.fits_measured is fits and row.fits_predicted is not None
    ]


def same_work(rows: Sequence[RowResult]) -> dict[tuple[str, Work], list[Times]]:
    """Measured and predicted times of the rows, by source and work.

    Rows that are predicted not to fit are candidates too: they were measured, so they ran. Runs
    that repeat one configuration are one candidate, with their mean times.
    """
    times = [
        (row.source, row.facts, (row.measured_step_time_s, row.predicted_step_time_s))
        for row in rows
        if row.facts is not None
        and row.measured_step_time_s is not None
        and row.predicted_step_time_s is not None
    ]
    groups = by_work(times)
    return {key: [_mean(runs) for runs in group.values()] for key, group in groups.items()}


def _mean(runs: Sequence[Times]) -> Times:
    measured, predicted = zip(*runs, strict=True)
    return sum(measured) / len(runs), sum(predicted) / len(runs)


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """All rows, in the order of the files, with a summary per source, per tier and overall.

    Attributes:
        measured: over the rows whose time is not the output of another simulator.
        left_out: the rows of the sources that stacks were fitted on, each predicted with stacks
            that were fitted without it; None where that was not asked for.
    """

    rows: tuple[RowResult, ...]
    sources: Mapping[str, Summary]
    tiers: Mapping[str, Summary]
    overall: Summary
    measured: Summary
    left_out: ValidationResult | None = None

    def to_json(self) -> Json:
        """The JSON of ``trainsim validate --json``."""
        return {
            "rows": [row.to_json() for row in self.rows],
            "sources": {name: summary.to_json() for name, summary in self.sources.items()},
            "tiers": {name: summary.to_json() for name, summary in self.tiers.items()},
            "overall": self.overall.to_json(),
            "measured": self.measured.to_json(),
        }


def validation_result(rows: Sequence[RowResult]) -> ValidationResult:
    """Groups and summarises results."""
    sources = dict.fromkeys(row.source for row in rows)
    tiers = sorted({row.tier for row in rows if row.tier})
    return ValidationResult(
        rows=tuple(rows),
        sources={name: summarise([r for r in rows if r.source == name]) for name in sources},
        tiers={name: summarise([r for r in rows if r.tier == name]) for name in tiers},
        overall=summarise(rows),
        measured=summarise([row for row in rows if not row.simulated]),
    )
