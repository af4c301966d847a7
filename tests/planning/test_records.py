"""Results as flat tables."""

from simulator.planning.records import csv_text, flat


def test_nested_values_get_long_names() -> None:
    assert flat({"a": 1, "b": {"c": 2, "d": {"e": None}}, "f": [1, 2]}) == {
        "a": 1,
        "b_c": 2,
        "b_d_e": None,
        "f": "1 2",
    }


def test_rows_without_a_part_leave_its_columns_empty() -> None:
    rows = [{"n": 1, "cost": None}, {"n": 2, "cost": {"usd": 3.5, "steps": 7}}]
    assert csv_text(rows) == "n,cost_usd,cost_steps\n1,,\n2,3.5,7\n"
