"""Writes the generated pages: ``python -m docs.generate``.

docs/catalogue.md (from hardware/), docs/model.md (from docstrings), the output of commands in
README.md and in the pages that ``WITH_OUTPUTS`` lists, and in README.md the headline of
docs/accuracy.md. ``--accuracy`` first runs every published row, in minutes, and writes
docs/accuracy and docs/residuals as .md and .html. ``--picks`` first searches the published sweeps,
which takes minutes, too, and writes their tables in docs/search.md.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from docs import catalogue, console, equations
from simulator.console import progress
from simulator.published.accuracy_page import HEADLINE, accuracy_page
from simulator.published.document import Marked
from simulator.published.document_markdown import markdown_block, marker
from simulator.published.findings import findings
from simulator.published.left_out import read_left_out, validate_left_out
from simulator.published.pages import FORMS
from simulator.published.picks import sweep_picks
from simulator.published.picks_tables import claims_block, picks_block
from simulator.published.residual_page import residual_page
from simulator.published.validate import validate
from simulator.published.whole_space import claim
from simulator.views import write_whole

ROOT: Final = Path(__file__).parents[1]
README: Final = ROOT / "README.md"
WHATIF: Final = ROOT / "docs" / "whatif.md"
QUESTIONS: Final = ROOT / "docs" / "questions.md"
FINE_TUNING: Final = ROOT / "docs" / "fine-tuning.md"
SEARCH: Final = ROOT / "docs" / "search.md"
SHARDING: Final = ROOT / "docs" / "sharding.md"
OFFLOAD: Final = ROOT / "docs" / "offload.md"
EXCHANGE: Final = ROOT / "docs" / "exchange.md"
COLLECTIVES: Final = ROOT / "docs" / "collectives.md"
OVERLAP: Final = ROOT / "docs" / "overlap.md"
NETWORK: Final = ROOT / "docs" / "network.md"
WITH_OUTPUTS: Final = (
    WHATIF,
    QUESTIONS,
    SEARCH,
    SHARDING,
    FINE_TUNING,
    OFFLOAD,
    EXCHANGE,
    COLLECTIVES,
    OVERLAP,
    NETWORK,
)
"""Pages that show what commands print."""
BEGIN: Final = marker(HEADLINE)
END: Final = marker(HEADLINE, end=True)
ACCURACY: Final = ROOT / "docs" / "accuracy.md"
LEFT_OUT: Final = ROOT / "benchmarks" / "calibration" / "leave_one_out.csv"
RESIDUALS: Final = ROOT / "docs" / "residuals.md"
GENERATED: Final[Mapping[Path, Callable[[], str]]] = {
    ROOT / "docs" / "catalogue.md": catalogue.page,
    ROOT / "docs" / "model.md": equations.page,
}


def headline_of(page: str) -> str:
    """The lines between the accuracy markers of a page, markers included."""
    return BEGIN + page.partition(BEGIN)[2].partition(END)[0] + END


def with_headline(page: str, headline: str) -> str:
    """The page with the lines between its accuracy markers replaced."""
    return page.replace(headline_of(page), headline)


def prepare(folder: Path, page: str) -> None:
    """Puts what the commands of a page use into a folder, so that they write nowhere else."""
    (folder / "scenarios").symlink_to(ROOT / "scenarios")
    (folder / "hardware").symlink_to(ROOT / "hardware")
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
    for name, content in console.files(page).items():
        (folder / name).write_text(content, encoding="utf-8")


def readme() -> str:
    """README.md with the output of its commands and the accuracy of today."""
    page = with_outputs(README)
    return with_headline(page, headline_of(ACCURACY.read_text(encoding="utf-8")))


def with_block(page: str, block: Marked) -> str:
    """The page with a marked block of its own replaced."""
    end = marker(block.name, end=True)
    before, _, rest = page.partition(marker(block.name))
    return before + markdown_block(block) + rest.partition(end)[2]


def search_page() -> str:
    """docs/search.md with what a search finds among, and beyond, the plans of published sweeps."""
    picks = sweep_picks()
    claims = [claim(pick) for pick in picks if not pick.simulated]
    page = SEARCH.read_text(encoding="utf-8")
    return with_block(with_block(page, picks_block(picks)), claims_block(claims))


def with_outputs(path: Path) -> str:
    """A page with the output of its commands of today."""
    page = path.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name), page)
        return console.refreshed(page, Path(name))


def main(arguments: list[str]) -> None:
    """Writes what is asked for and names each file."""
    pages: dict[Path, str] = {}
    if "--accuracy" in arguments:
        with progress() as shown:
            left_out = validate_left_out(read_left_out(LEFT_OUT), progress=shown)
            result = replace(validate(progress=shown), left_out=left_out)
        for path, page in (
            (ACCURACY, accuracy_page(result)),
            (RESIDUALS, residual_page(result, findings())),
        ):
            pages |= {path.with_suffix(suffix): form(page) for suffix, form in FORMS.items()}
    if "--picks" in arguments:
        pages[SEARCH] = search_page()
    for path, text in pages.items():
        write_whole(path, text)
    pages |= {path: make() for path, make in GENERATED.items()}
    pages |= {README: readme()} | {path: with_outputs(path) for path in WITH_OUTPUTS}
    for path, text in pages.items():
        write_whole(path, text)
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main(sys.argv[1:])
