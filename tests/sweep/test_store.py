from __future__ import annotations

import os
from pathlib import Path

import duckdb
import pytest

from simulator.errors import SpecError
from simulator.sweep.columns import Column, Row
from simulator.sweep.store import MANIFEST, PARTS, Store, read

COLUMNS = (
    Column("point", "text", "point"),
    Column("tp", "int", "plan.tp"),
    Column('it\'s "odd"', "bool", "plan.sequence_parallel"),
    Column("status", "text", "status"),
    Column("reason", "text", "reason"),
    Column("mfu", "float", "mfu"),
)


def row(point: str, tp: int | None = 1, mfu: float | None = 0.1) -> Row:
    return {
        "point": point,
        "tp": tp,
        'it\'s "odd"': True,
        "status": "ok",
        "reason": "ä\n'\"",
        "mfu": mfu,
    }


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "o'ut", COLUMNS, "base")


def test_rows_come_back_as_they_were(store: Store) -> None:
    assert store.open() == set()
    assert read(store.folder, "SELECT * FROM rows").rows == ()
    rows = [row("a", mfu=0.1 + 0.2), row("b", tp=None, mfu=None), row("c", mfu=1e-300)]
    store.append(rows)
    found = read(store.folder, "SELECT * FROM rows ORDER BY point")
    assert [dict(zip(found.columns, one, strict=True)) for one in found.rows] == rows
    assert store.open() == {"a", "b", "c"}


def test_parts_are_named_by_content_and_rows_counted_once(store: Store) -> None:
    store.open()
    first = store.append([row("a"), row("b")])
    assert store.append([row("a"), row("b")]) == first
    store.append([row("b"), row("c")])
    assert len(list(store.folder.glob(PARTS))) == 2
    assert read(store.folder, "SELECT count(*) FROM rows").rows == ((3,),)


def test_a_failed_write_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.open()
    store.append([row("a")])
    before = sorted(store.folder.iterdir())

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        store.append([row("b")])
    assert sorted(store.folder.iterdir()) == before


def test_a_half_written_file_is_not_read(store: Store) -> None:
    store.open()
    store.append([row("a")])
    (store.folder / ".tmp-0123").write_bytes(b"PAR1 half")
    assert store.open() == {"a"}


def test_a_manifest_killed_while_it_was_written_does_not_block(store: Store) -> None:
    store.folder.mkdir()
    (store.folder / f".{MANIFEST}.x1y2").write_text("{", encoding="utf-8")
    assert store.open() == set()
    assert store.open() == set()


def test_rows_of_another_sweep_are_not_mixed(store: Store) -> None:
    store.open()
    for other in (
        Store(store.folder, COLUMNS, "another base"),
        Store(store.folder, COLUMNS[:-1], "base"),
    ):
        with pytest.raises(SpecError, match="another sweep"):
            other.open()
    assert (store.folder / MANIFEST).is_file()


def test_foreign_directories_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(SpecError, match="is not empty"):
        Store(tmp_path, COLUMNS, "base").open()
    with pytest.raises(SpecError, match="holds no sweep"):
        read(tmp_path, "SELECT 1")


@pytest.mark.parametrize(
    ("message", "raised"),
    [("Query interrupted", KeyboardInterrupt), ("something else", RuntimeError)],
)
def test_ctrl_c_in_a_query_is_ctrl_c(
    store: Store, monkeypatch: pytest.MonkeyPatch, message: str, raised: type[BaseException]
) -> None:
    """DuckDB's own error for it; a real signal would race with DuckDB's threads."""
    store.open()

    def connect() -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(duckdb, "connect", connect)
    with pytest.raises(raised):
        read(store.folder, "SELECT 1")


@pytest.mark.parametrize("sql", ["SELECT nothing FROM rows", "SELEC", "SELECT * FROM row"])
def test_wrong_sql_is_an_error_of_the_user(store: Store, sql: str) -> None:
    store.open()
    with pytest.raises(SpecError) as caught:
        read(store.folder, sql)
    assert "DESCRIBE rows" in caught.value.hint
