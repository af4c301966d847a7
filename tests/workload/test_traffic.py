"""Bytes per level of the machine: the closed forms of every policy's paper, over random plans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.numeric import as_float
from simulator.sharding import SHARDING
from simulator.spec.load import parse_scenario
from simulator.step import Step, build_step
from simulator.workload.data_moves import network_bytes
from tests.test_simulate import scenario_of
from tests.workload.traffic import data_traffic, node_bytes

EXACT: Final = 1e-9
"""Sums of some thousand terms in another order."""


@dataclass(frozen=True)
class Case:
    """Numbers of the closed forms.

    Attributes:
        psi: parameters; ``e``: bytes of a gradient on the wire; ``m``: microbatches.
        g, n: ranks per node, nodes; ``p``: ranks of a pair.
    """

    psi: float
    e: float
    m: int
    g: int
    n: int
    p: int

    def ring(self, size: int) -> float:
        """Share of a payload that each edge of a ring carries."""
        return (size - 1) / size

    @property
    def whole(self) -> float:
        """Of the ring through all ranks."""
        return self.ring(self.g * self.n)

    @property
    def nodes(self) -> float:
        """Of an exchange between equal places of all nodes."""
        return self.ring(self.n)


INT8: Final = 1 + 4 / 8000
INT4: Final = 0.5 + 4 / 4096

NIC_BYTES: Final[dict[str, Callable[[Case], float]]] = {
    # 2 Psi elements: an all-reduce, or a reduce-scatter and an all-gather.
    "ddp": lambda c: 2 * c.psi * c.e * c.whole,
    "zero1": lambda c: c.psi * (c.e + 2) * c.whole,
    "zero2": lambda c: c.psi * (c.m * c.e + 2) * c.whole,
    # 3 Psi elements for every microbatch: ZeRO (arXiv 1910.02054), section 7.
    "zero3": lambda c: c.m * c.psi * (c.e + 2 + 2) * c.whole,
    # The groups are nodes; once a step the 1/g of every rank is all-reduced between nodes.
    "mics": lambda c: 2 * c.psi * c.e * c.nodes,
    "zero3-qwz": lambda c: c.m * c.psi * (c.e + 2 * INT8) * c.whole,
    "zero3-hpz": lambda c: c.m * c.psi * (c.e + 2) * c.whole,
    "zero3-qgz": lambda c: c.m * c.psi * (4 * c.whole + INT4 * c.nodes),
    # 1 Psi and 0.5 Psi bytes instead of 6: ZeRO++ (arXiv 2306.10209), Table 1.
    "zero++": lambda c: c.m * c.psi * (INT8 * c.whole + INT4 * c.nodes),
    # Once a step: gradients of every node in int4, weights to every pair in int8.
    "zero-topo": lambda c: c.psi * (INT8 * c.ring(c.g * c.n // c.p) + INT4 * c.nodes),
}
"""Bytes that the NICs of one node send in a step."""


def case_of(step: Step) -> Case:
    plan, node = step.scenario.plan, step.scenario.cluster.node
    return Case(
        psi=step.costs.rank_parameters((0,)),
        e=step.costs.gradient_reduce_bytes,
        m=step.schedule.num_microbatches,
        g=node.num_devices,
        n=plan.dp // node.num_devices,
        p=2,
    )


@pytest.mark.parametrize("name", SHARDING)
@settings(deadline=None, max_examples=10)
@given(
    nodes=st.integers(1, 6),
    microbatches=st.integers(1, 3),
    layers=st.integers(1, 3),
    overlap=st.booleans(),
    machine=st.sampled_from(["frontier", "dgx-2-cluster"]),
)
def test_the_network_carries_the_closed_form(
    name: str, nodes: int, microbatches: int, layers: int, overlap: bool, machine: str
) -> None:
    if name == "zero-topo":
        machine = "frontier"
    per_node = 8 if machine == "frontier" else 16
    step = build_step(
        scenario_of(
            {"dp": nodes * per_node, "sharding": name, "overlap": {"dp": overlap}},
            model={"num_layers": layers},
            training={"global_batch_size": nodes * per_node * microbatches, "precision": "fp16"},
            cluster={"preset": machine, "nodes": nodes},
            stack={"attention": "unfused"},
        )
    )
    traffic = data_traffic(step.graph, step.costs.moves)
    expected = NIC_BYTES[name](case_of(step)) if nodes > 1 else 0.0
    assert traffic.network_bytes * per_node == pytest.approx(expected, rel=EXACT)


def frontier_step(name: str, microbatches: int = 2) -> tuple[Step, Case]:
    step = build_step(
        scenario_of(
            {"dp": 32, "sharding": name},
            training={"global_batch_size": 32 * microbatches, "precision": "fp16"},
            cluster={"preset": "frontier", "nodes": 4},
        )
    )
    return step, case_of(step)


def test_links_inside_a_node_carry_the_closed_form() -> None:
    # hpZ: the backward gathers 2 Psi (g - 1) / g bytes in the node; of the 31 / 32 of a ring
    # through all ranks, 7 of 8 hops are inside nodes, for the forward and the reduction.
    step, c = frontier_step("zero3-hpz")
    expected = c.m * c.psi * (2 * 7 / 8 + (c.e + 2) * c.whole * 7 / 8)
    found = data_traffic(step.graph, step.costs.moves).node_bytes
    assert found == pytest.approx(expected, rel=EXACT)
    # Three levels: half of the weights from the other die, forward and backward; 7 / 8 of the
    # gradients to the node; once a step, the ring of 16 pairs lies on 4 ranks of each node.
    step, c = frontier_step("zero-topo")
    every = 2 * INT8 / 2 + INT4 * 7 / 8
    once = INT8 / 2 * c.ring(16) * 3 / 4
    found = data_traffic(step.graph, step.costs.moves).node_bytes
    assert found == pytest.approx(c.psi * (c.m * every + once), rel=EXACT)


def test_kernels_read_and_write_the_closed_form() -> None:
    # qwZ: pack 1/32 (2 read, 1 written), unpack all (1 read, 2 written), twice a microbatch.
    step, c = frontier_step("zero3-qwz")
    expected = c.m * 2 * c.psi * (2 + INT8) * (1 + 1 / 32)
    found = data_traffic(step.graph, step.costs.moves).kernel_bytes
    assert found == pytest.approx(expected, rel=EXACT)
    # qgZ: pack (e, 0.5); add 8 parts and pack again (0.5, 0.5 / 8); add 4 parts of an eighth.
    step, c = frontier_step("zero3-qgz")
    packed = c.e + INT4 + INT4 + INT4 / 8
    added = INT4 / 8 + c.e / 32
    found = data_traffic(step.graph, step.costs.moves).kernel_bytes
    assert found == pytest.approx(c.m * c.psi * (packed + added), rel=EXACT)


@pytest.mark.parametrize("name", SHARDING)
@pytest.mark.parametrize("tp", [1, 2])
def test_no_link_runs_above_its_bandwidth(name: str, tp: int) -> None:
    scenario = scenario_of(
        {"tp": tp, "dp": 32 // tp, "sharding": name},
        training={"precision": "fp16"},
        cluster={"preset": "frontier", "nodes": 4},
    )
    costs = build_step(scenario).costs
    seconds = costs.table.build().seconds
    for row, moves in costs.moves.items():
        needed_s = 0.0
        for move in moves:
            link = move.link
            ranks = as_float(link.size) / as_float(link.num_nodes)
            inside = max(as_float(link.ring_bytes_per_s), as_float(link.all_to_all_bytes_per_s))
            needed_s += max(
                as_float(node_bytes(move)) / inside,
                as_float(network_bytes(move)) * ranks / as_float(link.network_bytes_per_s),
            )
        assert seconds[row] >= needed_s * (1 - EXACT)


@pytest.mark.parametrize("name", ["zero++", "zero-topo", "mics"])
def test_a_pipeline_accumulates_and_moves_gradients_once(name: str) -> None:
    """Gradients leave whole once a step, weights are gathered for every microbatch."""
    data = {
        "model": {"name": "m", "num_layers": 4, "hidden_size": 1024, "num_attention_heads": 16,
                  "vocab_size": 32000, "max_position_embeddings": 1024},
        "training": {"global_batch_size": 64, "seq_length": 1024, "precision": "fp16"},
        "plan": {"pp": 2, "dp": 16, "sharding": name, "overlap": {"dp": True, "pp": True}},
        "cluster": {"preset": "frontier", "nodes": 4},
        "stack": {"preset": "ideal"},
    }  # fmt: skip
    step = build_step(parse_scenario(data))
    names = step.table.names
    of_row = np.bincount(step.graph.op_class, minlength=len(names))
    passes = sum(
        int(of_row[i])
        for i, one in enumerate(names)
        if "B of gradients" in one and one.startswith("reduce")
    )
    # Two layers a rank, each a piece of the last backward.
    assert passes == 2 * 2
    gathers = sum(int(of_row[i]) for i, one in enumerate(names) if one.startswith("gather"))
    assert gathers == 2 * 2 * 2 * 4
