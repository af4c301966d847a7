"""Closed forms that published figures and laws of exchanges are held against."""

from __future__ import annotations


def all_reduce_bytes(num_bytes: float, workers: int) -> float:
    """2 (n - 1) / n X: what leaves a worker for a sum of X bytes over n workers."""
    return 2 * (workers - 1) / workers * num_bytes


def one_bit_node_bytes(parameters: float, ranks: int, per_node: int) -> float:
    """What leaves a node's NICs for one exchange of packed signs, of N ranks, g of them per node.

    X / 8 [g (N - g) / N + (N - 1) / N]: an all-to-all sends from every rank, a ring once per node.
    """
    to_servers = per_node * (ranks - per_node) / ranks
    from_servers = (ranks - 1) / ranks
    return parameters / 8 * (to_servers + from_servers)


def mean_saving(saving: float, warm_up_share: float) -> float:
    """1 / (w + (1 - w) / s): of time or of bytes, where a share w of the steps saves nothing.

    Source: microsoft/DeepSpeed, docs/_posts/2020-09-09-onebit-adam-blog-post.md.
    """
    return 1 / (warm_up_share + (1 - warm_up_share) / saving)
