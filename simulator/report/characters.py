"""The pipeline timeline in characters: a line per pipeline rank, time from left to right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from rich.text import Text

from simulator.engine.timeline import Timeline
from simulator.report.ops import DrawnOps, drawn_ops
from simulator.workload.op import OpPhase

IDLE: Final = "."
MAX_LINES: Final = 32
"""Ranks drawn; beyond, evenly spread ones from the first to the last."""
LETTERS: Final[Mapping[OpPhase, str]] = {
    OpPhase.F: "F",
    OpPhase.B: "B",
    OpPhase.W: "W",
    OpPhase.SEND_ACTIVATION: "s",
    OpPhase.SEND_GRADIENT: "s",
    OpPhase.GATHER_WEIGHTS: "g",
    OpPhase.REDUCE_GRADIENTS: "r",
    OpPhase.OPTIMIZER: "O",
    OpPhase.GATHER_STEP: "g",
    OpPhase.STEP_OVERHEAD: "o",
    OpPhase.JOIN: " ",
    OpPhase.LOAD_NVME: "n",
    OpPhase.STORE_NVME: "n",
    OpPhase.TO_DEVICE: "h",
    OpPhase.TO_HOST: "d",
    OpPhase.LOAD_STATES: "n",
    OpPhase.STORE_STATES: "n",
    OpPhase.HOST_OPTIMIZER: "O",
}
"""What an op is called where there is no room for more."""
_STYLES: Final[Mapping[str, str]] = {
    "F": "white on blue",
    "B": "white on green",
    "W": "black on yellow",
    "O": "white on magenta",
}
_OTHER_STYLE: Final = "white on bright_black"


@dataclass(frozen=True, slots=True)
class Scale:
    """How time is laid on columns.

    Attributes:
        columns: of a line.
        end: time at the right end.
    """

    columns: int
    end: float

    def column(self, time: float) -> int:
        """The column in which a time lies."""
        return min(round(time / self.end * self.columns), self.columns) if self.end > 0 else 0


def fitting_scale(timeline: Timeline, width: int) -> Scale:
    """Columns for a timeline: as few as show letter and number of every pass, at most ``width``."""
    ops = _passes(timeline)
    end = timeline.makespan_s
    if not ops.index.size or end <= 0:
        return Scale(width, end)
    shortest = float((ops.end_s - ops.start_s).min())
    letters = 1 + len(str(int(ops.microbatch.max(initial=0))))
    for each in range(letters, 0, -1):
        columns = round(end / shortest * each)
        if columns <= width:
            return Scale(columns, end)
    return Scale(width, end)


def lines(timeline: Timeline, scale: Scale, *, coloured: bool) -> list[Text]:
    """A line of characters per pipeline rank.

    A pass shows its letter and the number of its microbatch, of which the last digits where there
    is no room for all; in one column its letter, or with colours, which tell letters apart, the
    last digit.

    Args:
        timeline: executed graph.
        scale: columns.
        coloured: whether colours will be seen.
    """
    ops = drawn_ops(timeline)
    streams = timeline.graph.streams
    is_compute = np.array([stream.name == "compute" for stream in streams])
    ops = ops.where(is_compute[ops.stream])
    processes = np.unique(ops.process)
    if processes.size > MAX_LINES:
        spread = np.linspace(0, processes.size - 1, MAX_LINES).round().astype(np.int64)
        processes = processes[spread]
    return [
        _line(int(process), ops.where(ops.process == process), scale, coloured=coloured)
        for process in processes.tolist()
    ]


def _line(process: int, ops: DrawnOps, scale: Scale, *, coloured: bool) -> Text:
    cells = [(IDLE, "bright_black")] * scale.columns
    for row in range(ops.index.size):
        first = scale.column(float(ops.start_s[row]))
        stop = scale.column(float(ops.end_s[row]))
        letter = LETTERS[OpPhase(int(ops.phase[row]))]
        label = _label(letter, int(ops.microbatch[row]), stop - first, coloured=coloured)
        style = _STYLES.get(letter, _OTHER_STYLE)
        cells[first:stop] = [(character, style) for character in label]
    line = Text(f"{process:>3} ", style="bold")
    for character, style in cells:
        line.append(character, style=style)
    return line


def _label(letter: str, microbatch: int, width: int, *, coloured: bool) -> str:
    """Characters of one op: its letter, its number, and dashes up to its end."""
    number = str(microbatch) if microbatch >= 0 else ""
    if width == 1:
        return number[-1:] if coloured and number else letter
    # Without room for the whole number its last digits tell neighbours apart.
    return f"{letter}{number[-(width - 1) :]}".ljust(width, "-") if width else ""


def _passes(timeline: Timeline) -> DrawnOps:
    ops = drawn_ops(timeline)
    return ops.where(ops.phase <= OpPhase.W)
