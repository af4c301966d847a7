from collections.abc import Callable
from pathlib import Path

import pytest

from simulator.errors import SpecError
from simulator.published.corrections import (
    Correction,
    corrected,
    parse_corrections,
    read_corrections,
)
from simulator.published.mapping import Case, map_row
from simulator.published.rows import PublishedRow, read_rows
from simulator.published.validate import published_paths

MakeRow = Callable[..., PublishedRow]
HEADER = "source,model,column,printed,used,reason\n"
(NEOX,) = [c for c in read_corrections() if c.source == "GPT-NeoX-20B paper Sec 2.3"]


def test_a_corrected_cell_is_noted(make_row: MakeRow) -> None:
    row = make_row(source=NEOX.source, recompute="not stated")
    used, notes = corrected(row)
    assert (used.text("recompute"), notes) == ("full", ["recompute full, not not stated"])
    case = map_row(row)
    assert isinstance(case, Case)
    assert case.scenario.training.recompute.mode == "full"
    assert "recompute full, not not stated" in case.notes


def test_a_cell_that_states_nothing_can_be_filled(make_row: MakeRow) -> None:
    used, notes = corrected(make_row(source="Zero Bubble PP Table 4", vocab=""))
    assert (used.integer("vocab"), notes) == (32000, ["vocab 32000, not stated"])
    stated = make_row(source="Zero Bubble PP Table 4", vocab="50304")
    assert corrected(stated) == (stated, [])


def test_a_correction_may_be_of_one_model(make_row: MakeRow) -> None:
    cells = {"source": "NVIDIA/JAX-Toolbox", "hidden": ""}
    large, small = (corrected(make_row(**cells, model=f"GPT-{size}"))[0] for size in ("5B", "126M"))
    assert (large.integer("hidden"), small.integer("hidden")) == (4096, 768)
    assert corrected(make_row(**cells, model="GPT-1B"))[0].integer("hidden") is None


@pytest.mark.parametrize("cells", [{"recompute": "selective"}, {"source": "another"}])
def test_other_cells_and_sources_stay(make_row: MakeRow, cells: dict[str, str]) -> None:
    row = make_row(**({"source": NEOX.source, "recompute": "not stated"} | cells))
    assert corrected(row) == (row, [])


@pytest.mark.parametrize("correction", read_corrections(), ids=lambda c: f"{c.source} {c.column}")
def test_every_correction_has_rows_and_a_reason(correction: Correction) -> None:
    rows = [row for path in published_paths() for row in _rows_of(path, correction.source)]
    assert any(correction.applies_to(row) for row in rows)
    assert correction.used != correction.printed
    # A column that no table has would be blank everywhere, and correct nothing.
    headers = [line.split(",") for line in _headers()]
    assert any(correction.column in header for header in headers)
    assert len(correction.reason) > 40


def _headers() -> list[str]:
    return [path.read_text(encoding="utf-8").partition("\n")[0] for path in published_paths()]


def _rows_of(path: Path, source: str) -> list[PublishedRow]:
    return [row for row in read_rows(path) if row.text("source") == source]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("source,column,printed,used,reason\n", "the first line is not"),
        (HEADER + "a,,vocab,,32000\n", "5 cells instead of 6"),
        (HEADER + "a,,vocab,,many,because\n", "'many' is not a number"),
        (HEADER + "a,,layers,,-4,because\n", "above 0"),
    ],
)
def test_wrong_lists(text: str, problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        parse_corrections(text, "corrections.csv")


def test_no_correction_touches_what_was_measured() -> None:
    measured = {"step_time_s", "tokens_per_s", "samples_per_s", "memory_gb", "role", "fits"}
    assert not measured & {correction.column for correction in read_corrections()}
