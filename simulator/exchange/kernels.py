"""Bytes that kernels around exchanges read and write, per parameter, counted from their sources."""

from __future__ import annotations

from typing import Final

from simulator.cost.memory_bound import memory_bound_s
from simulator.exchange.setting import Setting
from simulator.numeric import as_float

DELTA_BYTES: Final = 8.0
"""Outer and inner parameter, read; the difference leaves in the numbers of the wire.

Source: DiLoCo (arXiv 2311.08105), algorithm 1, line 12.
"""
NESTEROV_BYTES: Final = 26.0
"""Outer parameter and momentum read and written, the mean difference read, the parameter written
in fp32 and in 16 bits: 8 + 8 + 4 + 6. Source: DiLoCo (arXiv 2311.08105), algorithm 1, line 14."""
CO2_OUTER_BYTES: Final = 58.0
"""Momentum scaled 8, minus parameters 12, plus old ones 12; old ones step 12; copied back 8 and to
16 bits 6. Source: weigao266/fairscale-CO2, gossip/co2.py, ``_perform_local_optimization``."""

_SIGN: Final = 8.0 + 8.0 + 5.0
"""sign, add 1, to bool: in fp32."""
_FROM_SIGN: Final = 5.0 + 8.0 + 8.0
"""bool or byte to fp32, minus a half, times two."""
ONE_BIT_PACK_BYTES: Final = 12.0 + 4.0 + _SIGN + _FROM_SIGN + 8.0 + 12.0 + _SIGN + 1.25 + 0.25
"""Error added 12, norm 4; new error: signs and back, times the scale 8, subtracted 12; signs
packed, stacked. Source: microsoft/DeepSpeed, runtime/comm/nccl.py, ``compressed_allreduce``."""
ONE_BIT_SERVER_BYTES: Final = 1.125 + _FROM_SIGN + 8.0 + 4.0
"""Unpacked, times the scales, summed over workers: each of n workers does 1 / n of n copies."""
ONE_BIT_CHUNK_BYTES: Final = ONE_BIT_PACK_BYTES
"""The same as packing, of the own 1 / n of the mean."""
ONE_BIT_UNPACK_BYTES: Final = 0.25 + 1.125 + _FROM_SIGN + 8.0 + 8.0
"""Stacked, unpacked, times the scales, copied back."""
EAGER_MOMENTUM_BYTES: Final = 20.0
"""Momentum scaled 8, gradient added 12, before it is packed. Source: microsoft/DeepSpeed,
runtime/fp16/onebit/adam.py."""

FEEDBACK_BYTES: Final = 24.0
"""Error added to the gradient 12, and what was not sent subtracted 12, both in fp32."""
RADIX_PASSES: Final = 5.0
"""Times that a selection of the k largest reads its input: 4 digits of 8 bits, and the gathering.

Source: PyTorch, aten/src/ATen/native/cuda/TensorTopK.cu (radix select).
"""


def kernel_s(setting: Setting, num_bytes: float, kind: str = "copy") -> float:
    """Seconds in which a rank moves so many bytes over its DRAM.

    Assumes: on buffers so large that launches do not count, as frameworks flatten gradients. A
        stack's ``memory_scale`` stands for eager kernels that counts of bytes leave out; here they
        are counted one by one.
    """
    return as_float(memory_bound_s(num_bytes, kind, setting.between.context.accelerator))
