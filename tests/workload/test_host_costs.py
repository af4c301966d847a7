from __future__ import annotations

import numpy as np
import pytest

from simulator.host_share import HostShare
from simulator.offload import Offload
from simulator.workload.classes import CostTableDraft
from simulator.workload.draft import GraphDraft
from simulator.workload.host_costs import HostCosts, Owner, Way
from simulator.workload.op import OpPhase

SHARE = HostShare(
    ranks_on_node=16,
    link_bytes_per_s=12e9,
    tree_bytes_per_s=3e9,
    memory_bytes_per_s=16e9,
    nvme_read_bytes_per_s=1.6e9,
    nvme_write_bytes_per_s=1.2e9,
    adam_parameters_per_s=250e6,
)


@pytest.fixture
def host() -> HostCosts:
    return HostCosts(Offload(), SHARE, 2.0, 2.0, 12.0, 16, 16, 16, (0.0,))


@pytest.fixture
def owner() -> Owner:
    return Owner(GraphDraft(), CostTableDraft(), 0, 0)


@pytest.mark.parametrize(
    ("way", "seconds"),
    [
        ("h2d", 6e9 / 3e9),  # its share of the tree
        ("d2h", 6e9 / 3e9),
        ("h2d-broadcast", 6e9 / 12e9),  # the owner's link, while the others wait
        ("nvme-read", 6e9 / 1.6e9),
        ("nvme-write", 6e9 / 1.2e9),
    ],
)
def test_a_copy_takes_bytes_over_the_narrowest_part(
    host: HostCosts, way: Way, seconds: float
) -> None:
    assert host.copy_s(way, 6e9) == pytest.approx(seconds)


def test_a_copy_is_named_and_priced_by_the_same_bytes(host: HostCosts, owner: Owner) -> None:
    row = host.copies(owner, "nvme-read", 8e8, what="weights").row
    table = owner.table.build()
    assert table.names[row] == "nvme-read 800000000 B of weights"
    assert table.seconds[row] == pytest.approx(8e8 / 1.6e9)


def test_a_column_of_copies_is_priced_row_by_row(host: HostCosts) -> None:
    payload = np.array([1e6, 2e9, 6e9])
    column = np.asarray(host.copy_s("nvme-read", payload))
    assert column.tolist() == [host.copy_s("nvme-read", float(size)) for size in payload]


def test_a_copy_loads_what_it_passes(host: HostCosts, owner: Owner) -> None:
    ops = host.copies(owner, "nvme-read", 1e9, what="weights")
    owner.draft.add_ops(ops.row, -1, flow=ops.flow)
    graph = owner.draft.build(owner.table.names)
    names = {graph.resources[resource]: share for resource, share in graph.flows[0]}
    # 1.6 of 1.6 GB/s of the read queue, 1.6 of 16 GB/s of host memory.
    assert names == pytest.approx(
        {"nvme read of rank 0, replica 0": 1.0, "host memory of rank 0, replica 0": 0.1}
    )


def test_states_have_phases_of_their_own(host: HostCosts, owner: Owner) -> None:
    read = host.copies(owner, "nvme-read", 1e9, what="states")
    write = host.copies(owner, "nvme-write", 1e9, what="states")
    weights = host.copies(owner, "nvme-read", 1e9, what="weights")
    phases = [read.phase, write.phase, weights.phase]
    assert phases == [OpPhase.LOAD_STATES, OpPhase.STORE_STATES, OpPhase.LOAD_NVME]


def test_adam_takes_its_rate_and_loads_host_memory(host: HostCosts, owner: Owner) -> None:
    ops = host.adam(owner, 500e6)
    owner.draft.add_ops(ops.row, -1, flow=ops.flow)
    assert owner.table.build().seconds[ops.row] == pytest.approx(2.0)
    graph = owner.draft.build(owner.table.names)
    # 250e6 parameters/s of 28 bytes are 7 of 16 GB/s.
    assert graph.flows[0][0][1] == pytest.approx(7 / 16)


def test_activations_alone_take_and_give_back_memory(host: HostCosts, owner: Owner) -> None:
    rows = {
        (way, what): host.copies(owner, way, 1e9, what=what).row
        for way in ("h2d", "d2h")
        for what in ("activations", "weights")
    }
    table = owner.table.build()
    assert table.alloc_bytes[rows["h2d", "activations"]] == 1e9
    assert table.free_bytes[rows["d2h", "activations"]] == 1e9
    assert table.alloc_bytes.sum() == table.free_bytes.sum() == 1e9
