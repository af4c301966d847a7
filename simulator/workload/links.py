"""Links of the communicators that a step uses outside its layers."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.machine import GroupLink, PathLink


@dataclass(frozen=True, slots=True)
class Links:
    """Links of the communicators outside the layers.

    Attributes:
        shard, replica: data-parallel groups that share, and that hold copies of, a shard.
        ends: path between first and last pipeline rank (tied embeddings), None without pipeline.
        experts: link of the ranks that hold the same experts, None where all ranks do.
    """

    shard: GroupLink
    replica: GroupLink
    ends: PathLink | None
    experts: GroupLink | None = None
