"""The kernels of a layer with experts: router, dispatch, grouped products, combine.

Every token visits k of E experts. A rank holds E / ep of them, cut over tp like a dense MLP; tokens
reach them and come back by one all-to-all each over the ep ranks of a group, in the forward and in
the backward.

Source: Lepikhin et al. 2020, GShard (arXiv 2006.16668), section 2; NVIDIA/Megatron-LM,
    core/transformer/moe/token_dispatcher.py (``MoEAlltoAllTokenDispatcher``: permute, all-to-all
    over ep, sort by local expert, all-gather over tp, and back) and experts.py (grouped products;
    the router's probabilities multiply inside the activation function).
Assumes: routing is even; every expert gets its share times ``Split.capacity_factor``. Grouped
    products run as one batched product; dispatched tokens travel in the dtype of the activations.
"""

from __future__ import annotations

from dataclasses import replace

from simulator.model import TransformerConfig, mlp_matrices
from simulator.numeric import Numeric
from simulator.workload.kernel import Block, Collective, Elementwise, Kernel, Matmul, Overlapped
from simulator.workload.linear import Split, column_linear, row_linear, three_products


def expert_mlp(model: TransformerConfig, split: Split, activation: Block) -> Block:
    """Router, dispatch, this rank's experts and combine: what stands for the MLP of a layer.

    Args:
        model: with experts.
        split: of the microbatch.
        activation: the non-linearity on the tokens of ``routed_split``.
    """
    routed = routed_split(model, split)
    hidden, width = model.hidden_size, model.expert_ffn_hidden_size
    enter = (mlp_matrices(model) - 1) * width
    experts = (
        column_linear("experts_in", routed, inputs=hidden, outputs=enter, after_norm=False)
        + activation
        + row_linear("experts_out", routed, inputs=width, outputs=hidden)
    )
    groups = model.num_experts / split.ep
    return (
        _router(model, split)
        + _permutes("dispatch", "permute", routed, hidden)
        + _exchange("dispatch", routed, hidden)
        + _grouped(experts, groups)
        + _exchange("combine", routed, hidden)
        + _permutes("combine", "unpermute", routed, hidden)
    )


def routed_split(model: TransformerConfig, split: Split) -> Split:
    """The tokens that this rank's experts see: k times its own, times the capacity factor.

    As many as it sends away come from the other ranks of its group. Experts that are cut over tp
    see those of all its ranks.
    """
    visits = model.top_k * split.capacity_factor
    if split.cuts_experts:
        return replace(split, micro_batch=split.micro_batch * visits)
    own = split.local_tokens / split.seq_length
    return replace(
        split, micro_batch=own * visits, tp=1, tensor_parallel=False, sequence_parallel=False
    )


def _router(model: TransformerConfig, split: Split) -> Block:
    """Scores of the experts and the choice of k; on the tokens that the rank holds, not cut by tp.

    Source: NVIDIA/Megatron-LM, core/transformer/moe/router.py.
    """
    own = replace(split, micro_batch=split.local_tokens / split.seq_length, quantises=False)
    product, dgrad, wgrad = three_products("router", own, model.hidden_size, model.num_experts)
    scores = split.local_tokens * model.num_experts
    choice = Elementwise("router.choice", "router", scores)
    return Block((product, choice), (replace(choice, backward=True), dgrad, wgrad))


def _permutes(name: str, family: str, routed: Split, hidden: int) -> Block:
    """Tokens sorted by expert before the exchange, or put back and summed after it."""
    elements = routed.local_tokens * hidden
    kernel = Elementwise(f"{name}.{family}", family, elements)
    return Block((kernel,), (replace(kernel, backward=True),))


def _exchange(name: str, routed: Split, hidden: int) -> Block:
    """An all-to-all over the expert group, and the copy into or out of the order of local experts.

    Nothing where the group has one rank.
    """
    if not routed.expert_parallel:
        return Block((), ())
    elements = routed.local_tokens * hidden
    payload = elements * routed.element_bytes
    exchange = Collective(f"{name}.all_to_all", "all_to_all", payload, axis="ep")
    sort = Elementwise(f"{name}.sort", "copy", elements)
    return Block((exchange, sort), (exchange, replace(sort, backward=True)))


def _grouped(block: Block, groups: Numeric) -> Block:
    """The products of a block over all tokens as one product per expert over its share of them."""

    def share(kernel: Kernel) -> Kernel:
        match kernel:
            case Matmul(accumulates=True):
                return replace(kernel, k=kernel.k / groups, batch=groups)
            case Matmul():
                return replace(kernel, m=kernel.m / groups, batch=groups)
            case Overlapped(compute=product):
                shared = share(product)
                return replace(kernel, compute=shared) if isinstance(shared, Matmul) else kernel
            case _:
                return kernel

    return Block(tuple(map(share, block.forward)), tuple(map(share, block.backward)))
