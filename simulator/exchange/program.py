"""What a policy adds to the steps of one worker: contracts between policies and the unrolled graph.

An ``InnerStep`` is one step of a worker by itself. A ``Program`` says what leaves after which step
of a period, what that takes, and when it is waited for.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InnerStep:
    """One step of a worker, as far as exchanges can begin or be waited for inside it.

    Attributes:
        num_layers: equal parts of the first forward and of the last backward.
        forward_s: of the first microbatch.
        middle_s: from there to the last microbatch's backward.
        backward_s: of the last microbatch.
        tail_s: from there to the end: reductions inside the worker, optimizer.
    """

    num_layers: int
    forward_s: float
    middle_s: float
    backward_s: float
    tail_s: float

    @property
    def seconds(self) -> float:
        """The whole step."""
        return self.forward_s + self.middle_s + self.backward_s + self.tail_s

    @classmethod
    def of_compute(cls, seconds: float, num_layers: int) -> InnerStep:
        """A step of one microbatch that only computes: a third forward, two thirds backward.

        Source: 2 of 6 FLOPs per parameter and token are those of the forward (Kaplan et al. 2020,
            arXiv 2001.08361, section 2.1).
        """
        return cls(num_layers, seconds / 3, 0.0, 2 * seconds / 3, 0.0)


@dataclass(frozen=True, slots=True)
class Transfer:
    """One exchange among all workers, once per period.

    Attributes:
        step: of the period, from 0, in which it leaves.
        layers: whose weights it holds; they pass one after the other where exchanges are by layer.
        link_s: on the wire.
        before_s: kernels of the device before it leaves.
        after_s: kernels of the device when it has come: unpacking, the outer optimizer.
        overlap_steps: whole steps that pass before it is waited for.
        sent_bytes: that leave one node, or one site.
    """

    step: int
    layers: tuple[int, ...]
    link_s: float
    before_s: float = 0.0
    after_s: float = 0.0
    overlap_steps: int = 0
    sent_bytes: float = 0.0


@dataclass(frozen=True, slots=True)
class Program:
    """Everything that workers exchange in a period.

    Attributes:
        period: steps after which it repeats.
        transfers: in any order; those of one step leave in this order.
        by_layer: see ``Exchange.by_layer``.
    """

    period: int
    transfers: tuple[Transfer, ...]
    by_layer: bool = False
