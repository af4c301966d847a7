"""Rows as observations: the stack they run on, their tables, and those that cannot be run."""

from pathlib import Path

import pytest

from simulator.calibrate.observations import observe, read_tables, stack_of
from simulator.published.mapping import Case, map_row
from simulator.published.validate import published_paths


def shipped(name: str) -> Path:
    (path,) = (path for path in published_paths() if path.stem == name)
    return path


@pytest.mark.parametrize("name", ["megascale", "megascale9", "repo-internlm-internevo", "vtrain"])
def test_the_stack_of_a_row_is_that_of_its_mapping(name: str) -> None:
    rows = read_tables([shipped(name)])[:40]
    cases = [case for case in map(map_row, rows) if isinstance(case, Case)]
    assert cases
    for case in cases:
        assert stack_of(case.row) == case.scenario.stack.name


def test_every_row_is_observed_or_skipped_with_a_reason() -> None:
    rows = read_tables([shipped("repo-internlm-internevo")])
    wanted = [row for row in rows if row.role == "calibration"]
    found = observe(wanted, all_rows=())
    assert len(found.rows) + len(found.skipped) == len(wanted)
    assert found.skipped
    assert all(one.reason for one in found.skipped)
    tables = {row.table for row in found.rows}
    assert tables == {"benchmarks/published/repo-internlm-internevo.csv"}


@pytest.mark.parametrize(
    ("row_id", "reason"),
    [("nemo-016", "runs that train all weights"), ("nemo-150", "cp 8"), ("nemo-008", "")],
    ids=["adapters", "not modelled", "all weights"],
)
def test_constants_rest_on_runs_that_train_all_weights(row_id: str, reason: str) -> None:
    """Two of NeMo's adapters once entered the fit of its stack and moved its constant by 9 %."""
    rows = [row for row in read_tables([shipped("repo-nvidia-nemo")]) if row.row_id == row_id]
    found = observe(rows, all_rows=())
    assert len(found.rows) == (not reason)
    assert all(reason in one.reason for one in found.skipped)
