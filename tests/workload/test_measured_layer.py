"""One layer of the 22B model on one DGX A100 against its published times, nothing fitted on them.

Source: Korthikanti et al. 2022 (arXiv 2205.05198), table 4; the rows are
``benchmarks/published/kort4.csv``.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulator.model import TransformerConfig
from simulator.plan import ProcessGroup, Recompute, RecomputeMode
from simulator.schedule.action import Phase
from simulator.spec.hardware import load_cluster
from simulator.spec.stacks import load_stack
from simulator.topology import Topology
from simulator.workload.linear import Split
from simulator.workload.price import PriceContext
from simulator.workload.stage import StageKind, StagePricer

MODEL = TransformerConfig(
    name="22b",
    num_layers=1,
    hidden_size=6144,
    ffn_hidden_size=24576,
    num_attention_heads=64,
    num_query_groups=64,
    head_dim=96,
    vocab_size=51200,
)


@pytest.mark.published
@pytest.mark.parametrize(
    ("sequence_parallel", "recompute", "forward_s", "backward_s"),
    [
        (False, "none", 7.7e-3, 11.9e-3),
        (True, "none", 7.2e-3, 11.8e-3),
        (False, "full", 7.7e-3, 19.5e-3),
        (False, "selective", 7.7e-3, 13.2e-3),
        (True, "selective", 7.2e-3, 13.1e-3),
    ],
)
def test_layer_of_table_4(
    sequence_parallel: bool, recompute: RecomputeMode, forward_s: float, backward_s: float
) -> None:
    # A layer timed alone: without what only whole runs tell. With the gemm_scale fitted on those,
    # 1.03, its forward comes out 7 to 8.5 % high instead of 5 to 6.5 %: it is no scale of products.
    alone = {"gemm_scale": 1.0, "microbatch_overhead_s": 0.0, "batch_overhead_s": 0.0}
    stack = replace(load_stack("megatron-lm-2022"), **alone)
    cluster = load_cluster("selene", num_nodes=1)
    link = Topology.of(cluster).group_link(ProcessGroup("tp", 8, 1))
    context = PriceContext(cluster.node.accelerator, stack, "fp16", {"tp": link})
    split = Split(4.0, 2048, 8, sequence_parallel, False, stack.backward_tp_overlap, 2.0, True)
    pricer = StagePricer(MODEL, split, Recompute(recompute), False, context)
    layer = StageKind(1, has_embedding=False, has_output=False)
    forward, backward = (float(pricer.cost(layer, p).total_s) for p in (Phase.F, Phase.B))
    # 7 %: the GEMM tables themselves repeat to 4 % on an A100 (leave-one-campaign-out).
    assert forward == pytest.approx(forward_s, rel=0.07)
    assert backward == pytest.approx(backward_s, rel=0.07)
