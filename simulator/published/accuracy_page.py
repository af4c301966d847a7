"""The accuracy of the simulator as one self-contained HTML page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Final

from simulator.published.metrics import ErrorStatistics
from simulator.published.parity_plot import parity_plot
from simulator.published.results import RowResult, Summary, ValidationResult

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff;
       max-width: 66rem; margin: 2rem auto; padding: 0 1rem }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.2rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: right }
th:first-child, td:first-child { text-align: left }
svg.parity { width: 100%; max-width: 36rem; font-size: 11px; fill: #444 }
.band { fill: #e8eef5 } .diagonal { stroke: #888 } .grid { stroke: #e2e2e2 }
circle.test { fill: #1f5fa8; fill-opacity: .55 }
circle.calibration { fill: #d08020; fill-opacity: .55 }
.key { display: inline-block; width: .7em; height: .7em; border-radius: 50% }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #16181b } th, td { border-color: #383c42 }
  svg.parity { fill: #bbb } .band { fill: #232a33 } .grid { stroke: #2b2f35 }
  circle.test { fill: #6aa6ea } }
"""
_COLUMNS: Final = (
    *("", "rows", "skipped", "compared", "bias", "mean", "median", "90 %", "worst"),
    "calibration rows: mean",
)


def accuracy_page(result: ValidationResult) -> str:
    """An HTML document: overall, per tier, per source, parity plot, assumptions, skipped rows."""
    notes = Counter(note for row in result.rows if row.status == "ok" for note in row.notes)
    reasons = Counter(note for row in result.rows if row.status == "skipped" for note in row.notes)
    return "\n".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Accuracy</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
            "<h1>Predicted against published step times</h1>",
            _introduction(result.overall),
            _table({"all": result.overall} | _tier_names(result.tiers)),
            "<h2>Every run</h2>",
            _legend(),
            parity_plot(result.rows),
            "<h2>By source</h2>",
            _table(result.sources),
            "<h2>Memory</h2>",
            _memory(result.overall, result.sources),
            "<h2>Largest errors</h2>",
            _largest(result.rows),
            "<h2>What was assumed</h2>",
            "<p>Where a source leaves something open, all its rows are run the same way.</p>",
            _counts(notes, "assumption"),
            "<h2>Skipped rows</h2>",
            _counts(reasons, "reason"),
            "</body>\n</html>\n",
        )
    )


def _introduction(overall: Summary) -> str:
    test = overall.test
    if test.mape is None or test.median is None:
        return "<p>No row of these tables has a measured time that can be compared.</p>"
    return (
        f"<p>{overall.count:,} published configurations, of which "
        f"{overall.count - overall.skipped:,} can be run. Errors are predicted / measured - 1. "
        f"Over the {test.compared:,} rows marked test, on which no constant was fitted, the mean "
        f"absolute error is {_percent(test.mape)}, the median {_percent(test.median)}.</p>"
    )


def _legend() -> str:
    return (
        '<p><span class="key" style="background:#1f5fa8"></span> test '
        '<span class="key" style="background:#d08020"></span> calibration. '
        "The band holds predictions within 20 %.</p>"
    )


def _tier_names(tiers: Mapping[str, Summary]) -> dict[str, Summary]:
    meaning = {
        "A": "tier A: full configuration, measured",
        "B": "tier B: something missing or read from a figure",
        "C": "tier C: trend only",
    }
    return {meaning.get(name, f"tier {name}"): summary for name, summary in tiers.items()}


def _table(summaries: Mapping[str, Summary]) -> str:
    lines = [
        (
            name,
            f"{summary.count:,}",
            f"{summary.skipped:,}",
            *_statistics(summary.test),
            _percent(summary.calibration.mape),
        )
        for name, summary in summaries.items()
    ]
    return _html_table(_COLUMNS, lines)


def _statistics(errors: ErrorStatistics) -> tuple[str, ...]:
    return (
        f"{errors.compared:,}",
        _percent(errors.bias, signed=True),
        _percent(errors.mape),
        _percent(errors.median),
        _percent(errors.p90),
        _percent(errors.worst),
    )


def _memory(overall: Summary, sources: Mapping[str, Summary]) -> str:
    compared = {"all": overall} | {
        name: summary for name, summary in sources.items() if summary.memory.compared
    }
    columns = ("", "compared", "bias", "mean", "median", "90 %", "worst")
    lines = [(name, *_statistics(summary.memory)) for name, summary in compared.items()]
    fits = (
        f"<p>Whether a run fits in memory is predicted right for {overall.fits_right:,} of "
        f"{overall.fits_compared:,} rows marked test.</p>"
    )
    return fits + _html_table(columns, lines)


def _largest(rows: Sequence[RowResult]) -> str:
    tested = [(abs(row.error), row) for row in rows if row.role == "test" and row.error is not None]
    tested.sort(key=lambda pair: -pair[0])
    lines = [
        (f"{row.source} {row.row_id}", _percent(row.error, signed=True), "; ".join(row.notes))
        for _, row in tested[:20]
    ]
    return _html_table(("row", "error", "notes"), lines)


def _counts(counts: Counter[str], what: str) -> str:
    lines = [(text, f"{count:,}") for text, count in counts.most_common()]
    return _html_table((what, "rows"), lines)


def _html_table(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines
    )
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _percent(value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return "-"
    return f"{100 * value:+.1f} %" if signed else f"{100 * value:.1f} %"
