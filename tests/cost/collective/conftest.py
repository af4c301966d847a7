"""Groups on an H100-like machine: in one node, over nodes, one rank per node, one rank."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from simulator.machine import GroupLink

NETWORK_BYTES_PER_S = 360e9
RING_BYTES_PER_S = 330e9
ALL_REDUCE_BYTES_PER_S = 340e9
IN_NETWORK_BYTES_PER_S = 460e9


def make_link(size: float, num_nodes: float = 1.0, *, in_network: bool = False) -> GroupLink:
    return GroupLink(
        size=size,
        num_nodes=num_nodes,
        ll_base_s=5e-6,
        ll_hop_s=0.8e-6,
        ll_bytes_per_s=19e9,
        ll128_base_s=5.2e-6,
        ll128_hop_s=0.9e-6,
        ll128_bytes_per_s=218e9,
        simple_base_s=17.6e-6,
        simple_hop_s=1.2e-6,
        ring_bytes_per_s=RING_BYTES_PER_S,
        all_reduce_bytes_per_s=ALL_REDUCE_BYTES_PER_S,
        in_network_base_s=72e-6,
        in_network_bytes_per_s=IN_NETWORK_BYTES_PER_S if in_network else 0.0,
        all_to_all_base_s=13e-6,
        all_to_all_hop_s=0.1e-6,
        all_to_all_bytes_per_s=300e9,
        all_to_all_small_base_s=6e-6,
        all_to_all_small_bytes_per_s=12e9,
        network_bytes_per_s=NETWORK_BYTES_PER_S if num_nodes > 1 else float("inf"),
        network_exchange_bytes_per_s=NETWORK_BYTES_PER_S if num_nodes > 1 else float("inf"),
        network_base_s=32e-6,
        network_hop_s=20e-6,
        network_chunk_s_per_byte=2.2e-12,
        network_chunk_s=25e-6,
        network_ring_hop_s=14e-6,
        network_message_s=10e-6,
    )


@pytest.fixture
def group_link() -> Callable[..., GroupLink]:
    return make_link


@pytest.fixture
def links() -> dict[str, GroupLink]:
    return {
        "pair": make_link(2.0),
        "node": make_link(8.0),
        "node with switch reduction": make_link(8.0, in_network=True),
        "two nodes": make_link(16.0, 2.0, in_network=True),
        "many nodes": make_link(4096.0, 512.0),
        "rail": make_link(32.0, 32.0),
        "two ranks on two nodes": make_link(2.0, 2.0),
        "one rank": make_link(1.0),
        "torus": replace(
            make_link(64.0),
            torus_bytes_per_s=RING_BYTES_PER_S,
            torus_bucket_bytes_per_s=RING_BYTES_PER_S / 2,
            torus_way_s=6e-6,
        ),
    }
