"""The same measurement in two tables is found by its configuration and its time."""

import pytest

from simulator.calibrate.duplicates import find_duplicates
from simulator.calibrate.observations import read_tables, refuse_test_rows
from simulator.errors import SpecError
from simulator.published.mapping import Case, map_row
from simulator.published.validate import published_paths


def tables(*names):
    return read_tables([path for path in published_paths() if path.stem in names])


def cases(*names):
    rows = [row for row in tables(*names) if row.role == "calibration"]
    return [case for row in rows if isinstance(case := map_row(row), Case)]


def test_rows_that_are_test_rows_elsewhere_are_found() -> None:
    """mlm-014, -018 and -022 print what table 1 of SC21 prints."""
    found = find_duplicates(cases("repo-nvidia-megatron-lm"), tables("sc21t1"))
    assert {(one.row_id, one.test_id) for one in found.values()} == {
        ("mlm-014", "sc21t1-002"),
        ("mlm-018", "sc21t1-006"),
        ("mlm-022", "sc21t1-010"),
    }
    assert "is test row sc21t1 sc21t1-002" in str(next(iter(found.values())))


def test_a_table_does_not_repeat_itself() -> None:
    assert find_duplicates(cases("zb"), tables("zb")) == {}


def test_a_table_of_test_rows_is_refused() -> None:
    (path,) = (path for path in published_paths() if path.stem == "sc21t1")
    with pytest.raises(SpecError, match="marked test: constants are never fitted") as error:
        refuse_test_rows([path])
    assert "sc21t1-001" in error.value.problem
    assert "column role" in error.value.where
