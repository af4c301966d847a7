from __future__ import annotations

import pytest

from simulator.spec.sweep import Sweep
from simulator.sweep.columns import Column, Kind, columns_of, kind_of, value_cells
from simulator.sweep.points import Point


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, None], "int"),
        ([1, 2.5], "float"),
        ([True, False], "bool"),
        ([True, 1], "text"),  # a truth value is no number
        (["a", 1], "text"),
        ([], "text"),
    ],
)
def test_kinds(values: list[object], kind: Kind) -> None:
    assert kind_of(values) == kind


def test_columns_are_named_by_the_last_word_and_come_in_order(sweep: Sweep) -> None:
    names = [column.name for column in columns_of(sweep, ("mfu",), ())]
    words = [path.rpartition(".")[2] for path in sweep.axes]
    assert names == ["point", *words, "status", "reason", "mfu"]


def test_a_word_that_is_taken_is_written_out(sweep: Sweep) -> None:
    names = [column.name for column in columns_of(sweep, ("num_layers",), ())]
    assert "model_num_layers" in names
    assert names.count("num_layers") == 1


def test_cells_are_of_the_kind_of_their_column() -> None:
    columns = (
        Column("size", "float", "a.size"),
        Column("mode", "text", "a.mode"),
        Column("shape", "text", "a.shape"),
        Column("left", "int", "a.left"),
    )
    values = (("a.size", 2), ("a.mode", "none"), ("a.shape", {"y": 1, "x": [2]}), ("a.left", None))
    cells = value_cells(Point("id", values), columns)
    assert cells == {
        "point": "id",
        "size": 2.0,
        "mode": "none",
        "shape": '{"x": [2], "y": 1}',
        "left": None,
    }
    assert isinstance(cells["size"], float)
