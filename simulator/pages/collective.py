"""The page of ``collective``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from simulator.collective_runs import CollectiveRun
from simulator.report.drawing import Section, drawing_page
from simulator.report.frame import plain_table
from simulator.report.scatter import Axis, Mark, scatter
from simulator.units import format_si
from simulator.views_collective import compared, headers, run_row, size_text

_COLOURS: Final = ("total", "gain", "loss")


def collective_page(heading: str, runs: Sequence[CollectiveRun]) -> str:
    """Bus bandwidth over what varies, all numbers, and every algorithm beside the chosen one."""
    rows, columns = compared(runs)
    note = "Size and bandwidths as nccl-tests define them."
    sections = [
        Section(
            "Bus bandwidth", note, _drawing(runs), plain_table(headers(runs)[:-1], _rows(runs))
        ),
        Section("All algorithms", "", "", plain_table(columns, rows)),
    ]
    return drawing_page(heading, sections)


def _rows(runs: Sequence[CollectiveRun]) -> list[list[str]]:
    return [run_row(run) for run in runs]


def _drawing(runs: Sequence[CollectiveRun]) -> str:
    names = list(dict.fromkeys(run.algorithm for run in runs))
    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
    scans_ranks = len({run.ranks for run in runs}) > 1
    marks = [
        Mark(
            float(run.ranks) if scans_ranks else run.payload_bytes,
            run.bus_bytes_per_s,
            run.algorithm,
            colours[run.algorithm],
        )
        for run in runs
    ]
    across = (
        Axis("ranks", "{:,.0f}".format, by_factor=True)
        if scans_ranks
        else Axis("payload", size_text, by_factor=True)
    )
    up = Axis("bus bandwidth", lambda rate: format_si(rate, "B/s"))
    return scatter(marks, across, up, meanings=[(css, name) for name, css in colours.items()])
