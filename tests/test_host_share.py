from __future__ import annotations

from dataclasses import replace

import pytest

from simulator.host_share import host_share
from simulator.machine import Node
from simulator.spec.hardware import load_cluster


@pytest.fixture
def dgx2() -> Node:
    return load_cluster("dgx-2-cluster").node


def test_sixteen_ranks_share_what_a_node_has(dgx2: Node) -> None:
    share = host_share(dgx2, 512)
    assert share.ranks_on_node == 16
    assert share.link_bytes_per_s == 12e9
    # 48 GB/s together, less than a PCIe switch's 12.3 over 2 GPUs.
    assert share.tree_bytes_per_s == 48e9 / 16
    assert share.memory_bytes_per_s == 256e9 / 16
    assert share.nvme_read_bytes_per_s == share.nvme_write_bytes_per_s == 25.6e9 / 16
    assert share.adam_parameters_per_s == 3.9e9 / 16


def test_two_ranks_share_the_switch_above_them(dgx2: Node) -> None:
    # gpu0 and gpu1 hang on pcie0, whose link to its processor has 12.3 GB/s.
    assert host_share(dgx2, 2).tree_bytes_per_s == pytest.approx(12.3e9 / 2)


def test_one_rank_has_its_link(dgx2: Node) -> None:
    assert host_share(dgx2, 1).tree_bytes_per_s == 12e9


def test_unmeasured_adam_follows_from_the_memory(dgx2: Node) -> None:
    unknown = replace(dgx2, adam_parameters_per_s=None)
    # 0.43 of 256 GB/s over 28 bytes, which is what was measured there to 1 %.
    assert host_share(unknown, 1).adam_parameters_per_s == pytest.approx(3.9e9, rel=0.01)


def test_without_nvme_there_is_no_rate(dgx2: Node) -> None:
    assert host_share(replace(dgx2, nvme=None), 16).nvme_read_bytes_per_s == 0
