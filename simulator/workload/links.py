"""Links of the communicators that a step uses outside its layers."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.machine import GroupLink, PathLink
from simulator.numeric import as_float


@dataclass(frozen=True, slots=True)
class LevelLinks:
    """Links of the groups of a policy that has more than one, or more than one copy.

    Attributes:
        forward, backward: over which weights are gathered before use.
        refresh: from shards of the optimizer states to those of the weights, after the step.
        reduce: hops of every reduction, one after the other; none where nothing is divided.
        across: hops from shards of gradients to those of the optimizer states.
    """

    forward: GroupLink
    backward: GroupLink
    refresh: GroupLink
    reduce: tuple[GroupLink, ...]
    across: tuple[GroupLink, ...]


@dataclass(frozen=True, slots=True)
class Links:
    """Links of the communicators outside the layers.

    Attributes:
        shard, replica: data-parallel groups that share, and that hold copies of, a shard.
        ends: path between first and last pipeline rank (tied embeddings), None without pipeline.
        experts: link of the ranks that hold the same experts, None where all ranks do.
        levels: None where every group is ``shard``.
        overlap_replicas: replicas exchange their gradients with every bucket; else once, after the
            backward.
    """

    shard: GroupLink
    replica: GroupLink
    ends: PathLink | None
    experts: GroupLink | None = None
    levels: LevelLinks | None = None
    overlap_replicas: bool = True


def path_label(path: PathLink) -> str:
    """Names a path by all that its cost depends on, so that other paths are other rows."""
    bandwidth, latency_s = as_float(path.bandwidth_bytes_per_s), as_float(path.latency_s)
    return f"at {bandwidth:.9g} B/s after {latency_s:.6g} s"
