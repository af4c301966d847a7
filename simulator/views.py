"""What commands print besides the report of a run, and how files are written."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from simulator.errors import SpecError
from simulator.published import document
from simulator.published.metrics import ErrorStatistics
from simulator.published.ranking import RankingStatistics
from simulator.published.results import RowResult, Summary, ValidationResult
from simulator.report.breakdown import (
    MEMORY_LABELS,
    TIER_LABELS,
    TIER_TERM_LABELS,
    gigabytes,
    memory_terms,
)
from simulator.report.report import RankMemory, Report, TierMemory
from simulator.units import percent

PLAIN_WIDTH: Final = 120
"""Columns where stdout is no terminal."""
_SHORT: Final = 12
"""Columns that a number with its unit may take."""
_MOST_COLUMNS: Final = 10_000
"""More than any table needs."""
_MAX_RANK_CLASSES: Final = 8
_MAX_LISTED_ROWS: Final = 30
"""Rows up to which ``validate`` lists each of them."""
_MAX_REASONS: Final = 12
_ROW_HEADERS: Final = ("row", "measured", "predicted", "error", "assumed, derived or why skipped")


def print_view(view: RenderableType) -> None:
    """Prints on stdout: in colour on a terminal, else the same text without.

    Words and numbers are never cut: what needs more columns than there are gets longer lines.
    """
    if sys.stdout.isatty():
        width = Console().width
        Console(highlight=False, width=max(width, _fitted(view, width))).print(view)
        return
    # rich draws with what the stream can encode, so it gets a stream like stdout.
    encoding = sys.stdout.encoding or "ascii"
    page = io.BytesIO()
    stream = io.TextIOWrapper(page, encoding=encoding, errors="replace")
    width = max(PLAIN_WIDTH, _fitted(view, PLAIN_WIDTH))
    Console(file=stream, width=width, color_system=None, highlight=False).print(view)
    stream.flush()
    # Cells are padded to the full width, which is of no use in a file or a pipe.
    lines = page.getvalue().decode(encoding).splitlines()
    sys.stdout.writelines(line.rstrip() + "\n" for line in lines)


def _fitted(view: RenderableType, width: int) -> int:
    """Gives the columns of tables their widths; returns the columns in which no word is cut.

    rich takes from all columns alike, and cuts numbers where others have room to spare.
    """
    if isinstance(view, Group):
        return max((_fitted(part, width) for part in view.renderables), default=0)
    wide = Console(file=io.StringIO(), width=_MOST_COLUMNS)
    if not isinstance(view, Table):
        return Measurement.get(wide, wide.options, view).minimum
    for column in view.columns:
        cells = [Measurement.get(wide, wide.options, c) for c in (column.header, *column.cells)]
        column.width = max(cell.maximum for cell in cells)
        # What is short and no heading, as a number with its unit, stays on a line.
        whole = (column.no_wrap or (i and one.maximum <= _SHORT) for i, one in enumerate(cells))
        least = zip(cells, whole, strict=True)
        column.min_width = max(one.maximum if keep else one.minimum for one, keep in least)
    needed = Measurement.get(wide, wide.options, view).maximum
    for column in sorted(view.columns, key=lambda one: (one.min_width or 0) - (one.width or 0)):
        spare = (column.width or 0) - (column.min_width or 0)
        taken = min(max(needed - width, 0), spare)
        column.width, needed = (column.width or 0) - taken, needed - taken
    return needed


def table(rows: Sequence[Sequence[str]], headers: Sequence[str] = ()) -> Table:
    """Left-aligned columns; the first stands out."""
    grid = Table(box=None, show_header=bool(headers), pad_edge=False, padding=(0, 3, 0, 0))
    for index in range(max((len(row) for row in rows), default=1)):
        header = headers[index] if headers else ""
        grid.add_column(header, style="bold" if index == 0 else "", no_wrap=index == 0)
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    return grid


def document_table(content: document.Table) -> RenderableType:
    """A table of a page, as ``table`` prints it."""
    rows = [[c.text if isinstance(c, document.Strong) else c for c in row] for row in content.rows]
    return table(rows, content.columns)


def memory_view(report: Report, *, verbose: bool) -> RenderableType:
    """Every term of the memory, a column per rank class, worst rank first."""
    memory = report.memory
    classes = sorted(memory.rank_classes, key=lambda rank: -rank.peak_bytes)
    shown = classes if verbose else classes[:_MAX_RANK_CLASSES]
    oom = memory.out_of_memory
    level = f" (the {TIER_LABELS[oom.level]} of a node)" if oom and oom.level in TIER_LABELS else ""
    verdict = "fits" if memory.fits else f"does NOT fit{level}"
    parts: list[RenderableType] = [
        Text(
            f"{verdict}: {gigabytes(memory.peak_bytes)} of {gigabytes(memory.capacity_bytes)} "
            f"({percent(memory.peak_bytes / memory.capacity_bytes)}) on {memory.worst_rank_class}"
        ),
        Text(""),
        table(_rank_rows(shown), ("", *(rank.rank_class for rank in shown))),
    ]
    if len(classes) > len(shown):
        parts.append(Text(f"{len(classes) - len(shown)} more rank classes; --verbose lists them"))
    if memory.tiers:
        names = (TIER_LABELS.get(tier.name, tier.name) for tier in memory.tiers)
        parts += [Text("\nOf a node"), table(_tier_rows(memory.tiers), ("", *names))]
    if memory.out_of_memory is not None and memory.out_of_memory.levers:
        levers = [(name, f"saves {gigabytes(b)}") for name, b in memory.out_of_memory.levers]
        parts += [Text("\nWhat would help"), table(levers)]
    return Group(*parts)


def _rank_rows(ranks: Sequence[RankMemory]) -> list[list[str]]:
    terms = {name: 0.0 for rank in ranks for name, _ in memory_terms(rank)}
    rows = [
        [MEMORY_LABELS.get(name, name), *(gigabytes(rank.terms.get(name, 0.0)) for rank in ranks)]
        for name in terms
    ]
    rows.append(["peak", *(gigabytes(rank.peak_bytes) for rank in ranks)])
    rows.append(["ranks", *(str(rank.num_ranks) for rank in ranks)])
    return rows


def _tier_rows(tiers: Sequence[TierMemory]) -> list[list[str]]:
    """Every term of host memory and NVMe, a column per level."""
    terms = [name for name in TIER_TERM_LABELS if any(name in tier.terms for tier in tiers)]
    rows = [
        [TIER_TERM_LABELS[name], *(gigabytes(tier.terms.get(name, 0.0)) for tier in tiers)]
        for name in terms
    ]
    rows.append(["together", *(gigabytes(tier.demand_bytes) for tier in tiers)])
    rows.append(["capacity", *(gigabytes(tier.capacity_bytes) for tier in tiers)])
    return rows


def validation_view(result: ValidationResult) -> RenderableType:
    """One line per source and the totals; all errors are over rows marked test."""
    headers = (
        "source",
        "rows",
        "skipped",
        "test",
        "bias",
        "mean absolute error",
        "p90",
        "worst",
        "in range",
    )
    rows = [_summary_row(name, summary) for name, summary in result.sources.items()]
    rows += [_summary_row(f"tier {name}", summary) for name, summary in result.tiers.items()]
    rows.append(_summary_row("all", result.overall))
    if result.measured.count < result.overall.count:
        rows.append(_summary_row("all measured", result.measured))
    parts: list[RenderableType] = [table(rows, headers)]
    if result.overall.ranking.groups:
        parts += [Text(), Text(_ranking_line(result.overall.ranking))]
    if len(result.rows) <= _MAX_LISTED_ROWS:
        parts += [Text(), table([_row(row) for row in result.rows], _ROW_HEADERS)]
    reasons = Counter("; ".join(r.notes) for r in result.rows if r.status == "skipped")
    if reasons:
        parts += [Text(), Text("Skipped, with the reason (--json lists every row)")]
        shown = [(f"{count}", reason) for reason, count in reasons.most_common(_MAX_REASONS)]
        parts.append(table(shown))
    return Group(*parts)


def _ranking_line(ranking: RankingStatistics) -> str:
    """Among runs of the same work: how often the order is right, and what the pick costs."""
    order = ""
    if ranking.order_right is not None:
        order = f"{percent(ranking.order_right)} of {ranking.pairs} pairs ordered right; "
    return (
        f"Same work: {order}the pick is {percent(ranking.mean_regret or 0.0)} slower than the "
        f"best, within 4 % in {percent(ranking.within_4_percent or 0.0)} of {ranking.groups} groups"
    )


def _row(row: RowResult) -> list[str]:
    times = (row.measured_step_time_s, row.predicted_step_time_s)
    shown = ["-" if value is None else f"{value:.4g} s" for value in times]
    return [row.row_id, *shown, percent(row.error, signed=True), "; ".join(row.notes)]


def _summary_row(name: str, summary: Summary) -> list[str]:
    test: ErrorStatistics = summary.test
    errors = (test.bias, test.mape, test.p90, test.worst, summary.range_coverage)
    counts = (summary.count, summary.skipped, test.compared)
    return [name, *map(str, counts), *map(percent, errors)]


def _write_into(path: Path, content: bytes) -> None:
    """Writes to a device or a pipe, which must not be replaced by a file."""
    try:
        with path.open("wb") as device:
            device.write(content)
    except OSError as error:
        raise SpecError(f"cannot write '{path}': {error.strerror}") from None


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file under another name first, so that no half-written one is ever seen.

    Args:
        path: the file.
        content: text is written as UTF-8.

    Raises:
        SpecError: if the place cannot be written.
    """
    path = path.resolve()
    data = content.encode("utf-8") if isinstance(content, str) else content
    if path.is_dir():
        raise SpecError(f"'{path}' is a directory", hint="name the file to write")
    if path.exists() and not path.is_file():
        _write_into(path, data)
        return
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            temporary = Path(file.name)
            file.write(data)
        # A temporary file is private; the result gets the mode of any other new file.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise SpecError(
            f"cannot write '{path}': {error.strerror}", hint="does its directory exist?"
        ) from None
