import numpy as np
import pytest

from simulator.engine.run import execute
from simulator.workload.draft import GraphDraft
from simulator.workload.op import OpGraph, Stream


def two_streams(*, share: bool) -> OpGraph:
    draft = GraphDraft()
    streams = np.array([draft.add_stream(Stream("pp", rank)) for rank in range(2)])
    resources = np.array([draft.add_resource(f"nic {0 if share else n}") for n in range(2)])
    draft.add_ops(0, streams, resource=resources)
    return draft.build(["send"])


@pytest.mark.parametrize(
    ("engine", "share", "ran", "makespan_s"),
    [
        ("auto", False, "maxplus", 1.0),
        ("auto", True, "des", 2.0),
        ("des", False, "des", 1.0),
        ("maxplus", True, "maxplus", 1.0),
    ],
)
def test_engine_choice(engine, share: bool, ran: str, makespan_s: float) -> None:
    timeline = execute(two_streams(share=share), np.ones(2), engine)
    assert timeline.engine == ran
    assert timeline.makespan_s == makespan_s


def test_a_resource_of_one_stream_is_not_shared() -> None:
    draft = GraphDraft()
    send = draft.add_stream(Stream("pp", 0))
    draft.add_ops(np.zeros(5), send, resource=draft.add_resource("nic"))
    graph = draft.build(["send"])
    assert not graph.has_shared_resources
    assert execute(graph, np.ones(5)).makespan_s == 5.0
