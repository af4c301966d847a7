"""Which rows are the same work, and what their factors are."""

from collections.abc import Callable

import pytest

from simulator.published.facts import Facts, facts_of, power_of_two_in
from simulator.published.mapping import Case, map_row
from simulator.published.rows import PublishedRow, read_rows
from simulator.published.validate import published_paths

MakeRow = Callable[..., PublishedRow]


def facts(row: PublishedRow) -> Facts:
    case = map_row(row)
    assert isinstance(case, Case)
    return facts_of(case.scenario, "row")


@pytest.mark.parametrize(
    "cells",
    [
        {"tp": "2", "dp": "4"},
        {"pp": "2", "dp": "4"},
        {"micro_batch": "2"},
        {"recompute": "full"},
        {"zero_stage": "1"},
        {"framework": "DeepSpeed"},
        {"model": "another name"},
    ],
)
def test_how_it_is_done_does_not_change_the_work(make_row: MakeRow, cells: dict[str, str]) -> None:
    assert facts(make_row(**cells)).work == facts(make_row()).work


@pytest.mark.parametrize(
    "cells",
    [
        {"layers": "12"},
        {"vocab": "32000"},
        {"seq_len": "2048"},
        {"global_batch": "64"},
        {"n_gpus": "16", "dp": "16", "micro_batch": "2"},
        {"gpu": "H100-SXM5-80GB"},
    ],
)
def test_what_is_done_changes_the_work(make_row: MakeRow, cells: dict[str, str]) -> None:
    assert facts(make_row(**cells)).work != facts(make_row()).work


def test_repeated_runs_of_the_shipped_tables_are_of_one_configuration() -> None:
    """The row that is repeated exists, and all that describes the run is the same."""
    columns = ("gpu", "n_gpus", "layers", "hidden", "heads", "tp", "pp", "dp", "micro_batch")
    columns = (*columns, "global_batch", "zero_stage", "precision", "conditions")
    repeated = 0
    for path in published_paths():
        rows = {row.row_id: row for row in read_rows(path)}
        for row in rows.values():
            if first := row.text("repeat_of"):
                assert not rows[first].text("repeat_of")
                for column in columns:
                    assert row.text(column) == rows[first].text(column)
                repeated += 1
    assert repeated == 9


def test_other_conditions_are_other_work(make_row: MakeRow) -> None:
    case = map_row(make_row())
    assert isinstance(case, Case)
    assert (
        facts_of(case.scenario, "row", "after a repair").work != facts_of(case.scenario, "row").work
    )


def test_factors(make_row: MakeRow) -> None:
    factors = facts(make_row(tp="2", dp="4", zero_stage="1")).factors
    assert (factors["tp"], factors["pp"], factors["dp"]) == (2, 1, 4)
    assert factors["sharding"] == "zero1"
    assert factors["microbatches"] == 2  # 32 sequences / (4 replicas * 4)
    assert factors["hidden, aligned to"] == 512  # 1024
    assert factors["parameters, billion"] == 0.36  # 24 * 12 * 1024^2 + 52,224 * 1024 = 0.355e9


@pytest.mark.parametrize(("size", "expected"), [(14400, 64), (12288, 512), (1000, 8), (150, 2)])
def test_alignment(size: int, expected: int) -> None:
    assert power_of_two_in(size) == expected
