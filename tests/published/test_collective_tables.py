"""Collectives against measured tables: at most 6 % mean absolute error per kind and machine.

In a node the shipped constants are used; between nodes those fitted on at most 32 nodes
(``benchmarks/kernels/fit_network.py``), and beside them the shipped ones.
"""

import pytest

from benchmarks.kernels import evaluate

BAR = 0.06
KINDS = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")
NODE = {s.subject: s.mape for s in evaluate.node_collective_samples() if s.subset == "all"}
NETWORK = {(s.subject, s.subset): s for s in evaluate.network_collective_samples()}


@pytest.mark.parametrize("accelerator", evaluate.NODES)
@pytest.mark.parametrize("kind", KINDS)
def test_in_a_node(accelerator, kind):
    assert NODE[f"{accelerator} {kind}"] <= BAR


@pytest.mark.parametrize("system", ["h100-nvlstree", "h100-default", evaluate.SHIPPED])
def test_all_reduce_up_to_8192_devices(system):
    assert NETWORK[system, "all"].mape <= BAR


@pytest.mark.parametrize(("system", "rows"), [("h100-nvlstree", 71), ("h100-default", 35)])
def test_all_reduce_beyond_what_was_fitted(system, rows):
    held_out = NETWORK[system, f"extrapolated: over {evaluate.FITTED_NODES} nodes"]
    assert len(held_out.measured_s) == rows
    assert held_out.mape <= BAR


def test_the_curve_reaches_8192_devices():
    table = dict(evaluate.Table.read("collective_network").split("system"))[("h100-nvlstree",)]
    assert table.numbers("ranks").max() == 8192
