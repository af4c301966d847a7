"""Groups on a torus, by hand; W is the bandwidth of one link in one direction."""

from __future__ import annotations

import pytest

from simulator.machine import Torus
from simulator.plan import ProcessGroup
from simulator.spec.hardware import load_cluster
from simulator.topology import Topology
from simulator.torus import torus_span, torus_steps

W = 45e9
CUBE = Torus((4, 4, 4), W, 1e-6)
FLAT = Torus((8, 8), W, 1e-6, wraps=(False, False))


@pytest.mark.parametrize(
    ("size", "stride", "bandwidth", "steps"),
    [
        (4, 1, 2 * W, 2),  # one full axis: both directions, half way round
        (2, 1, W, 1),  # half an axis: no wrap
        (16, 1, 4 * W, 4),  # two full axes
        (64, 1, 6 * W, 6),  # all three
        (4, 4, 2 * W, 2),  # the second axis
        (16, 4, 4 * W, 4),  # second and third
        (2, 2, W / 2, 2),  # every other device of an axis: two groups interleave
        (8, 1, 3 * W, 3),  # a full axis and half of the next
    ],
)
def test_span_with_wrap_links(size, stride, bandwidth, steps):
    span = torus_span(size, stride, CUBE)
    assert span.bytes_per_s == bandwidth
    assert span.steps == steps


def test_span_without_wrap_links():
    assert torus_span(8, 1, FLAT).bytes_per_s == W
    assert torus_span(8, 1, FLAT).steps == 7
    assert torus_span(64, 1, FLAT).bytes_per_s == 2 * W
    assert torus_span(64, 1, FLAT).longest == 8


def test_shortest_way():
    # (0,0,0) to (3,0,0) is one step back over the wrap link; to (2,2,2) two on every axis.
    assert torus_steps(0, 3, CUBE) == 1
    assert torus_steps(0, 2 + 2 * 4 + 2 * 16, CUBE) == 6
    assert torus_steps(0, 7, FLAT) == 7


def test_a_group_with_one_device_on_each_torus_uses_the_network_alone() -> None:
    # Two pods of 8 hosts: replicas 32 chips apart meet over the data-center network only.
    pods = load_cluster(
        {
            "extends": "tpu-v4-pod",
            "name": "two-pods",
            "num_nodes": {"value": 16, "source": "test"},
            "tiers": [
                {
                    "name": "pod",
                    "nodes_per_group": 8,
                    "oversubscription": 1,
                    "hop": "5 us",
                    "source": "t",
                },
                {
                    "name": "dcn",
                    "nodes_per_group": 16,
                    "oversubscription": 1,
                    "hop": "5 us",
                    "source": "t",
                },
            ],
            "torus": {"shape": {"value": [4, 4, 2], "source": "test"}},
        }
    )
    link = Topology.of(pods).group_link(ProcessGroup("dp", 2, 32))
    assert link.num_nodes == 2
    assert 0 < link.network_bytes_per_s < float("inf")
    assert link.ring_bytes_per_s > link.network_bytes_per_s
