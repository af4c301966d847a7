"""What a row measured: seconds of one step and bytes per device, derived where need be."""

from __future__ import annotations

import re
from typing import Final

from simulator.flops import (
    FlopsConvention,
    eight_n_flops,
    megatron_causal_flops,
    megatron_hardware_flops,
    megatron_model_flops,
    palm_flops,
    six_n_flops,
)
from simulator.model import TransformerConfig
from simulator.published.rows import PublishedRow

_CONVENTIONS: Final[tuple[tuple[str, FlopsConvention], ...]] = (
    (r"megatron96|96 ?\*? ?bs|96\*b", megatron_hardware_flops),
    (r"is causal-halved", megatron_causal_flops),
    (r"megatron72|72\*b|2205\.05198", megatron_model_flops),
    (r"6\*?n\*?s? ?\+ ?12|palm", palm_flops),
    # DeepSpeed and FSDP authors who say "hardware" count a recomputed forward pass.
    (r"hardware", megatron_hardware_flops),
    (r"^8n$", eight_n_flops),
    (r"^6n$", six_n_flops),
)
"""Words of the ``flops_convention`` column; first match wins."""

GIB: Final = 2.0**30


def convention_of(row: PublishedRow) -> FlopsConvention | None:
    """How the row counts FLOPs, None where it does not say."""
    text = row.lower("flops_convention")
    if "causal-halved" in text and "maxtext" in text:
        return None  # halved or not depends on a commit that the rows do not name
    return next((count for words, count in _CONVENTIONS if re.search(words, text)), None)


def measured_step_time_s(
    row: PublishedRow, model: TransformerConfig, global_batch_size: int, num_devices: int
) -> tuple[float | None, str]:
    """Seconds of one optimizer step, and how it was derived (empty when printed).

    In this order: the printed time, tokens/s, sequences/s, or FLOP/s per device under the
    convention that the source states. None where there is nothing to compare with.
    """
    printed = row.number("step_time_s")
    if printed is not None:
        return printed, ""
    seq_length = row.needed("seq_len")
    tokens_per_s = row.number("tokens_per_s")
    if tokens_per_s is not None:
        return global_batch_size * seq_length / tokens_per_s, "time from tokens/s"
    samples_per_s = row.number("samples_per_s")
    if samples_per_s is not None:
        return global_batch_size / samples_per_s, "time from sequences/s"
    tflops = row.number("tflops_per_gpu")
    if tflops is None:
        return None, "no measured time"
    count = convention_of(row)
    if count is None:
        return None, "no measured time: TFLOP/s without a FLOP convention"
    flops = count(model, global_batch_size, seq_length)
    name = count.__name__.removesuffix("_flops")
    return flops / (tflops * 1e12 * num_devices), f"time from TFLOP/s as {name}"


def measured_memory_bytes(row: PublishedRow) -> float | None:
    """Bytes of the peak that the row reports; its unit is GB unless it says GiB."""
    memory = row.number("memory_gb")
    if memory is None:
        return None
    return memory * (GIB if "gib" in row.lower("memory_kind") else 1e9)


def measured_fit(row: PublishedRow) -> bool | None:
    """Whether it ran: what the row says, or that a time was measured; None if unknown."""
    fits = row.number("fits")
    if fits is not None:
        return fits > 0
    columns = ("step_time_s", "tokens_per_s", "samples_per_s", "tflops_per_gpu", "memory_gb")
    return True if any(row.number(column) is not None for column in columns) else None
