"""What data parallelism shards, over which ranks, and what travels when: one row per policy.

A policy names a *level* for each of weights, gradients and optimizer states: the ranks over which
that state is divided.

| level | ranks |
| --- | --- |
| ``rank`` | one: the state is whole on every rank |
| ``pair`` | those joined by the fastest links of a node, such as the two dies of an MI250X |
| ``node`` | those of a node |
| ``global`` | all data-parallel ranks, or ``plan.shard_group_size`` of them |

Source: ZeRO (arXiv 1910.02054, section 5): stages 1, 2, 3 shard optimizer states, gradients and
parameters over the data-parallel group; volumes 2, 2, 2 and 3 elements per parameter. The other
rows name their own source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from simulator.numeric import Numeric

GatherMoment = Literal["never", "after_step", "before_use"]
ReduceKind = Literal["all_reduce", "reduce_scatter"]
Level = Literal["rank", "pair", "node", "global"]

LEVELS: Final[tuple[Level, ...]] = ("rank", "pair", "node", "global")
"""From the fewest ranks to the most."""


@dataclass(frozen=True, slots=True)
class Wire:
    """Integers instead of floats on the wire, with a scale for every block of elements.

    Attributes:
        bits: of one element.
        block: elements that share a scale.
        scale_bytes: of one scale.
    """

    bits: int
    block: int
    scale_bytes: float = 4.0

    @property
    def element_bytes(self) -> float:
        """Bytes that travel per element, its part of the scale included."""
        return self.bits / 8 + self.scale_bytes / self.block


@dataclass(frozen=True, slots=True)
class ShardingPolicy:
    """One way to spread model states over a data-parallel group.

    Attributes:
        weights, gradients, optimizer: level over which each state is divided; every one at most
            that of the next.
        gather: when weights are all-gathered: never, once after the optimizer step, or before
            each use in forward and backward of every microbatch.
        reduce: how gradients are reduced over their group.
        reduce_every_microbatch: gradients leave the device after every microbatch (they are
            sharded, so they cannot be accumulated in full).
        across_once: what lies between the ranks that share gradients and all data-parallel ranks
            is reduced once per step, not with every reduction.
        secondary: level of a second copy of the weights, from which the backward gathers.
        forward_wire, backward_wire: integers in the gathers before use; None for plain weights.
        refresh_wire: integers when updated weights travel to the ranks that keep them.
        reduce_wire: integers in the reduction, which is then an all-to-all of shards that every
            rank adds up itself: first inside the node, then between nodes.
    """

    name: str
    weights: Level
    gradients: Level
    optimizer: Level
    gather: GatherMoment
    reduce: ReduceKind
    reduce_every_microbatch: bool
    across_once: bool = False
    secondary: Level | None = None
    forward_wire: Wire | None = None
    backward_wire: Wire | None = None
    refresh_wire: Wire | None = None
    reduce_wire: Wire | None = None

    @property
    def shard_weights(self) -> bool:
        """Whether weights are divided at all."""
        return self.weights != "rank"

    @property
    def shard_gradients(self) -> bool:
        """Whether gradients are divided at all."""
        return self.gradients != "rank"

    @property
    def shard_optimizer(self) -> bool:
        """Whether optimizer states are divided at all."""
        return self.optimizer != "rank"

    @property
    def levels(self) -> tuple[Level, ...]:
        """Every level the policy divides over, each once."""
        used = (self.weights, self.gradients, self.optimizer, self.secondary or "rank")
        return tuple(level for level in LEVELS if level in used and level != "rank")

    @property
    def is_classic(self) -> bool:
        """Whether it has one group, one copy and plain numbers, as the stages of ZeRO do."""
        wires = (self.forward_wire, self.backward_wire, self.refresh_wire, self.reduce_wire)
        return set(self.levels) <= {"global"} and not self.across_once and not any(wires)


@dataclass(frozen=True, slots=True)
class ShardSizes:
    """Ranks over which each state is divided; ``secondary`` is 0 without a second copy."""

    weights: Numeric
    gradients: Numeric
    optimizer: Numeric
    secondary: Numeric = 0.0


INT8: Final = Wire(bits=8, block=8000)
"""Weights of qwZ. Source: DeepSpeed, runtime/zero/partition_parameters.py, ``CUDAQuantizer``: 8
bits, symmetric, blocks of at most 8,000 elements."""
INT4: Final = Wire(bits=4, block=4096)
"""Gradients of qgZ. Source: DeepSpeed, runtime/comm/coalesced_collectives.py,
``all_to_all_quant_reduce``: 4 bits, symmetric, as many blocks as a matrix is wide; 4,096 stands for
the other side of the matrix."""


def _after_step(name: str, gradients: Level, *, every: bool) -> ShardingPolicy:
    return ShardingPolicy(name, "rank", gradients, "global", "after_step", "reduce_scatter", every)


def _before_use(
    name: str,
    weights: Level = "global",
    gradients: Level = "global",
    *,
    across_once: bool = False,
    secondary: Level | None = None,
    weight_wire: Wire | None = None,
    reduce_wire: Wire | None = None,
) -> ShardingPolicy:
    return ShardingPolicy(
        name,
        weights,
        gradients,
        "global",
        "before_use",
        "reduce_scatter",
        reduce_every_microbatch=True,
        across_once=across_once,
        secondary=secondary,
        forward_wire=weight_wire,
        backward_wire=weight_wire,
        refresh_wire=weight_wire,
        reduce_wire=reduce_wire,
    )


SHARDING: Final[Mapping[str, ShardingPolicy]] = {
    "ddp": ShardingPolicy("ddp", "rank", "rank", "rank", "never", "all_reduce", False),
    "zero1": _after_step("zero1", "rank", every=False),
    "zero2": _after_step("zero2", "global", every=True),
    "zero3": _before_use("zero3"),
    # MiCS (arXiv 2205.00119), section 3.4: shards in a group, which synchronises with the other
    # groups at the boundary of gradient accumulation only.
    "mics": _before_use("mics", across_once=True),
    # ZeRO++ (arXiv 2306.10209) and each of its parts alone.
    "zero3-qwz": _before_use("zero3-qwz", weight_wire=INT8),
    "zero3-hpz": _before_use("zero3-hpz", secondary="node"),
    "zero3-qgz": _before_use("zero3-qgz", reduce_wire=INT4),
    "zero++": _before_use("zero++", secondary="node", weight_wire=INT8, reduce_wire=INT4),
    # Xu et al. 2025 (arXiv 2501.04266): three levels, with the quantised collectives of ZeRO++.
    "zero-topo": _before_use(
        "zero-topo",
        "pair",
        "node",
        across_once=True,
        weight_wire=INT8,
        reduce_wire=INT4,
    ),
}
"""All policies. ``fsdp`` is ``zero3``; HSDP is ``zero3`` with ``plan.shard_group_size`` set."""

SHARDING_ALIASES: Final[Mapping[str, str]] = {
    "fsdp": "zero3",
    "hsdp": "zero3",
    "none": "ddp",
    "zeropp": "zero++",
    "three-level": "zero-topo",
}
"""Other names. ``hsdp`` and ``mics`` divide by the ranks of a node unless told otherwise."""

GROUPED: Final = ("hsdp", "mics")
"""Names whose ``shard_group_size`` is by default that of a node."""


def described(policy: ShardingPolicy) -> str:
    """A policy in one line: what is divided over what, when it is gathered, what is quantised."""
    states = (
        ("weights", policy.weights),
        ("gradients", policy.gradients),
        ("optimizer states", policy.optimizer),
    )
    parts = [
        f"{' and '.join(one for one, where in states if where == level)} over {_RANKS[level]}"
        for level in policy.levels
        if any(where == level for _, where in states)
    ]
    parts = parts or ["nothing divided"]
    if policy.secondary is not None:
        parts.append(f"backward gathers from a copy over {_RANKS[policy.secondary]}")
    for what, wire in (("weights", policy.forward_wire), ("gradients", policy.reduce_wire)):
        if wire is not None:
            parts.append(f"{what} travel in int{wire.bits}")
    if policy.across_once:
        parts.append("reduced between groups once per step")
    return ", ".join(parts)


_RANKS: Final[Mapping[Level, str]] = {
    "rank": "one rank",
    "pair": "a pair",
    "node": "a node",
    "global": "all ranks",
}
