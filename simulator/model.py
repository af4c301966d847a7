"""Dense transformers: shapes, exact parameter counts, model FLOPs under each convention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Normalization = Literal["layernorm", "rmsnorm"]
PositionEmbedding = Literal["learned", "rotary", "alibi", "none"]


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """A stack of identical transformer layers between an embedding and a vocabulary projection.

    Attributes:
        ffn_hidden_size: width of the MLP; ``gated_mlp`` adds a third matrix of that width.
        num_query_groups: key/value heads; equal to ``num_attention_heads`` without GQA.
        head_dim: size of one head; not always hidden_size / num_attention_heads.
        causal: decoder (True) or encoder (False).
        parallel_block: attention and MLP read the same normalised input (PaLM, GPT-J).
        sliding_window: tokens a query looks back, None for full attention.
        use_bias: linear layers have a bias.
        max_position_embeddings: rows of a learned position table, 0 otherwise.
        num_token_types: rows of a token-type table (BERT: 2), 0 otherwise.
        has_pooler: BERT's pooler and heads (dense h x h each) exist.
    """

    name: str
    num_layers: int
    hidden_size: int
    ffn_hidden_size: int
    num_attention_heads: int
    num_query_groups: int
    head_dim: int
    vocab_size: int
    gated_mlp: bool = False
    normalization: Normalization = "layernorm"
    position_embedding: PositionEmbedding = "learned"
    tied_embeddings: bool = True
    parallel_block: bool = False
    sliding_window: int | None = None
    causal: bool = True
    use_bias: bool = True
    max_position_embeddings: int = 0
    num_token_types: int = 0
    has_pooler: bool = False

    @property
    def query_size(self) -> int:
        """Width of all query heads together."""
        return self.num_attention_heads * self.head_dim

    @property
    def key_value_size(self) -> int:
        """Width of all key heads together (values have the same)."""
        return self.num_query_groups * self.head_dim


def norm_parameters(model: TransformerConfig) -> int:
    """Parameters of one normalisation: h (RMSNorm) or 2h (LayerNorm)."""
    return model.hidden_size * (2 if model.normalization == "layernorm" else 1)


def layer_matrix_parameters(model: TransformerConfig) -> int:
    """Weights of one layer's matrices: h(q + 2 kv) + q h + (2 or 3) h f. These carry the GEMMs."""
    hidden, query, key_value = model.hidden_size, model.query_size, model.key_value_size
    mlp_matrices = 3 if model.gated_mlp else 2
    attention = hidden * (query + 2 * key_value) + query * hidden
    return attention + mlp_matrices * hidden * model.ffn_hidden_size


def layer_parameters(model: TransformerConfig) -> int:
    """All parameters of one layer: matrices, biases and normalisations."""
    hidden = model.hidden_size
    biases = 0
    if model.use_bias:
        mlp_inputs = (2 if model.gated_mlp else 1) * model.ffn_hidden_size
        biases = (model.query_size + 2 * model.key_value_size) + hidden + mlp_inputs + hidden
    num_norms = 1 if model.parallel_block else 2
    return layer_matrix_parameters(model) + biases + num_norms * norm_parameters(model)


def input_embedding_parameters(model: TransformerConfig) -> int:
    """Token, position and token-type tables (BERT adds a normalisation after them)."""
    rows = model.vocab_size + model.max_position_embeddings + model.num_token_types
    norm = norm_parameters(model) if model.num_token_types else 0
    return rows * model.hidden_size + norm


def output_parameters(model: TransformerConfig) -> int:
    """Final normalisation, untied vocabulary matrix, BERT's pooler and heads."""
    hidden = model.hidden_size
    total = norm_parameters(model)
    if not model.tied_embeddings:
        total += model.vocab_size * hidden
    if model.has_pooler:
        total += 2 * (hidden * hidden + hidden) + norm_parameters(model) + model.vocab_size
    return total


def num_parameters(model: TransformerConfig) -> int:
    """All parameters of the model, each counted once."""
    return (
        model.num_layers * layer_parameters(model)
        + input_embedding_parameters(model)
        + output_parameters(model)
    )
