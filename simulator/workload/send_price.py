"""Time of a transfer between pipeline stages."""

from __future__ import annotations

from simulator.cost.collective import collective_s
from simulator.cost.transfer import p2p_s
from simulator.machine import GroupLink, PathLink
from simulator.model import TransformerConfig
from simulator.numeric import Numeric
from simulator.workload.linear import Split


def send_s(split: Split, model: TransformerConfig, path: PathLink, tp: GroupLink) -> Numeric:
    """Transfer of a microbatch's activations, or their gradients, to the next stage.

    Every tensor-parallel rank sends its 1/tp; without sequence parallelism the receivers then
    all-gather the whole inside the node.

    Args:
        split: of the microbatch.
        model: for its width.
        path: between the two ranks.
        tp: link of the tensor-parallel group.

    Source: Narayanan et al. 2021 (arXiv 2104.04473) section 4.1, scatter/gather.
    """
    whole = split.tokens * model.hidden_size * split.element_bytes
    seconds = p2p_s(whole / split.tp, path)
    if split.tensor_parallel and not split.sequence_parallel:
        seconds = seconds + collective_s("all_gather", whole, tp)
    return seconds
