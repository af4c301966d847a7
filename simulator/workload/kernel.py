"""What a device executes: a few kinds of kernel, each a frozen value with shapes.

Shapes are ``Numeric``: one kernel describes one plan or a column of plans. Element sizes are
bytes. ``workload/layers.py`` makes kernels, ``workload/price.py`` gives them seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from simulator.cost.attention import AttentionShape
from simulator.cost.collective import CollectiveKind
from simulator.numeric import Numeric


@dataclass(frozen=True, slots=True)
class Matmul:
    """``batch`` products of [m, k] by [k, n]: 2 m n k batch FLOPs.

    Attributes:
        accumulates: the result is added to an fp32 tensor (weight gradients).
        in_core: a product between activations, inside the attention core.
        aligned: its operands' rows start at multiples of 16 bytes, as tensor cores are fed.
    """

    name: str
    m: Numeric
    n: Numeric
    k: Numeric
    batch: Numeric = 1.0
    accumulates: bool = False
    in_core: bool = False
    aligned: bool = True


@dataclass(frozen=True, slots=True)
class FusedAttention:
    """One flash-attention kernel over the sequences and heads of the device."""

    name: str
    shape: AttentionShape
    backward: bool


@dataclass(frozen=True, slots=True)
class Elementwise:
    """A memory-bound kernel over ``elements`` elements; ``family`` is a row of its cost table."""

    name: str
    family: str
    elements: Numeric
    backward: bool = False


@dataclass(frozen=True, slots=True)
class Collective:
    """A collective over the group of one axis; payload as nccl-tests counts it (whole tensor)."""

    name: str
    kind: CollectiveKind
    payload_bytes: Numeric
    axis: str = "tp"


@dataclass(frozen=True, slots=True)
class Overlapped:
    """A collective that runs beside a matrix product on which it does not wait.

    Attributes:
        chunks: pieces the two are cut into when one feeds the other (Wang et al. 2023); 1 when
            they are independent.
    """

    collective: Collective
    compute: Matmul
    chunks: int = 1


Kernel: TypeAlias = Matmul | FusedAttention | Elementwise | Collective | Overlapped


@dataclass(frozen=True, slots=True)
class Block:
    """Kernels of one part of a layer.

    Attributes:
        forward, backward: kernels in the order they run.
        core: the part of ``forward`` that selective recomputation runs again.
    """

    forward: tuple[Kernel, ...]
    backward: tuple[Kernel, ...]
    core: tuple[Kernel, ...] = ()

    def __add__(self, other: Block) -> Block:
        """Both blocks, the other one after this one in the forward pass."""
        return Block(
            self.forward + other.forward,
            other.backward + self.backward,
            self.core + other.core,
        )
