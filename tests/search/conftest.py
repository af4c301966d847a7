"""Small scenarios whose spaces can be simulated plan by plan."""

from __future__ import annotations

import pytest

from simulator.scenario import Scenario
from simulator.spec.load import parse_scenario

TINY = {
    "name": "tiny",
    "model": {
        "num_layers": 8,
        "hidden_size": 1024,
        "num_attention_heads": 16,
        "ffn_hidden_size": 4096,
        "vocab_size": 50304,
        "max_position_embeddings": 1024,
    },
    "training": {"global_batch_size": 16, "seq_length": 1024, "precision": "bf16"},
    "plan": {"tp": 1, "pp": 1, "dp": 8},
    "cluster": {"preset": "selene", "nodes": 2},
    "stack": {"preset": "megatron-lm-2022"},
}


@pytest.fixture
def tiny() -> Scenario:
    """A small model on part of a node."""
    return parse_scenario(TINY)


@pytest.fixture
def two_nodes() -> Scenario:
    """A small model on two nodes, whose pipelines may share links."""
    return parse_scenario({**TINY, "plan": {"dp": 16}})
