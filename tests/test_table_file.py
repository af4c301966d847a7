"""Tables in files: one naming of columns, the same cells as CSV and as Parquet."""

from pathlib import Path

import duckdb
import pytest

from simulator.errors import SpecError
from simulator.table_file import (
    Table,
    check_table_file,
    csv_text,
    flat,
    parquet_bytes,
    table_content,
    table_of,
)


def test_nested_values_get_long_names() -> None:
    assert flat({"a": 1, "b": {"c": 2, "d": {"e": None}}, "f": [1, 2], "plan.tp": 4}) == {
        "a": 1,
        "b_c": 2,
        "b_d_e": None,
        "f": "1 2",
        "plan_tp": 4,
    }


def test_rows_without_a_part_leave_its_columns_empty() -> None:
    rows = [{"n": 1, "cost": None}, {"n": 2, "cost": {"usd": 3.5, "steps": 7}}]
    assert csv_text(table_of(rows)) == "n,cost_usd,cost_steps\n1,,\n2,3.5,7\n"


def test_a_value_beside_terms_of_the_same_name_is_kept() -> None:
    rows = [{"recompute": "full"}, {"recompute": {"mode": "full"}}]
    assert csv_text(table_of(rows)) == "recompute,recompute_mode\nfull,\n,full\n"


def test_kinds_of_columns_are_those_of_their_values(tmp_path: Path) -> None:
    table = table_of(
        [
            {"int": 1, "float": 1, "bool": True, "text": "it's", "mixed": 1, "none": None},
            {"int": 2, "float": 0.1, "bool": None, "text": 'a "b"', "mixed": "x", "none": None},
            {"float": float("inf")},
        ]
    )
    file = tmp_path / "rows.parquet"
    file.write_bytes(parquet_bytes(table))
    kinds = duckdb.execute(f"DESCRIBE SELECT * FROM '{file}'").fetchall()
    assert {name: kind for name, kind, *_ in kinds} == {
        "int": "BIGINT",
        "float": "DOUBLE",
        "bool": "BOOLEAN",
        "text": "VARCHAR",
        "mixed": "VARCHAR",
        "none": "VARCHAR",
    }
    assert duckdb.execute(f"SELECT * FROM '{file}'").fetchall() == [
        (1, 1.0, True, "it's", "1", None),
        (2, 0.1, None, 'a "b"', "x", None),
        (None, None, None, None, None, None),
    ]


@pytest.mark.parametrize(
    ("table", "words"),
    [(Table((), ()), "no result"), (Table(("a", "a"), ((1, 2),)), "two columns are called 'a'")],
)
def test_what_parquet_cannot_hold_is_an_error(table: Table, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        parquet_bytes(table)


def test_no_rows_are_an_empty_table(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    file.write_bytes(parquet_bytes(Table(("a",), ())))
    assert duckdb.execute(f"SELECT * FROM '{file}'").fetchall() == []


def test_the_name_decides_and_a_device_gets_csv(tmp_path: Path) -> None:
    table = Table(("a",), ((1,),))
    assert table_content(Path("x.csv"), table) == "a\n1\n"
    assert table_content(Path("/dev/null"), table) == "a\n1\n"
    assert table_content(Path("x.parquet"), table)[:4] == b"PAR1"
    check_table_file(Path("/dev/null"))
    with pytest.raises(SpecError, match=r"does not end in \.csv or \.parquet"):
        check_table_file(tmp_path / "rows.json")
