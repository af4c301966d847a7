"""The timeline in characters."""

import pytest

from simulator.planning.grid import chunks_for, unit_grid
from simulator.report.characters import IDLE, Scale, fitting_scale, lines
from simulator.schedule.table import SCHEDULES


def drawn(
    kind: str, ranks: int, microbatches: int, width: int, *, coloured: bool = False
) -> list[str]:
    timeline = unit_grid(kind, ranks, microbatches, chunks_for(kind, 2)).timeline
    scale = fitting_scale(timeline, width)
    return [line.plain for line in lines(timeline, scale, coloured=coloured)]


def test_one_f_one_b_by_hand() -> None:
    """p 2, m 2, F 1, B 2, two characters for 1.

    Rank 1 runs F0 from 1 to 2 and B0 from 2 to 4; so rank 0 runs B0 from 4 to 6. Rank 1 runs F1
    from 4 to 5 and B1 from 5 to 7; so rank 0 runs B1 from 7 to 9.
    """
    assert drawn("1f1b", 2, 2, 100) == [
        "  0 F0F1....B0--..B1--",
        "  1 ..F0B0--F1B1--....",
    ]


def test_narrow_drawings_show_letters_or_in_colour_digits() -> None:
    """10 columns for 9 F: one each; B takes two."""
    assert drawn("1f1b", 2, 2, 9)[1] == "  1 .FB0FB1.."
    assert drawn("1f1b", 2, 2, 9, coloured=True)[1] == "  1 .0B01B1.."


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("width", [7, 40, 111, 300])
def test_lines_are_as_wide_as_the_scale(kind: str, width: int) -> None:
    timeline = unit_grid(kind, 4, 12, chunks_for(kind, 2)).timeline
    scale = fitting_scale(timeline, width)
    shown = [line.plain[4:] for line in lines(timeline, scale, coloured=False)]
    assert {len(line) for line in shown} == {scale.columns}
    assert scale.columns <= width


@pytest.mark.parametrize("kind", SCHEDULES)
def test_where_every_pass_has_whole_columns_idle_ones_are_the_idle_time(kind: str) -> None:
    grid = unit_grid(kind, 4, 12, chunks_for(kind, 2))
    scale = fitting_scale(grid.timeline, 300)
    for line in lines(grid.timeline, scale, coloured=False):
        busy = 1 - line.plain[4:].count(IDLE) / scale.columns
        assert busy == pytest.approx(12 * 3 / grid.length, abs=1e-9)


def test_many_ranks_are_thinned_out() -> None:
    shown = drawn("1f1b", 64, 64, 100)
    assert len(shown) == 32
    assert shown[0].startswith("  0 ")
    assert shown[-1].startswith(" 63 ")


def test_columns_are_rounded() -> None:
    assert [Scale(10, 5.0).column(time) for time in (0.0, 0.26, 2.5, 5.0)] == [0, 1, 5, 10]
