"""What a step of folded ranks says of wirings whose links it does not follow."""

import pytest

from simulator.machine import Cluster
from simulator.spec.hardware import load_cluster

SOURCE = "a test"


def wired(base: str, **fabric: object) -> Cluster:
    return load_cluster({"extends": base, "fabric": fabric}, num_nodes=4)


def sourced(**values: object) -> dict[str, object]:
    return {key: {"value": value, "source": SOURCE} for key, value in values.items()}


def noted(cluster: Cluster) -> list[str]:
    return [note.value for note in cluster.assumptions if note.name == "fabric"]


@pytest.mark.parametrize(
    ("base", "fabric"),
    [
        (
            "dgx-h100-superpod",
            {"kind": "wan", **sourced(nodes_per_site=2, bandwidth="1 GB/s", latency="9 ms")},
        ),
        (
            "dgx-h100-superpod",
            {"kind": "graph", **sourced(links=[["node0", "node1", "1 GB/s", "1 us"]])},
        ),
        ("tpu-v4-pod", {"kind": "pods", **sourced(shape=[2, 2, 2])}),
    ],
)
def test_links_that_step_times_do_not_follow_are_said(base: str, fabric: dict[str, object]) -> None:
    (note,) = noted(wired(base, **fabric))
    assert "not in step times" in note
    assert f"'{fabric['kind']}'" in note


def test_what_tiers_say_needs_no_note() -> None:
    assert not noted(wired("dgx-h100-superpod", kind="rail_fat_tree", source=SOURCE))
    assert not noted(load_cluster("frontier"))
    assert not noted(load_cluster("tpu-v4-pod"))
