"""What data parallelism shards and when it communicates: one row per policy.

Source: ZeRO (arXiv 1910.02054, section 5): stages 1, 2, 3 shard optimizer states, gradients and
parameters over the data-parallel group; volumes 2, 2, 2 and 3 elements per parameter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

GatherMoment = Literal["never", "after_step", "before_use"]
ReduceKind = Literal["all_reduce", "reduce_scatter"]


@dataclass(frozen=True, slots=True)
class ShardingPolicy:
    """One way to spread model states over a data-parallel group.

    Attributes:
        shard_weights, shard_gradients, shard_optimizer: divided by the shard group's size.
        gather: when weights are all-gathered: never, once after the optimizer step, or before
            each use in forward and backward of every microbatch.
        reduce: how gradients are reduced over the shard group.
        reduce_every_microbatch: gradients leave the device after every microbatch (they are
            sharded, so they cannot be accumulated in full).
    """

    name: str
    shard_weights: bool
    shard_gradients: bool
    shard_optimizer: bool
    gather: GatherMoment
    reduce: ReduceKind
    reduce_every_microbatch: bool


SHARDING: Final[Mapping[str, ShardingPolicy]] = {
    "ddp": ShardingPolicy("ddp", False, False, False, "never", "all_reduce", False),
    "zero1": ShardingPolicy("zero1", False, False, True, "after_step", "reduce_scatter", False),
    "zero2": ShardingPolicy("zero2", False, True, True, "after_step", "reduce_scatter", True),
    "zero3": ShardingPolicy("zero3", True, True, True, "before_use", "reduce_scatter", True),
}
"""All policies. ``fsdp`` is ``zero3``; HSDP is ``zero3`` with ``plan.shard_group_size`` set."""

SHARDING_ALIASES: Final[Mapping[str, str]] = {"fsdp": "zero3", "hsdp": "zero3", "none": "ddp"}
