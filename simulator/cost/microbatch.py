"""How a microbatch lies on the ranks, and the rows of the tables of what it holds."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.machine import BYTES_PER_ELEMENT
from simulator.numeric import Numeric


@dataclass(frozen=True, slots=True)
class MicrobatchShape:
    """How one microbatch lies on the ranks.

    Attributes:
        micro_batch_size: sequences b.
        seq_length: tokens of a sequence s, before context parallelism.
        tp: tensor-parallel degree t.
        cp: context-parallel degree; every rank holds s / cp tokens.
        sequence_parallel: norms and dropouts are divided over ``tp``, too.
        precision: a key of ``BYTES_PER_ELEMENT``.
        recasts: fp8 linears hold their 16-bit input, and cast it again in the backward.
        capacity_factor: tokens that an expert computes over its even share.
        cuts_experts: experts are cut over tp, so that each sees the tokens of all its ranks.
        kept: (name of a row, share of it that is kept), where weights are frozen or tokens sampled.
        adapter_width: sum of the ranks of a layer's adapters, which hold x A.
    """

    micro_batch_size: Numeric
    seq_length: Numeric
    tp: Numeric
    cp: Numeric
    sequence_parallel: bool
    precision: str
    recasts: bool = False
    capacity_factor: float = 1.0
    cuts_experts: bool = True
    kept: tuple[tuple[str, float], ...] = ()
    adapter_width: int = 0

    @property
    def tokens(self) -> Numeric:
        """Tokens on one rank: s b / cp."""
        return self.micro_batch_size * self.seq_length / self.cp

    @property
    def norm_tokens(self) -> Numeric:
        """Tokens whose norms and dropouts are on one rank: divided by t with sequence parallel."""
        return self.tokens / self.tp if self.sequence_parallel else self.tokens

    @property
    def element_bytes(self) -> float:
        """Bytes of one element of a held tensor; fp8 training holds most of them in bf16."""
        return 2.0 if self.precision == "fp8" else BYTES_PER_ELEMENT[self.precision]

    @property
    def linear_input_bytes(self) -> float:
        """Bytes of one element of a linear's input, held for its weight gradient."""
        return self.element_bytes if self.recasts else BYTES_PER_ELEMENT[self.precision]


@dataclass(frozen=True, slots=True)
class ActivationItem:
    """One tensor of a layer.

    Attributes:
        name: for example ``attention.softmax``.
        bytes: on one rank and microbatch.
        in_core: part of the attention core, which selective recomputation computes again.
        elementwise: made from other rows without a product of matrices.
    """

    name: str
    bytes: Numeric
    in_core: bool = False
    elementwise: bool = False


def total_bytes(items: tuple[ActivationItem, ...]) -> Numeric:
    """Sum of the rows."""
    total: Numeric = 0.0
    for item in items:
        total = total + item.bytes
    return total
