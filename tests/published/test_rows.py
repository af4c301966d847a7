import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from simulator.errors import SpecError
from simulator.published.mapping import Skipped, map_row
from simulator.published.rows import (
    REQUIRED_COLUMNS,
    CannotRunError,
    PublishedRow,
    read_rows,
)
from simulator.published.validate import published_paths

Record = dict[str, str]
Write = Callable[..., Path]
HEADER = ",".join(REQUIRED_COLUMNS)


def test_reads_one_row(make_row: Callable[..., PublishedRow]) -> None:
    row = make_row(role="calibration", note='a, "b"', kv_heads="")
    assert (row.source, row.row_id, row.role) == ("mine", "r1", "calibration")
    assert row.needed("layers") == 24
    assert row.number("step_time_s") == 0.5
    assert row.text("note") == 'a, "b"'
    assert row.number("kv_heads") is None
    assert row.integer("vpp") is None
    assert row.where.endswith("mine.csv, line 2")


@pytest.mark.parametrize("path", published_paths(), ids=lambda path: path.stem)
def test_every_shipped_table_is_read_whole(path: Path) -> None:
    """Counted by a second reader: records of the csv module, without ours."""
    with path.open(newline="", encoding="utf-8") as file:
        expected = [record["id"] for record in csv.DictReader(file)]
    assert [row.row_id for row in read_rows(path)] == expected
    assert len(set(expected)) == len(expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": "many"}, "'many' is not a number"),
        ({"layers": "-3"}, "layers -3 must be above 0 and finite"),
        ({"step_time_s": "0"}, "step_time_s 0 must be above 0 and finite"),
        ({"step_time_s": "inf"}, "step_time_s inf must be above 0 and finite"),
    ],
)
def test_a_wrong_number_is_the_problem_of_its_row(
    tmp_path: Path, write: Write, full_record: Record, change: Record, message: str
) -> None:
    right, wrong = read_rows(write(tmp_path / "t.csv", full_record, full_record | change))
    assert not right.problem
    assert wrong.problem.endswith(message)
    skipped = map_row(wrong)
    assert isinstance(skipped, Skipped)
    assert skipped.reason == wrong.problem


@pytest.mark.parametrize("column", REQUIRED_COLUMNS)
def test_missing_column_is_named(
    tmp_path: Path, write: Write, full_record: Record, column: str
) -> None:
    del full_record[column]
    path = write(tmp_path / "t.csv", full_record)
    with pytest.raises(SpecError, match=f"the column '{column}' is missing") as caught:
        read_rows(path)
    assert caught.value.where == f"{path}, line 1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"role": "tset"}, "role 'tset' is not 'calibration' or 'test'"),
        ({"id": ""}, "the row has no id"),
    ],
)
def test_bad_cell_is_located(
    tmp_path: Path, write: Write, full_record: Record, change: Record, message: str
) -> None:
    path = write(tmp_path / "t.csv", full_record, full_record | change)
    with pytest.raises(SpecError) as caught:
        read_rows(path)
    assert caught.value.problem == message
    assert "line 3" in caught.value.where


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("id,tp\n1,2\n", "are missing"),
        (f"{HEADER},id\n", "the column 'id' occurs twice"),
        (f"{HEADER}\nonly,three,cells\n", "more or fewer cells"),
        (f"{HEADER}\n{HEADER},extra\n", "more or fewer cells"),
        (f'{HEADER}\n"unclosed', "not a CSV table"),
    ],
)
def test_broken_table(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=message):
        read_rows(path)


def test_broken_files(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no file"):
        read_rows(tmp_path / "absent.csv")
    with pytest.raises(SpecError, match="cannot read"):
        read_rows(tmp_path)
    latin = tmp_path / "latin.csv"
    latin.write_bytes(b"id,caf\xe9\n")
    with pytest.raises(SpecError, match="not UTF-8"):
        read_rows(latin)


def test_means_over_a_log_are_whole_numbers(make_row: Callable[..., PublishedRow]) -> None:
    row = make_row(micro_batch="7.99995", tp="1.25")
    assert row.integer("micro_batch") == 8
    with pytest.raises(CannotRunError, match=r"tp 1.25 is not a whole number"):
        row.integer("tp")
