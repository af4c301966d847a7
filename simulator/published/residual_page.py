"""Where predictions are off, as a page: what each source's errors depend on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from simulator.published.document import (
    Block,
    Cell,
    Page,
    Prose,
    Section,
    Strong,
    Table,
    count,
    table,
)
from simulator.published.residuals import LEAST_ROWS, Factor, Group, Study, studies
from simulator.published.results import ValidationResult
from simulator.units import percent

_INTRODUCTION: Final = (
    "Errors of the step time, predicted / measured - 1, over rows marked `test`, grouped by what "
    "the runs of a source differ in; written by `python -m docs.generate --accuracy`. It shows "
    "which mechanism is missing; no constant is fitted on these rows."
)
_LEGEND: Final = (
    "A factor explains the share R^2 of the variance of log(predicted / measured) by one-way "
    "analysis of variance; adjusted is corrected for the number of groups, and below zero where "
    "the groups tell nothing. Factors that divide the rows of a source alike stand in one line; "
    "`from` means ranges of a factor of two. Values are those simulated, assumptions included. "
    "Groups of at least three rows whose median error is more than 5 points from the median of "
    "their source stand out in bold."
)
_OVERVIEW: Final = "What explains most, of the sources with at least three rows to compare."
_PATTERNS: Final = (
    "The groups that stand out, those first whose rows are farthest from the rest of their source "
    "(rows times points); at most three of a source."
)
_MAX_PATTERNS: Final = 40
_MAX_PER_SOURCE: Final = 3
_GROUP_COLUMNS: Final = (
    "factor",
    "R^2",
    "adjusted",
    "value",
    "rows",
    "median",
    "mean absolute error",
)


def residual_page(result: ValidationResult, findings: Mapping[str, str]) -> Page:
    """Overview, strongest patterns, and a section per source.

    Args:
        result: of a validation.
        findings: source -> what is known of its errors, and what would be needed.
    """
    found = studies(result.rows)
    by_size = sorted(found, key=lambda study: -study.count)
    return Page(
        "Residuals",
        (Prose(_INTRODUCTION), Prose(_LEGEND)),
        (
            Section("Overview", (Prose(_OVERVIEW), overview_table(by_size))),
            Section("Strongest patterns", (Prose(_PATTERNS), pattern_table(by_size))),
            *(_section(study, findings.get(study.source, "")) for study in by_size),
            *_unstudied(result, found, findings),
        ),
    )


def overview_table(found: list[Study]) -> Table:
    """One line per source, with the factor that explains most."""
    lines = [
        (
            study.source,
            count(study.count),
            percent(study.bias, signed=True),
            percent(study.median, signed=True),
            percent(study.mape),
            *(_explains(study.factors[0]) if study.factors else ("-", "-")),
        )
        for study in found
    ]
    columns = (
        "source",
        "rows",
        "bias",
        "median",
        "mean absolute error",
        "explained by",
        "adjusted",
    )
    return table(columns, lines, "lrrrrlr")


def _explains(factor: Factor) -> tuple[str, str]:
    return factor.name, percent(factor.adjusted)


def pattern_table(found: list[Study]) -> Table:
    """Groups that stand out, over all sources."""
    groups = [each for study in found for each in _patterns(study)[:_MAX_PER_SOURCE]]
    groups.sort(key=_weight)
    lines = [
        (
            study.source,
            f"{factor.name}: {group.level}",
            count(group.count),
            percent(group.median, signed=True),
            percent(study.median, signed=True),
        )
        for study, factor, group in groups[:_MAX_PATTERNS]
    ]
    return table(("source", "group", "rows", "median", "of the source"), lines, "llrrr")


def _patterns(study: Study) -> list[tuple[Study, Factor, Group]]:
    found = [
        (study, factor, group)
        for factor in study.factors
        for group in factor.groups
        if group.stands_out
    ]
    return sorted(found, key=_weight)


def _weight(pattern: tuple[Study, Factor, Group]) -> float:
    """Smallest for the group whose rows are farthest from the rest, in rows times points."""
    study, _, group = pattern
    return -group.count * abs(group.median - study.median)


def factor_table(study: Study) -> Table:
    """All factors of one source and their groups."""
    lines = [
        line for factor in study.factors for line in _factor_lines(factor, list(factor.groups))
    ]
    return table(_GROUP_COLUMNS, lines, "lrrlrrr")


def _factor_lines(factor: Factor, groups: list[Group]) -> list[tuple[Cell, ...]]:
    head = (factor.name, percent(factor.explained), percent(factor.adjusted))
    heads = [head, *[("", "", "")] * (len(groups) - 1)]
    return [(*start, *_group_cells(group)) for start, group in zip(heads, groups, strict=True)]


def _group_cells(group: Group) -> tuple[Cell, ...]:
    middle = percent(group.median, signed=True)
    return (
        group.level,
        count(group.count),
        Strong(middle) if group.stands_out else middle,
        percent(group.mape),
    )


def _section(study: Study, finding: str) -> Section:
    summary = (
        f"{study.count:,} rows, bias {percent(study.bias, signed=True)}, median "
        f"{percent(study.median, signed=True)}, mean absolute error {percent(study.mape)}."
    )
    blocks: list[Block] = [Prose(summary)]
    if finding:
        blocks.append(Prose(finding))
    if study.factors:
        blocks.append(factor_table(study))
    return Section(study.source, tuple(blocks))


def _unstudied(
    result: ValidationResult, found: tuple[Study, ...], findings: Mapping[str, str]
) -> tuple[Section, ...]:
    """What is known of sources with too few rows to group."""
    studied = {study.source for study in found}
    lines = [
        (
            name,
            count(summary.test.compared),
            percent(summary.test.bias, signed=True),
            findings.get(name, ""),
        )
        for name, summary in result.sources.items()
        if name not in studied and (summary.test.compared or name in findings)
    ]
    if not lines:
        return ()
    columns = ("source", "rows", "bias", "what is known")
    title = f"Sources of fewer than {LEAST_ROWS} rows to compare"
    return (Section(title, (table(columns, lines, "lrrl"),)),)
