from __future__ import annotations

import numpy as np
import pytest

from simulator.machine import GroupLink
from simulator.numeric import FloatArray, IntArray
from simulator.plan import ProcessGroup
from simulator.workload.messages import Devices
from simulator.workload.wires import JobFabric


class Ports:
    """Nodes of two devices; every message passes the port of its sender and of its receiver."""

    capacity_bytes_per_s: FloatArray = np.full(16, 10.0)

    def routes(self, source: IntArray, target: IntArray, key: IntArray) -> IntArray:
        assert key.shape == source.shape
        return np.stack((source, 8 + target), axis=-1)


RATE = np.array([10.0, 10.0])
FABRIC = JobFabric(
    routes=Ports(),
    num_nics=2,
    nics=np.array([[0], [1]]),
    ring_bytes_per_s=RATE,
    message_bytes_per_s=RATE,
    fraction=1.0,
    nodes=np.arange(4),
)


def _group_of(link: GroupLink) -> ProcessGroup:
    raise AssertionError(f"nobody asks for the group of {link}")


def _devices(*ranks: list[int], tp: int) -> Devices:
    return Devices(np.array(ranks), tp, FABRIC, _group_of)


def _siblings(devices: Devices, size: int, stride: int) -> list[list[int]]:
    return [own.tolist() for own in devices.siblings(ProcessGroup("dp", size, stride))]


def test_groups_of_every_shape() -> None:
    # Eight devices, tp 2: neighbours, all of equal place, and halves of those.
    devices = _devices(*([rank] for rank in range(8)), tp=2)
    assert _siblings(devices, 2, 1) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert _siblings(devices, 4, 2) == [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert _siblings(devices, 2, 2) == [[0, 2], [1, 3], [4, 6], [5, 7]]
    assert _siblings(devices, 2, 4) == [[0, 4], [1, 5], [2, 6], [3, 7]]


def test_groups_are_of_devices_not_of_ranks() -> None:
    # Two pipeline ranks, the stage varying fastest: device d has ranks 2 d and 2 d + 1.
    devices = _devices(*([2 * device, 2 * device + 1] for device in range(4)), tp=1)
    assert _siblings(devices, 2, 2) == [[0, 1], [2, 3]]


def test_a_collective_loads_the_ports_of_its_pipeline_rank() -> None:
    # Devices 0 and 1 are ranks 0 and 2 of the first stage, 1 and 3 of the second.
    devices = _devices([0, 1], [2, 3], tp=1)
    both = np.array([0, 1])
    first = dict(devices.load(both, 0, exchanges=False, bytes_per_s=RATE))
    second = dict(devices.load(both, 1, exchanges=True, bytes_per_s=RATE / 2))
    assert first == pytest.approx(dict.fromkeys((0, 2, 8, 10), 1.0))
    assert second == pytest.approx(dict.fromkeys((1, 3, 9, 11), 0.5))
