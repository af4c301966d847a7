"""Batch sizes of a scenario: numbers, or ``auto_fit`` for the largest microbatch that fits."""

from __future__ import annotations

from typing import Annotated, Protocol

from pydantic import Field, Strict, ValidatorFunctionWrapHandler, WrapValidator

from simulator.batch_policy import AUTO_FIT, AutoFit, AutoFitWord
from simulator.errors import PlanError
from simulator.spec.quantity import Count, Fraction
from simulator.spec.validate import Spec


def _or_auto_fit(value: object, number: ValidatorFunctionWrapHandler) -> object:
    return AUTO_FIT if value == AUTO_FIT else number(value)


Samples = Annotated[int, Strict(), Field(ge=1, le=10**9)]
SamplesOrFit = Annotated[
    Samples, WrapValidator(_or_auto_fit, json_schema_input_type=Samples | AutoFitWord)
]
"""A number of sequences, or ``auto_fit``; ``number_in`` tells them apart."""


class AutoFitSpec(Spec):
    """How ``auto_fit`` chooses: in steps of ``multiple_of``, filling ``memory_share`` at most."""

    multiple_of: Count = 1
    memory_share: Fraction = 1.0


class BatchSpec(Protocol):
    """The keys of ``training`` that say how large a batch is."""

    @property
    def global_batch_size(self) -> object:
        """Sequences per step, or ``auto_fit``."""
        ...

    @property
    def micro_batch_size(self) -> object:
        """Sequences of a microbatch, or ``auto_fit``."""
        ...

    @property
    def num_microbatches(self) -> int | None:
        """Microbatches per replica, where the global batch follows from them."""
        ...

    @property
    def auto_fit(self) -> AutoFitSpec | None:
        """How the microbatch is fitted."""
        ...


def number_in(value: object) -> int | None:
    """The number that was given, None for ``auto_fit``."""
    return value if isinstance(value, int) else None


def batch_sizes(spec: BatchSpec, dp: int) -> tuple[int, int, AutoFit | None]:
    """Global batch and microbatch, and how they are to be fitted.

    A global batch of ``auto_fit`` is dp * num_microbatches * micro_batch_size, one microbatch when
    their number is not given. A microbatch of ``auto_fit`` is provisional until it is fitted.

    Raises:
        PlanError: if keys are given that say nothing beside the others.
    """
    given, micro = number_in(spec.global_batch_size), number_in(spec.micro_batch_size)
    if spec.num_microbatches is not None and given is not None:
        raise PlanError(
            f"num_microbatches {spec.num_microbatches} beside global_batch_size {given}, "
            "from which it follows",
            where="training.num_microbatches",
            hint="leave it out, or set global_batch_size: auto_fit",
        )
    if spec.auto_fit is not None and micro is not None:
        raise PlanError(
            f"auto_fit has no meaning with micro_batch_size {micro}",
            where="training.auto_fit",
            hint="set micro_batch_size: auto_fit, or leave auto_fit out",
        )
    count = spec.num_microbatches or 1
    how = spec.auto_fit or AutoFitSpec()
    size = micro or (how.multiple_of if given is None else 1)
    batch = dp * count * size if given is None else given
    if micro is not None:
        return batch, micro, None
    growing = count if given is None else None
    return batch, size, AutoFit(growing, how.multiple_of, how.memory_share)
