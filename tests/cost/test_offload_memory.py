from __future__ import annotations

import numpy as np
import pytest

from simulator.cost.footprint import BufferBytes, StateBytes
from simulator.cost.offload_memory import (
    LayerBytes,
    off_device,
    on_device,
    pinned_bytes,
    streaming_buffers,
)
from simulator.offload import Home, Offload
from simulator.plan import OptimizerConfig

ADAM = OptimizerConfig("adam", 8, 4, 2, 2)
STATES = StateBytes(weights=2e9, gradients=2e9, optimizer=8e9, master_weights=4e9)
LAYER = LayerBytes(
    weights=100.0, gradients=80.0, weight_shard=10.0, gradient_shard=8.0, activations=5.0
)
NOTHING = BufferBytes(gathered_weights=0.0, gradient_buckets=0.0, optimizer_step=40.0)


def test_states_are_on_one_level_each() -> None:
    offload = Offload(weights=Home("host", 0.25), optimizer=Home("nvme"))
    kept = on_device(STATES, offload)
    assert kept == StateBytes(1.5e9, 2e9, 0.0, 0.0)
    assert off_device(STATES, offload, ADAM, "host")["weights"] == 0.5e9
    nvme = off_device(STATES, offload, ADAM, "nvme")
    assert (nvme["optimizer"], nvme["master_weights"], nvme["weights"]) == (8e9, 4e9, 0.0)


def test_off_the_device_a_parameter_takes_twenty_bytes() -> None:
    """2 + 2 + 4 (gradients again in fp32) + 8 + 4, of a billion parameters."""
    everything = Offload(*(Home("nvme") for _ in range(4)))
    assert sum(off_device(STATES, everything, ADAM, "nvme").values()) == 20e9


def test_on_one_device_so_many_layers_are_whole_as_the_depth_says() -> None:
    offload = Offload(weights=Home("host"), gradients=Home("host"), prefetch_depth=2)
    buffers = streaming_buffers(NOTHING, LAYER, offload, gathers=False, reduces=False, ahead=2)
    assert buffers.gathered_weights == 3 * 100
    assert buffers.gradient_buckets == 2 * 80
    assert buffers.optimizer_step == 40


def test_where_weights_are_gathered_shards_wait() -> None:
    offload = Offload(weights=Home("host", 0.5), gradients=Home("host"), overlap=False)
    whole = BufferBytes(gathered_weights=200.0, gradient_buckets=80.0, optimizer_step=40.0)
    buffers = streaming_buffers(whole, LAYER, offload, gathers=True, reduces=True, ahead=1)
    assert buffers.gathered_weights == 200 + 0.5 * 2 * 10
    assert buffers.gradient_buckets == 80 + 8


def test_tiling_divides_what_is_whole() -> None:
    offload = Offload(weights=Home("host"), gradients=Home("host"), tiling=4, prefetch_depth=0)
    buffers = streaming_buffers(NOTHING, LAYER, offload, gathers=False, reduces=False, ahead=0)
    assert buffers.gathered_weights == 100 / 4
    assert buffers.gradient_buckets == 2 * 80 / 4


def test_page_locked_buffers_are_those_of_chunks_and_of_layers_under_way() -> None:
    none = Offload(activations=Home("host"))
    chunks = Offload(optimizer=Home("host"), pinned_buffers=3, pinned_buffer_bytes=1e6)
    everything = Offload(*(Home("nvme") for _ in range(4)), prefetch_depth=1)
    assert pinned_bytes(LAYER, none) == 0
    assert pinned_bytes(LAYER, chunks) == 3e6
    # Two layers of each on their way, activations in both directions.
    assert pinned_bytes(LAYER, everything) == 4e9 + 2 * 10 + 2 * 2 * 5 + 2 * 8


def test_rows_of_a_batch_are_priced_alone() -> None:
    column = np.array([1e9, 2e9])
    states = StateBytes(column, column, column, column)
    offload = Offload(optimizer=Home("host", 0.5))
    assert np.asarray(on_device(states, offload).optimizer).tolist() == pytest.approx([0.5e9, 1e9])
