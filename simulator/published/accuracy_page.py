"""The accuracy of the simulator as a page: a table more is one function and one line below."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from simulator.published import accuracy_tables as tables
from simulator.published.document import Block, Drawing, Marked, Page, Prose, Section
from simulator.published.left_out import left_out_table
from simulator.published.parity_plot import memory_parity_plot, time_parity_plot
from simulator.published.results import ValidationResult

HEADLINE: Final = "accuracy"
"""Name of the mark around the headline, so that other pages can show the same lines."""
_INTRODUCTION: Final = (
    "Predicted against published training runs, written by `python -m docs.generate "
    "--accuracy` (without the sources left out: `trainsim validate --page`). The rows and "
    "where each was published are in `benchmarks/published/`; none was measured by this "
    "project. An error is predicted / measured - 1 of the time of one step: the bias is its "
    "mean (above zero: predicted too slow), the other columns are over its absolute value. "
    "All errors are over rows marked `test`, on which no constant was fitted; the kernels "
    "have a page of their own (`docs/kernels.md`)."
)
_BY_SOURCE: Final = (
    "A source is a file of `benchmarks/published/`. `vtrain1` holds outputs of another simulator."
)
_ASSUMED: Final = (
    "Where a source leaves something open, all its rows are run the same way; N stands for numbers "
    "that differ from row to row."
)
_TARGETS: Final = (
    "What the project wants (`simulator/published/targets.py`) and where it stands, over rows "
    "marked test: mean absolute errors, unless the name says otherwise. A bar that is missed is "
    "shown as missed. The times of `vtrain1` turned out to be outputs of another simulator "
    "(`tests/published/test_vtrain_single.py`); they stay, on a stack of their own "
    "(`vtrain-simulator`), and bars over many sources have a second line without them: measured "
    "runs only. Errors of test rows were seen when mechanisms were looked for; `CHANGELOG.md` says "
    "which choices they had a hand in."
)
_RANGES: Final = (
    "Shares of test rows measured within the 90 % range of their prediction, below it (faster) and "
    "above it (slower); the width is (high - low) / predicted. A stack with nine calibration rows "
    "or more on the accelerator has a range of its own, all others have the pooled one."
)
_RANKING: Final = (
    "Which of several plans is faster? A group is all test rows of one source with the same work: "
    "model shape, accelerator, number of devices, global batch and sequence length; software, "
    "precision and everything of the plan may differ. Pairs are those of a group whose measured "
    "times are more than 5 % apart; predicted exactly equal (tied) counts as wrong. The regret of "
    "a group of at least two rows is the measured time of the row predicted fastest (of equal ones "
    "their mean) / the best measured time - 1. Rows predicted not to fit take part like any other, "
    "since they were measured; rows that ran out of memory have no time and do not. Runs that "
    "repeat one configuration (`repeat_of`) are one candidate, with their mean time."
)
_LEFT_OUT: Final = (
    "Each source in turn gives no calibration rows: the stacks that were fitted on it are fitted "
    "again without it (`trainsim calibrate leave-one-out`), and where nothing is left to fit on "
    "they take what other software has (`docs/calibration.md`). Other sources do not change."
)
_LEGEND: Final = "Blue: test, orange: calibration. The band holds predictions within 20 %."


def accuracy_page(result: ValidationResult) -> Page:
    """All that is known about the errors of a validation."""
    parts = [(title, make(result)) for title, make in SECTIONS]
    return Page(
        "Accuracy",
        (Prose(_INTRODUCTION), headline(result)),
        tuple(Section(title, blocks) for title, blocks in parts if blocks),
    )


def headline(result: ValidationResult) -> Marked:
    """How much was compared, and the errors per tier and over all rows."""
    overall = result.overall
    ran = overall.count - overall.skipped
    text = f"{overall.count:,} published configurations, {ran:,} of which can be run."
    return Marked(HEADLINE, (Prose(text), tables.headline_table(result)))


def _every_run(result: ValidationResult) -> tuple[Block, ...]:
    drawings = (time_parity_plot(result.rows), memory_parity_plot(result.rows))
    return tuple(Drawing(svg, _LEGEND) for svg in drawings if svg)


def _by_source(result: ValidationResult) -> tuple[Block, ...]:
    return Prose(_BY_SOURCE), tables.source_table(result)


def _targets(result: ValidationResult) -> tuple[Block, ...]:
    judged = [bar.holds for bar in tables.bars(result) if bar.holds is not None]
    held = f"{judged.count(True)} of {len(judged)} bars hold, {judged.count(False)} are missed."
    return Prose(_TARGETS), Prose(held), tables.targets_table(result)


def _ranges(result: ValidationResult) -> tuple[Block, ...]:
    ranges = tables.coverage_table(result)
    return (Prose(_RANGES), ranges) if ranges.rows else ()


def _ranking(result: ValidationResult) -> tuple[Block, ...]:
    if not result.overall.ranking.groups:
        return ()
    return Prose(_RANKING), tables.ranking_table(result)


def _calibration(result: ValidationResult) -> tuple[Block, ...]:
    return (tables.calibration_table(result),)


def _left_out(result: ValidationResult) -> tuple[Block, ...]:
    if result.left_out is None:
        return ()
    return Prose(_LEFT_OUT), left_out_table(result, result.left_out)


def _memory(result: ValidationResult) -> tuple[Block, ...]:
    overall = result.overall
    return (
        Prose(
            f"Whether a run fits is predicted right for {overall.fits_right:,} of "
            f"{overall.fits_compared:,} rows marked test."
        ),
        tables.fits_table(result),
        Prose("Errors of the peak of the worst rank:"),
        tables.memory_table(result),
    )


def _largest(result: ValidationResult) -> tuple[Block, ...]:
    return (tables.largest_errors_table(result),)


def _assumed(result: ValidationResult) -> tuple[Block, ...]:
    return Prose(_ASSUMED), tables.assumptions_table(result)


def _skipped(result: ValidationResult) -> tuple[Block, ...]:
    return (tables.skipped_table(result),)


SECTIONS: Final[tuple[tuple[str, Callable[[ValidationResult], tuple[Block, ...]]], ...]] = (
    ("Targets", _targets),
    ("Every run", _every_run),
    ("By source", _by_source),
    ("Ranges", _ranges),
    ("Order and choice of plans", _ranking),
    ("Rows that constants were fitted on", _calibration),
    ("Without a source's own calibration", _left_out),
    ("Memory", _memory),
    ("Largest errors", _largest),
    ("What was assumed", _assumed),
    ("Skipped rows", _skipped),
)
"""Title and content, in order; a section without blocks is left out."""
