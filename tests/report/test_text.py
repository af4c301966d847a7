from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from simulator.machine import Assumption
from simulator.report.report import KernelShare, Report
from simulator.report.text import Bar, render, to_text


def printed(report: Report, *, verbose: bool = False, width: int = 80, **options) -> str:
    buffer = io.StringIO()
    Console(file=buffer, width=width, **options).print(render(report, verbose=verbose))
    return buffer.getvalue()


def line_with(text: str, words: str) -> str:
    return next(line for line in text.splitlines() if words in line)


def test_headline(report: Report):
    text = to_text(report)
    assert line_with(text, "step time").split() == ["step", "time", "10", "ms"]
    assert "819,200" in line_with(text, "tokens/s")
    assert "102,400 per device" in line_with(text, "tokens/s")
    assert "40.0 %" in line_with(text, "MFU ")
    assert "counted as 'palm'" in text
    assert "dense peak 312 TFLOP/s" in text
    assert "50.0 %" in line_with(text, "HFU ")
    assert "53.5 GB  of 80 GB, worst: pipeline rank 0; fits" in line_with(text, "memory ")


def test_shares_of_the_step_sum_to_the_total(report: Report):
    text = to_text(report)
    table = text.split("Where the time goes")[1].split("From the dense peak")[0]
    shares = [float(line.split(" %")[0].split()[-1]) for line in table.splitlines() if " %" in line]
    # Seven terms and their total; each is rounded to 0.1.
    assert len(shares) == 8
    assert sum(shares[:-1]) == pytest.approx(shares[-1], abs=7 * 0.05)
    assert shares[-1] == 100.0


def test_bars_of_the_step_are_as_long_as_their_shares(report: Report):
    text = printed(report)
    # 26 cells are the whole step: 50 % is 13 of them, 23.5 % is 6.1.
    assert line_with(text, "  compute ").count("█") == 13
    assert line_with(text, "  pipeline bubble ").count("█") == 6


def test_out_of_memory_names_reason_and_levers(oom_report: Report):
    text = " ".join(to_text(oom_report).split())
    assert "DOES NOT FIT" in text
    assert "needs 53.5 GB and has 40 GB: 13.5 GB too much. Largest term: optimizer moments." in text
    assert "plan.sharding zero1 18 GB" in text


def test_no_line_is_wider_than_80_columns(report: Report, oom_report: Report):
    for given_report in (report, oom_report):
        assert max(map(len, to_text(given_report).splitlines())) <= 80
        assert max(map(len, printed(given_report, verbose=True).splitlines())) <= 80


def test_text_is_the_same_without_colour(report: Report, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_COLOR", "1")
    text = printed(report, force_terminal=True, color_system="truecolor")
    assert "\x1b[3" not in text
    plain = text.replace("\x1b[1m", "").replace("\x1b[2m", "").replace("\x1b[0m", "")
    assert plain == printed(report)


def test_bars_are_ascii_where_the_terminal_is(report: Report):
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding="ascii"), width=80)
    console.print(render(report))
    console.file.flush()
    assert b"#############" in raw.getvalue()


@pytest.mark.parametrize(
    ("begin", "end", "cells"),
    [
        (0.0, 0.0, "          "),
        (0.0, 1.0, "██████████"),
        (0.5, 0.7, "     ██   "),
        (0.7, 0.5, "     ██   "),
        (0.0, 0.001, "█         "),
        (0.999, 1.0, "         █"),
        (-1.0, 2.0, "██████████"),
    ],
)
def test_bar_cells(begin: float, end: float, cells: str):
    buffer = io.StringIO()
    Console(file=buffer, width=10).print(Bar(begin, end, width=10), end="")
    assert buffer.getvalue() == cells


def test_long_lists_are_cut_unless_verbose(report: Report):
    rank = report.memory.rank_classes[0]
    classes = tuple(replace(rank, rank_class=f"pipeline rank {i}") for i in range(9))
    kernels = tuple(KernelShare(f"family-{i}", 1e-3, 0.0, 1e9) for i in range(11))
    memory = replace(report.memory, rank_classes=classes)
    many = replace(report, memory=memory, kernels=kernels)
    short, long = to_text(many), printed(many, verbose=True)
    assert "and 3 more rank classes" in short
    assert "and 3 more kernel families" in short
    assert "family-10" not in short
    assert "family-10" in long
    assert "pipeline rank 8" in long
    assert "3 values taken from 2 sources" in short
    assert "network.hop_s = 1 us" in long


def test_names_are_shown_as_they_are_not_as_markup(report: Report):
    assumptions = (Assumption("[red]name[/red]", "[1]", "[bold]source"),)
    changed = replace(report, scenario={"name": "[blue]x"}, assumptions=assumptions)
    text = printed(changed, verbose=True)
    assert "[blue]x" in text
    assert "[red]name[/red] = [1]" in text


def test_a_report_with_nothing_to_list_still_has_a_headline(report: Report):
    memory = replace(report.memory, rank_classes=())
    bare = replace(report, memory=memory, kernels=(), assumptions=(), flops={}, time={})
    text = to_text(bare)
    assert "step time" in text
    assert "Kernels" not in text
    assert "Assumptions" not in text


def test_hfu_below_mfu_is_explained(report: Report) -> None:
    below = replace(report, mfu=0.5, hfu=0.4)
    above = replace(report, mfu=0.4, hfu=0.5)
    assert "causal mask skips" in " ".join(to_text(below).split())
    assert "recompute counted" in " ".join(to_text(above).split())
