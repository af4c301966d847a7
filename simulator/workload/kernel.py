"""What a device executes: a few kinds of kernel, each a frozen value with shapes.

Shapes are ``Numeric``: one kernel describes one plan or a column of plans. Element sizes are
bytes. ``workload/layers.py`` makes kernels, ``workload/price.py`` gives them seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from simulator.cost.attention import AttentionShape
from simulator.cost.collective import CollectiveKind
from simulator.numeric import Numeric
from simulator.tp_overlap import TpOverlap

WIDEST_LOAD_BYTES: Final = 16
"""What a thread loads at once, and tensor-core kernels count on.

Source: NVIDIA, CUDA C++ Programming Guide, "Device Memory Accesses"; cuBLAS documentation,
    "Tensor Core Usage".
"""


def word_bytes(row_bytes: Numeric) -> Numeric:
    """Largest power of two, up to 16, that divides the bytes of a row.

    A row of 50,257 numbers of 2 bytes starts at multiples of 2 bytes only, one of 50,304 at 16.

    Assumes: rows are whole bytes; of a fractional size, which a plan may split a layer into, the
        whole part counts.
    """
    return np.gcd(np.asarray(row_bytes, dtype=np.int64), WIDEST_LOAD_BYTES)


@dataclass(frozen=True, slots=True)
class Matmul:
    """``batch`` products of [m, k] by [k, n]: 2 m n k batch FLOPs.

    Attributes:
        accumulates: the result is added to an fp32 tensor (weight gradients).
        in_core: a product between activations, inside the attention core.
        word_bytes: what one load of its operands can take, 16 at best: the power of two at whose
            multiples their rows start.
        quantised: its operands were cast to fp8; other products stay in 16 bits in fp8 training.
    """

    name: str
    m: Numeric
    n: Numeric
    k: Numeric
    batch: Numeric = 1.0
    accumulates: bool = False
    in_core: bool = False
    word_bytes: Numeric = WIDEST_LOAD_BYTES
    quantised: bool = False


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
        how: the reduction of the product's own result leaves it chunk by chunk, as this says;
            ``chunks`` then has no meaning.
    """

    collective: Collective
    compute: Matmul
    chunks: int = 1
    how: TpOverlap | None = None


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
