from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from simulator.engine.timeline import Timeline
from simulator.errors import TrainsimError
from simulator.report.report import Report
from simulator.report.trace import to_rank_traces, to_trace

# Holistic Trace Analysis 0.5.0 finds the rank of a file and its communication kernels by these.
HTA_RANK = re.compile(r'"rank":\s+(\d+)')
HTA_COMMUNICATION = re.compile(r"^nccl.*Kernel")


def events_of(text: str) -> list[dict]:
    return json.loads(text)["traceEvents"]


def kernels(events: list[dict]) -> list[dict]:
    return [e for e in events if e.get("cat") == "kernel"]


@pytest.fixture
def events(report: Report) -> list[dict]:
    return events_of("".join(to_trace(report)))


def test_every_op_that_takes_time_is_a_kernel_on_its_rank_and_stream(events: list[dict]):
    # 15 ops of the fixture less one join: rank 0 runs 4 passes and the optimizer (7), 2 forward
    # sends and 1 reduction; rank 1 runs 4 passes and 2 backward sends (one stream pp-send: 21).
    found = defaultdict(int)
    for event in kernels(events):
        found[event["pid"], event["tid"]] += 1
    assert found == {(0, 7): 5, (0, 21): 2, (0, 20): 1, (1, 7): 4, (1, 21): 2}


def test_times_are_microseconds(events: list[dict]):
    backward = next(e for e in kernels(events) if e["name"] == "backward 0" and e["pid"] == 1)
    assert (backward["ts"], backward["dur"]) == (2250.0, 2000.0)


def assert_nested(events: list[dict]):
    lanes = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            lanes[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    assert lanes
    for spans in lanes.values():
        spans.sort()
        for (_, end), (start, _) in pairwise(spans):
            # Times are whole nanoseconds; half of one is far above the error of the sum.
            assert start >= end - 0.0005


def test_slices_of_a_stream_do_not_overlap(events: list[dict]):
    assert_nested(events)


def test_slices_do_not_overlap_after_rounding_to_nanoseconds(report: Report):
    timeline = report.timeline
    assert timeline is not None
    third = Timeline(timeline.graph, timeline.start_s / 3, timeline.end_s / 3, "test")
    assert_nested(events_of("".join(to_trace(replace(report, timeline=third)))))


def test_every_kernel_correlates_with_one_launch(events: list[dict]):
    launches = [e["args"]["correlation"] for e in events if e.get("cat") == "cuda_runtime"]
    assert len(set(launches)) == len(launches)
    assert sorted(launches) == sorted(e["args"]["correlation"] for e in kernels(events))
    assert 0 not in launches
    assert all(e["args"]["stream"] == e["tid"] for e in kernels(events))


def test_communication_is_known_by_name(events: list[dict]):
    named = {e["name"] for e in kernels(events) if HTA_COMMUNICATION.match(e["name"])}
    assert named == {
        "ncclDevKernel send activation 0",
        "ncclDevKernel send activation 1",
        "ncclDevKernel send gradient 0",
        "ncclDevKernel send gradient 1",
        "ncclDevKernel reduce gradients",
    }


def test_arrows_join_the_ranks_only(events: list[dict]):
    # Two activations arrive on rank 1 and two gradients on rank 0.
    starts = {e["id"]: e for e in events if e["ph"] == "s"}
    ends = {e["id"]: e for e in events if e["ph"] == "f"}
    assert starts.keys() == ends.keys()
    pids = sorted((starts[i]["pid"], ends[i]["pid"]) for i in starts)
    assert pids == [(0, 1), (0, 1), (1, 0), (1, 0)]
    slices = [(e["pid"], e["tid"], e["ts"], e["ts"] + e["dur"]) for e in kernels(events)]
    for end in (*starts.values(), *ends.values()):
        inside = [s for s in slices if s[:2] == (end["pid"], end["tid"])]
        assert any(start <= end["ts"] < stop for _, _, start, stop in inside)


def test_memory_counters_follow_the_history(events: list[dict]):
    counters = [e for e in events if e["ph"] == "C" and e["pid"] == 1]
    assert [e["ts"] for e in counters] == [0.0, 1000.0, 2000.0, 6000.0, 9500.0, 10000.0]
    # Rank 1: 41.5 GB of states and framework, and at its peak 6 GB of activations.
    assert counters[2]["args"] == {"held": 47.5e9}


def test_processes_and_threads_have_names_and_places(events: list[dict]):
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert names[0, 7] == "stream 7 compute"
    assert names[1, 21] == "stream 21 pp-send"
    places = {e["pid"]: e["args"] for e in events if e["name"] == "process_sort_index"}
    assert places == {0: {"sort_index": 0}, 1: {"sort_index": 1}}


def test_one_file_per_rank(report: Report):
    traces = to_rank_traces(report)
    assert list(traces) == [0, 1]
    for rank, text in traces.items():
        assert HTA_RANK.findall(text) == [str(rank)]
        assert {e["pid"] for e in events_of(text)} == {rank}
        assert not [e for e in events_of(text) if e["ph"] in "sf"]
        assert kernels(events_of(text))


def test_ranks_select_processes(report: Report):
    chosen = events_of("".join(to_trace(report, [1, 99])))
    assert {e["pid"] for e in chosen} == {1}


def test_a_cut_trace_keeps_the_first_kernels_and_says_so(report: Report):
    text = "".join(to_trace(report, max_events=3))
    assert json.loads(text)["note"] == "only the first 3 of 14 kernels are shown"
    cut = events_of(text)
    assert [e["ts"] for e in kernels(cut)] == [0.0, 1000.0, 1000.0]
    assert [e["args"]["labels"] for e in cut if e["name"] == "process_labels"] == [
        "only the first 3 of 14 kernels are shown"
    ] * 2
    assert not [e for e in cut if e["ph"] in "sf"]


def test_replicas_are_processes_of_their_own(report: Report):
    timeline = report.timeline
    assert timeline is not None
    streams = tuple(replace(s, replica=s.rank, rank=0) for s in timeline.graph.streams)
    graph = replace(timeline.graph, streams=streams)
    changed = replace(report, timeline=Timeline(graph, timeline.start_s, timeline.end_s, "test"))
    names = [
        e["args"]["name"]
        for e in events_of("".join(to_trace(changed)))
        if e["name"] == "process_name"
    ]
    assert names == ["pipeline rank 0, replica 0", "pipeline rank 0, replica 1"]


def test_a_report_without_timeline_says_what_to_do(oom_report: Report):
    with pytest.raises(TrainsimError, match="run the scenario again"):
        to_trace(oom_report)
    with pytest.raises(TrainsimError, match="no timeline"):
        to_rank_traces(oom_report)


def test_an_empty_timeline_is_an_empty_trace(report: Report):
    timeline = report.timeline
    assert timeline is not None
    idle = Timeline(timeline.graph, timeline.start_s, timeline.start_s, "test")
    empty = replace(report, timeline=idle)
    assert not kernels(events_of("".join(to_trace(empty))))
    assert np.all(idle.end_s == idle.start_s)
