"""Transformers, dense or with experts: shapes and exact parameter counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Normalization = Literal["layernorm", "rmsnorm"]
PositionEmbedding = Literal["learned", "rotary", "alibi", "none"]


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """A stack of transformer layers between an embedding and a vocabulary projection.

    Layers are alike, but that some may route every token to ``top_k`` of ``num_experts`` MLPs.

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
        num_experts: MLPs of a layer with experts; 0 where there are none.
        top_k: experts that every token visits.
        expert_ffn_hidden_size: width of one expert.
        shared_expert_ffn_hidden_size: width of the experts that every token visits, together.
        num_dense_layers: layers without experts that come first.
        expert_interval: after them, every so many-th layer has experts.
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
    num_experts: int = 0
    top_k: int = 0
    expert_ffn_hidden_size: int = 0
    shared_expert_ffn_hidden_size: int = 0
    num_dense_layers: int = 0
    expert_interval: int = 1

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


def num_expert_layers(model: TransformerConfig, first: int = 0, last: int | None = None) -> int:
    """Layers with experts among those from ``first`` to before ``last``; all by default."""
    if not model.num_experts:
        return 0
    last = model.num_layers if last is None else last

    def before(layer: int) -> int:
        return max(layer - model.num_dense_layers, 0) // model.expert_interval

    return before(last) - before(first)


def mlp_matrices(model: TransformerConfig) -> int:
    """Matrices of one MLP: 2, or 3 with a gate."""
    return 3 if model.gated_mlp else 2


def widest_mlp(model: TransformerConfig) -> int:
    """Width of the widest MLP of any layer."""
    with_experts = num_expert_layers(model)
    widths = [model.ffn_hidden_size] if with_experts < model.num_layers else []
    widths += [model.expert_ffn_hidden_size, model.shared_expert_ffn_hidden_size]
    return max(widths)


def attention_matrix_parameters(model: TransformerConfig) -> int:
    """Weights of the matrices of one layer's attention: h(q + 2 kv) + q h."""
    hidden, query = model.hidden_size, model.query_size
    return hidden * (query + 2 * model.key_value_size) + query * hidden


def layer_matrix_parameters(model: TransformerConfig) -> int:
    """Weights of a dense layer's matrices, h(q + 2 kv) + q h + (2 or 3) h f: those of its GEMMs."""
    mlp = mlp_matrices(model) * model.hidden_size * model.ffn_hidden_size
    return attention_matrix_parameters(model) + mlp


def expert_matrix_parameters(model: TransformerConfig) -> int:
    """Weights of the matrices of one expert: (2 or 3) h f_e."""
    return mlp_matrices(model) * model.hidden_size * model.expert_ffn_hidden_size


def active_layer_matrix_parameters(model: TransformerConfig) -> int:
    """Weights that a token meets in a layer with experts: attention, router and k experts."""
    hidden = model.hidden_size
    shared = mlp_matrices(model) * hidden * model.shared_expert_ffn_hidden_size
    router = hidden * model.num_experts
    experts = model.top_k * expert_matrix_parameters(model)
    return attention_matrix_parameters(model) + router + shared + experts


def layer_parameters(model: TransformerConfig) -> int:
    """All parameters of one dense layer: matrices, biases and normalisations."""
    mlp_biases = _mlp_biases(model, model.ffn_hidden_size)
    return layer_matrix_parameters(model) + mlp_biases + _layer_vectors(model)


def expert_parameters(model: TransformerConfig) -> int:
    """All parameters of one expert."""
    return expert_matrix_parameters(model) + _mlp_biases(model, model.expert_ffn_hidden_size)


def shared_parameters(model: TransformerConfig) -> int:
    """Parameters of a layer with experts that are no expert's: attention, router, shared MLP."""
    shared = model.shared_expert_ffn_hidden_size
    matrices = attention_matrix_parameters(model) + model.hidden_size * model.num_experts
    matrices += mlp_matrices(model) * model.hidden_size * shared
    biases = _mlp_biases(model, shared) if shared else 0
    return matrices + biases + _layer_vectors(model)


def _mlp_biases(model: TransformerConfig, width: int) -> int:
    if not model.use_bias:
        return 0
    return (mlp_matrices(model) - 1) * width + model.hidden_size


def _layer_vectors(model: TransformerConfig) -> int:
    """Normalisations, and biases of the attention."""
    hidden = model.hidden_size
    biases = model.query_size + 2 * model.key_value_size + hidden if model.use_bias else 0
    num_norms = 1 if model.parallel_block else 2
    return biases + num_norms * norm_parameters(model)


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
    with_experts = num_expert_layers(model)
    expert_layer = shared_parameters(model) + model.num_experts * expert_parameters(model)
    return (
        (model.num_layers - with_experts) * layer_parameters(model)
        + with_experts * expert_layer
        + input_embedding_parameters(model)
        + output_parameters(model)
    )


def num_active_parameters(model: TransformerConfig) -> int:
    """Parameters that one token meets: all but those of the experts it does not visit."""
    idle = num_expert_layers(model) * (model.num_experts - model.top_k)
    return num_parameters(model) - idle * expert_parameters(model)
