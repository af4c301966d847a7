"""The pipeline timeline: a row per pipeline rank, its compute above its communicators."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.engine.timeline import Timeline
from simulator.numeric import FloatArray, IntArray
from simulator.report.breakdown import seconds
from simulator.report.ops import LABELS, DrawnOps, drawn_ops, process_name
from simulator.report.svg import (
    WIDTH,
    coordinate,
    element,
    escape,
    figure,
    horizontal_axis,
    legend,
    rect,
    text,
    text_width,
)
from simulator.units import percent
from simulator.workload.op import OpPhase

MAX_RECTS: Final = 4000
"""Ops drawn one by one; beyond, every lane shows shares over slices of time."""
MAX_ROWS: Final = 32
"""Ranks drawn; beyond, evenly spread ones from the first to the last."""
_SLICES: Final = 240
_LEFT, _RIGHT, _TOP = 120.0, WIDTH - 30, 34.0
_NUMBER_SIZE: Final = 10 / 12
"""Font size of numbers in ops, as a fraction of that of other text (see ``page.css``)."""
_COMPUTE_HEIGHT, _COMMUNICATOR_HEIGHT, _GAP = 18.0, 5.0, 7.0

_KINDS: Final[Mapping[OpPhase, str]] = {
    OpPhase.F: "forward",
    OpPhase.B: "backward",
    OpPhase.W: "backward of weights",
    OpPhase.SEND_ACTIVATION: "pipeline send",
    OpPhase.SEND_GRADIENT: "pipeline send",
    OpPhase.GATHER_WEIGHTS: "data-parallel comm",
    OpPhase.REDUCE_GRADIENTS: "data-parallel comm",
    OpPhase.GATHER_STEP: "data-parallel comm",
    OpPhase.OPTIMIZER: "optimizer",
    OpPhase.STEP_OVERHEAD: "overhead",
    OpPhase.JOIN: "overhead",
    OpPhase.LOAD_NVME: "host and NVMe transfer",
    OpPhase.STORE_NVME: "host and NVMe transfer",
    OpPhase.TO_DEVICE: "host and NVMe transfer",
    OpPhase.TO_HOST: "host and NVMe transfer",
    OpPhase.LOAD_STATES: "host and NVMe transfer",
    OpPhase.STORE_STATES: "host and NVMe transfer",
    OpPhase.HOST_OPTIMIZER: "optimizer",
}


@dataclass(frozen=True, slots=True)
class _Lane:
    """A strip of the drawing for the ops of one stream name on one rank."""

    ops: DrawnOps
    y: float
    height: float


def gantt(timeline: Timeline, shown: Callable[[float], str] = seconds) -> str:
    """The drawing of a timeline as SVG; ``shown`` gives a time with its unit."""
    ops = drawn_ops(timeline)
    rows = _shown_rows(ops)
    ops = ops.where(np.isin(ops.process, rows))
    end_s = timeline.makespan_s
    names = _lane_names(timeline, ops)
    row_height = _COMPUTE_HEIGHT + _COMMUNICATOR_HEIGHT * (len(names) - 1) + _GAP
    marks = [legend(_legend_items(ops), _LEFT, 14)]
    is_exact = ops.index.size <= MAX_RECTS
    for place, process in enumerate(rows.tolist()):
        top = _TOP + place * row_height
        label = process_name(timeline, process)
        marks.append(text(_LEFT - 8, top + _COMPUTE_HEIGHT / 2, label, anchor="end"))
        height = row_height - _GAP
        marks.append(rect(_LEFT, top, _RIGHT - _LEFT, height, "idle", title=f"{label}: idle"))
        lanes = _lanes(timeline, ops, process, names, top)
        marks.extend(
            _exact(lane, end_s, shown) if is_exact else _shares(lane, end_s) for lane in lanes
        )
    bottom = _TOP + len(rows) * row_height
    marks.append(horizontal_axis(_LEFT, _RIGHT, bottom, end_s, shown))
    return figure(bottom + 26, "Timeline of the pipeline ranks over one step", *marks)


def gantt_note(timeline: Timeline, shown: Callable[[float], str] = seconds) -> str:
    """What a reader must know about the drawing: ranks left out, ops shown as shares."""
    ops = drawn_ops(timeline)
    rows = _shown_rows(ops)
    num_rows = np.unique(ops.process).size
    notes: list[str] = []
    if rows.size < num_rows:
        notes.append(f"{rows.size} of {num_rows} ranks are drawn.")
    if int(np.isin(ops.process, rows).sum()) > MAX_RECTS:
        slice_s = timeline.makespan_s / _SLICES
        notes.append(
            f"There are too many ops to draw one by one: every lane shows the share of each kind "
            f"in slices of {shown(slice_s)}."
        )
    return " ".join(notes)


def _shown_rows(ops: DrawnOps) -> IntArray:
    processes = np.unique(ops.process)
    if processes.size <= MAX_ROWS:
        return processes
    return processes[np.linspace(0, processes.size - 1, MAX_ROWS).round().astype(np.int64)]


def _lane_names(timeline: Timeline, ops: DrawnOps) -> list[str]:
    """Compute first, then every communicator that is used."""
    streams: list[int] = np.unique(ops.stream).tolist()
    used = {timeline.graph.streams[stream].name for stream in streams}
    return ["compute", *sorted(used - {"compute"})]


def _lanes(
    timeline: Timeline, ops: DrawnOps, process: int, names: list[str], top: float
) -> list[_Lane]:
    streams = timeline.graph.streams
    own = ops.where(ops.process == process)
    lanes: list[_Lane] = []
    y = top
    for name in names:
        numbers = [i for i, stream in enumerate(streams) if stream.name == name]
        height = _COMPUTE_HEIGHT if name == "compute" else _COMMUNICATOR_HEIGHT
        lanes.append(_Lane(own.where(np.isin(own.stream, numbers)), y, height))
        y += height
    return lanes


def _legend_items(ops: DrawnOps) -> list[tuple[str, str]]:
    present = {_KINDS[OpPhase(phase)] for phase in np.unique(ops.phase).tolist()}
    kinds = [kind for kind in dict.fromkeys(_KINDS.values()) if kind in present]
    return [*((_css(kind), kind) for kind in kinds), ("idle", "idle")]


def _css(kind: str) -> str:
    return f"op-{kind.replace(' ', '-')}"


def _exact(lane: _Lane, end_s: float, shown: Callable[[float], str]) -> str:
    """A rectangle per op, with the number of its microbatch where there is room."""
    ops, scale = lane.ops, (_RIGHT - _LEFT) / end_s
    # Room for the widest number, so that one kind of op is numbered throughout or not at all.
    room = _NUMBER_SIZE * text_width(str(int(ops.microbatch.max(initial=0))))
    marks: list[str] = []
    for row in range(ops.index.size):
        phase, microbatch = OpPhase(int(ops.phase[row])), int(ops.microbatch[row])
        start_s, stop_s = float(ops.start_s[row]), float(ops.end_s[row])
        x, width = _LEFT + start_s * scale, (stop_s - start_s) * scale
        what = LABELS[phase]
        if microbatch >= 0:
            what += f" of microbatch {microbatch}, stage {int(ops.stage[row])}"
        title = f"{what}: {shown(start_s)} to {shown(stop_s)}, takes {shown(stop_s - start_s)}"
        css = _css(_KINDS[phase])
        marks.append(rect(x, lane.y, width, lane.height, f"op {css}", title=title))
        number = str(microbatch)
        has_room = lane.height == _COMPUTE_HEIGHT and width > room + 1
        if microbatch >= 0 and has_room:
            middle = lane.y + lane.height / 2
            marks.append(text(x + width / 2, middle, number, anchor="middle", css=f"on on-{css}"))
    return "".join(marks)


def _shares(lane: _Lane, end_s: float) -> str:
    """A filled area per kind, stacked: its height is the share of a slice that the kind takes."""
    base = np.zeros(_SLICES)
    marks: list[str] = []
    kinds = list(dict.fromkeys(_KINDS.values()))
    kind_of_phase = np.array([kinds.index(_KINDS[phase]) for phase in OpPhase])
    for index, kind in enumerate(kinds):
        ops = lane.ops.where(kind_of_phase[lane.ops.phase] == index)
        if not ops.index.size:
            continue
        share = _slice_shares(ops, end_s)
        title = element("title", escape(f"{kind}: {percent(float(share.mean()))} of the step"))
        path = _step_area(lane, base, base + share)
        marks.append(element("path", title, d=path, class_=_css(kind)))
        base = base + share
    return "".join(marks)


def _slice_shares(ops: DrawnOps, end_s: float) -> FloatArray:
    """Share of every slice during which one of ``ops`` runs. [slices].

    Assumes: the ops of one stream do not overlap, so their busy time is a function of time that
    is linear between starts and ends.
    """
    edges = np.linspace(0.0, end_s, _SLICES + 1)
    shares = np.zeros(_SLICES)
    for stream in np.unique(ops.stream):
        own = ops.where(ops.stream == stream)
        knots = np.column_stack([own.start_s, own.end_s]).ravel()
        busy_s = np.cumsum(own.end_s - own.start_s)
        before_s = busy_s - (own.end_s - own.start_s)
        heights = np.column_stack([before_s, busy_s]).ravel()
        shares += np.diff(np.interp(edges, knots, heights)) / (end_s / _SLICES)
    return shares


def _step_area(lane: _Lane, low: FloatArray, high: FloatArray) -> str:
    """Path around the area between two step functions; equal neighbours are one step."""
    edges = np.linspace(_LEFT, _RIGHT, _SLICES + 1)
    floor = lane.y + lane.height
    tops = np.round(floor - lane.height * np.clip(high, 0.0, 1.0), 1)
    bottoms = np.round(floor - lane.height * np.clip(low, 0.0, 1.0), 1)
    changes = [
        0,
        *(np.flatnonzero((np.diff(tops) != 0) | (np.diff(bottoms) != 0)) + 1).tolist(),
        _SLICES,
    ]
    spans = list(itertools.pairwise(changes))
    forth = "".join(f"V{coordinate(tops[i])}H{coordinate(edges[j])}" for i, j in spans)
    back = "".join(f"V{coordinate(bottoms[i])}H{coordinate(edges[i])}" for i, _ in reversed(spans))
    return f"M{coordinate(edges[0])} {coordinate(bottoms[0])}{forth}{back}Z"
