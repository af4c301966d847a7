"""Shapes of models that tests of several modules take."""

from __future__ import annotations

from typing import Final

from simulator.model import TransformerConfig

GPT: Final = TransformerConfig(
    name="gpt",
    num_layers=8,
    hidden_size=1024,
    ffn_hidden_size=4096,
    num_attention_heads=16,
    num_query_groups=16,
    head_dim=64,
    vocab_size=51200,
)
"""A layer has 12 * 1024^2 parameters."""
