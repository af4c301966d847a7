"""The accuracy of the simulator as one Markdown page; the HTML page adds a plot and all notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from simulator.published.metrics import ErrorStatistics
from simulator.published.results import RowResult, Summary, ValidationResult

BEGIN: Final = "<!-- accuracy -->"
END: Final = "<!-- /accuracy -->"
"""Around the headline, so that other pages can show the same lines."""
TIERS: Final[Mapping[str, str]] = {
    "A": "tier A: full configuration, measured",
    "B": "tier B: something missing or read from a figure",
    "C": "tier C: trend only",
}
_COLUMNS: Final = ("compared", "bias", "mean", "median", "90 %", "worst", "within 20 %")
_LARGEST: Final = 20
_INTRODUCTION: Final = """# Accuracy

Predicted against published training runs, written by `trainsim validate --page docs/accuracy.md`.
The rows and where each was published are in `benchmarks/published/`; none was measured by this
project. An error is predicted / measured - 1 of the time of one step: the bias is its mean (above
zero: predicted too slow), the other columns are over its absolute value. All errors are over rows
marked `test`, on which no constant was fitted; the kernels have a page of their own
(`docs/kernels.md`)."""


def accuracy_markdown(result: ValidationResult) -> str:
    """A Markdown document: headline, per source, memory, largest errors, skipped rows."""
    reasons = Counter(note for row in result.rows if row.status == "skipped" for note in row.notes)
    return (
        "\n\n".join(
            (
                _INTRODUCTION,
                f"{BEGIN}\n{headline(result)}\n{END}",
                "## By source\n\nA source is a file of `benchmarks/published/`.",
                _by_source(result.sources),
                "## Rows that constants were fitted on",
                _statistics_table("source", _calibration(result)),
                "## Memory\n\n" + _fits(result.overall),
                _statistics_table("source", _memory(result)),
                "## Largest errors",
                _markdown("lrl", ("row", "error", "notes"), _largest(result.rows)),
                "## Skipped rows",
                _markdown(
                    "lr", ("reason", "rows"), [(t, f"{n:,}") for t, n in reasons.most_common()]
                ),
            )
        )
        + "\n"
    )


def headline(result: ValidationResult) -> str:
    """How much was compared, and the errors per tier and over all rows."""
    overall = result.overall
    ran = overall.count - overall.skipped
    tiers = {TIERS.get(name, f"tier {name}"): summary for name, summary in result.tiers.items()}
    named = tiers | {"all test rows": overall}
    table = _statistics_table("published runs", {k: v.test for k, v in named.items()})
    return f"{overall.count:,} published configurations, {ran:,} of which can be run.\n\n{table}"


def _by_source(sources: Mapping[str, Summary]) -> str:
    lines = [
        (name, f"{summary.count:,}", f"{summary.skipped:,}", *_cells(summary.test))
        for name, summary in sources.items()
    ]
    return _markdown("l" + "r" * 9, ("source", "rows", "skipped", *_COLUMNS), lines)


def _calibration(result: ValidationResult) -> dict[str, ErrorStatistics]:
    fitted = {n: s.calibration for n, s in result.sources.items() if s.calibration.compared}
    return fitted | {"all": result.overall.calibration}


def _memory(result: ValidationResult) -> dict[str, ErrorStatistics]:
    known = {n: s.memory for n, s in result.sources.items() if s.memory.compared}
    return known | {"all": result.overall.memory}


def _fits(overall: Summary) -> str:
    return (
        f"Whether a run fits is predicted right for {overall.fits_right:,} of "
        f"{overall.fits_compared:,} rows marked test. Errors of the peak of the worst rank:"
    )


def _largest(rows: Sequence[RowResult]) -> list[tuple[str, ...]]:
    tested = [(abs(row.error), row) for row in rows if row.role == "test" and row.error is not None]
    tested.sort(key=lambda pair: -pair[0])
    return [
        (f"{row.source} {row.row_id}", _percent(row.error, signed=True), "; ".join(row.notes))
        for _, row in tested[:_LARGEST]
    ]


def _statistics_table(first: str, statistics: Mapping[str, ErrorStatistics]) -> str:
    lines = [(name, *_cells(errors)) for name, errors in statistics.items()]
    return _markdown("l" + "r" * 7, (first, *_COLUMNS), lines)


def _cells(errors: ErrorStatistics) -> tuple[str, ...]:
    return (
        f"{errors.compared:,}",
        _percent(errors.bias, signed=True),
        _percent(errors.mape),
        _percent(errors.median),
        _percent(errors.p90),
        _percent(errors.worst),
        _percent(errors.within_20_percent),
    )


def _markdown(align: str, columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table; ``align`` holds ``l`` or ``r`` per column."""
    rule = ["---" if side == "l" else "--:" for side in align]
    rows = [columns, rule, *([_escaped(cell) for cell in line] for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _percent(value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return "-"
    return f"{100 * value:+.1f} %" if signed else f"{100 * value:.1f} %"
