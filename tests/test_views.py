"""Tables keep their numbers whole, however narrow the terminal."""

from __future__ import annotations

import pytest
from rich.console import Group
from rich.text import Text

from simulator.views import print_view, table

ROWS = [
    ("a plan", f"{n},234.5 s", "a long reason that may be broken into several lines")
    for n in range(9)
]


def printed(capsys: pytest.CaptureFixture[str], columns: int) -> list[str]:
    """A table with many columns of numbers, printed."""
    rows = [(name, *(seconds for _ in range(columns)), reason) for name, seconds, reason in ROWS]
    headers = ("plan", *("step time" for _ in range(columns)), "why")
    print_view(Group(Text("title"), table(rows, headers)))
    return capsys.readouterr().out.splitlines()


def test_text_is_wrapped_before_numbers_are(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, 6)
    assert all(len(line) <= 120 for line in lines)
    assert sum(line.count(",234.5 s") for line in lines) == 6 * len(ROWS)


def test_a_table_of_too_many_numbers_gets_longer_lines(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, 20)
    assert max(map(len, lines)) > 120
    assert sum(line.count(",234.5 s") for line in lines) == 20 * len(ROWS)
    assert not any("…" in line for line in lines)
