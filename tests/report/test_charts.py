from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest

from simulator.report.charts import memory_bars, memory_history, time_bar, waterfall_chart
from simulator.report.report import Report
from simulator.report.svg import WIDTH

RECT = re.compile(
    r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)" height="[\d.]+" class="([\w-]+)"'
)
# A coordinate is written with two decimals; ten rounded lengths may be off by ten times half.
WRITTEN = 10 * 0.005


def rects(svg: str) -> list[tuple[float, float, str]]:
    return [(float(x), float(width), css) for x, width, css in RECT.findall(svg)]


def test_time_bar_fills_the_width_without_gaps(report: Report):
    found = rects(time_bar(report))
    assert [css for _, _, css in found] == [
        "time-compute",
        "time-recompute",
        "time-tp-comm",
        "time-pp-comm",
        "time-dp-comm",
        "time-optimizer",
        "time-bubble",
    ]
    assert sum(width for _, width, _ in found) == pytest.approx(WIDTH, abs=WRITTEN)
    # Compute is 5 of 10 ms, so half the width.
    assert found[0][:2] == (0.0, WIDTH / 2)
    for (x, width, _), (following, _, _) in pairwise(found):
        assert following == pytest.approx(x + width, abs=WRITTEN)


def test_a_time_bar_without_all_terms_stays_inside(report: Report):
    found = rects(time_bar(replace(report, time={"compute": 2.5e-3})))
    assert found == [(0.0, WIDTH / 4, "time-compute")]


def test_a_term_without_colour_is_grey(report: Report):
    assert [css for *_, css in rects(time_bar(replace(report, time={"new_comm": 1e-3})))] == [
        "other-term"
    ]


def test_waterfall_hangs_every_loss_on_the_one_before(report: Report):
    found = rects(waterfall_chart(report))
    full = found[0][1]
    assert [css for *_, css in found] == ["total", *["loss"] * 7, "total"]
    ends = [x for x, _, _ in found[1:-1]]
    starts = [x + width for x, width, _ in found[1:-1]]
    assert starts[1:] == pytest.approx(ends[:-1], abs=WRITTEN)
    assert found[-1][1] == pytest.approx(0.40 * full, abs=WRITTEN)


def test_a_convention_above_what_ran_is_shown_as_a_gain(report: Report):
    # MFU counts full attention; a causal kernel runs half of it, so MFU may exceed compute / step.
    assert 'class="gain"' in waterfall_chart(replace(report, mfu=0.60))


def test_memory_bars_stand_in_proportion_to_the_capacity(report: Report):
    svg = memory_bars(report.memory)
    found = rects(svg)
    assert len(found) == 10
    limit = re.search(r'<line x1="([\d.]+)"[^>]*class="limit"', svg)
    assert limit is not None
    left = found[0][0]
    # Rank 0 holds 53.5 of 80 GB.
    rank_0 = sum(width for _, width, _ in found[:5])
    assert rank_0 / (float(limit[1]) - left) == pytest.approx(53.5 / 80, rel=1e-3)


def test_bars_beyond_the_capacity_stay_in_the_drawing(oom_report: Report):
    assert max(x + width for x, width, _ in rects(memory_bars(oom_report.memory))) < WIDTH


def test_memory_history_is_a_step_line(report: Report):
    svg = memory_history(report.memory.rank_classes[0], 80e9, report.step_time_s)
    curve = re.search(r'd="([^"]+)" class="curve"', svg)
    assert curve is not None
    assert re.fullmatch(r"M[\d.]+ [\d.]+(H[\d.]+V[\d.]+){5}H[\d.]+", curve[1])
    assert "capacity 80 GB" in svg


def test_a_history_of_one_point_is_a_level(report: Report):
    rank = replace(report.memory.rank_classes[0], history_s=(0.0,), history_bytes=(1e9,))
    assert 'class="curve"' in memory_history(rank, 80e9, 0.0)
