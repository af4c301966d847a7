"""A small machine and stack with round numbers, so that expected values are worked by hand."""

from __future__ import annotations

import math

import pytest

from simulator.machine import GroupLink
from simulator.spec.hardware import load_accelerator
from simulator.spec.stacks import load_stack
from simulator.stack import Stack
from simulator.workload.price import PriceContext


@pytest.fixture
def nvswitch_8() -> GroupLink:
    """Eight ranks in one node; bulk bandwidth 200 GB/s, latencies of microseconds."""
    return GroupLink(
        size=8,
        num_nodes=1,
        ll_base_s=8e-6,
        ll_hop_s=1e-6,
        ll_bytes_per_s=11e9,
        ll128_base_s=10e-6,
        ll128_hop_s=1e-6,
        ll128_bytes_per_s=127e9,
        simple_base_s=26e-6,
        simple_hop_s=5e-6,
        ring_bytes_per_s=200e9,
        all_reduce_bytes_per_s=200e9,
        in_network_base_s=0.0,
        in_network_bytes_per_s=0.0,
        all_to_all_base_s=12e-6,
        all_to_all_hop_s=1e-6,
        all_to_all_bytes_per_s=190e9,
        all_to_all_small_base_s=28e-6,
        all_to_all_small_bytes_per_s=66e9,
        network_bytes_per_s=math.inf,
        network_exchange_bytes_per_s=math.inf,
        network_base_s=0.0,
        network_hop_s=0.0,
        network_chunk_s_per_byte=0.0,
        network_chunk_s=0.0,
        network_ring_hop_s=0.0,
        network_message_s=0.0,
    )


@pytest.fixture
def stack() -> Stack:
    return load_stack("ideal")


@pytest.fixture
def context(nvswitch_8: GroupLink, stack: Stack) -> PriceContext:
    return PriceContext(load_accelerator("a100-sxm4-80gb"), stack, "bf16", {"tp": nvswitch_8})
