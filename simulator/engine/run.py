"""The engine that a graph needs."""

from __future__ import annotations

from typing import Literal, TypeAlias

from simulator.engine import des, maxplus
from simulator.engine.timeline import Timeline
from simulator.numeric import FloatArray
from simulator.workload.op import OpGraph

Engine: TypeAlias = Literal["auto", "des", "maxplus"]


def execute(graph: OpGraph, duration_s: FloatArray, engine: Engine = "auto") -> Timeline:
    """Run the graph once; ``Timeline.engine`` names the engine that did.

    Args:
        graph: what to run.
        duration_s: [ops].
        engine: ``auto`` takes the discrete-event simulator where ops share resources; elsewhere
            max-plus, whose times are then the same. Asked for on a graph that shares,
            ``maxplus`` gives a lower bound.
    """
    if engine == "auto":
        engine = "des" if graph.has_shared_resources else "maxplus"
    if engine == "des":
        return des.simulate(graph, duration_s)
    start_s, end_s = maxplus.solve(graph, duration_s)
    return Timeline(graph, start_s, end_s, engine="maxplus")
