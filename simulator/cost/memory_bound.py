"""Memory-bound kernels: time is bytes moved over a measured fraction of DRAM bandwidth.

Bytes are counted from what each kernel must read and write (``FAMILIES``); how close a kind of
kernel comes to DRAM bandwidth is measured per accelerator (``MemoryCurve.fraction``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.machine import Accelerator
from simulator.numeric import Numeric

CURVE_KEYS: Final = (
    "add",
    "gelu",
    "layernorm",
    "softmax",
    "dropout",
    "cross_entropy",
    "copy",
    "adam",
    "swiglu",
    "rmsnorm",
)
"""Keys of ``MemoryCurve.fraction``: the kinds of kernels that are measured."""


@dataclass(frozen=True, slots=True)
class KernelFamily:
    """What a kernel, or an unfused sequence of kernels, moves per element it works on.

    Attributes:
        curve: which measured bandwidth fraction applies, one of ``CURVE_KEYS``.
        forward_elements, backward_elements: activations read plus written, in their own dtype.
        forward_fixed_bytes, backward_fixed_bytes: bytes that do not depend on that dtype (dropout
            masks, fp32 intermediates).
        forward_kernels, backward_kernels: launches.
        source: where the counts come from.
    """

    curve: str
    forward_elements: float
    backward_elements: float
    forward_fixed_bytes: float
    backward_fixed_bytes: float
    forward_kernels: int
    backward_kernels: int
    source: str


_ATEN: Final = "PyTorch, aten/src/ATen/native/cuda"
_MEGATRON: Final = "NVIDIA/Megatron-LM, megatron/core/fusions"

FAMILIES: Final[Mapping[str, KernelFamily]] = {
    # element: of the normalised tensor. Eager backward reads x and dy again for the parameters.
    "layernorm_eager": KernelFamily("layernorm", 2, 5, 0, 0, 1, 2, f"{_ATEN}/layer_norm_kernel.cu"),
    "layernorm_fused": KernelFamily("layernorm", 2, 3, 0, 0, 1, 1, "NVIDIA/apex, fast_layer_norm"),
    # to fp32, square, mean, scale, to half, weight; as separate kernels with fp32 between them
    "rmsnorm_eager": KernelFamily(
        "add", 4, 6, 28, 52, 6, 9, "huggingface/transformers, modeling_llama.py"
    ),
    "rmsnorm_fused": KernelFamily("rmsnorm", 2, 3, 0, 0, 1, 1, "NVIDIA/TransformerEngine, rmsnorm"),
    # element: of the [heads, s, s] scores
    "softmax_fused": KernelFamily(
        "softmax", 2, 3, 0, 0, 1, 1, f"{_MEGATRON}/fused_softmax.py (scale, mask and softmax)"
    ),
    # scale 2, masked fill 2 and a mask byte, softmax 2. Backward of softmax reads both inputs
    # twice on long rows: measured 2.6-2.9 times its forward (sitar-lab/NeuSight labels), so 5.3.
    "softmax_eager": KernelFamily("softmax", 6, 9.3, 1, 1, 3, 3, f"{_ATEN}/SoftMax.cu"),
    # To fp32 4, scale 8, masked fill 9, softmax 8, to half 4; backward: to fp32 4, softmax 21 (as
    # above), masked fill 9, scale 8, to half 4.
    "softmax_eager_fp32": KernelFamily(
        "softmax",
        2,
        2,
        33,
        46,
        5,
        5,
        "NVIDIA/Megatron-LM@0cb36de, megatron/model/fused_softmax.py (softmax_in_fp32)",
    ),
    "dropout": KernelFamily("dropout", 2, 2, 1, 1, 1, 1, f"{_ATEN}/Dropout.cu"),
    "gelu_eager": KernelFamily("gelu", 2, 3, 0, 0, 1, 1, f"{_ATEN}/ActivationGeluKernel.cu"),
    # backward reads its result again for the bias gradient
    "bias_gelu_fused": KernelFamily("gelu", 2, 4, 0, 0, 1, 2, f"{_MEGATRON}/fused_bias_gelu.py"),
    # element: of the output, one ffn_hidden_size
    "swiglu_fused": KernelFamily("swiglu", 3, 5, 0, 0, 1, 1, f"{_MEGATRON}/fused_bias_swiglu.py"),
    "swiglu_eager": KernelFamily("add", 5, 9, 0, 0, 2, 3, f"{_ATEN} (silu, then mul)"),
    # backward adds the gradients of the two branches
    "add": KernelFamily("add", 3, 3, 0, 0, 1, 1, f"{_ATEN} (add)"),
    # backward: dropout 2, bias gradient 1, and the sum of the two branches 3
    "bias_dropout_add_fused": KernelFamily(
        "add", 3, 6, 1, 1, 1, 3, f"{_MEGATRON}/fused_bias_dropout.py"
    ),
    # element: of a weight gradient, added to the accumulated one in fp32 or in its own dtype
    "gradient_add_fp32": KernelFamily(
        "add", 1, 0, 8, 0, 1, 0, "NVIDIA/Megatron-LM@6985e589, megatron/model/distributed.py"
    ),
    "gradient_add": KernelFamily("add", 3, 0, 0, 0, 1, 0, "PyTorch, accumulate_grad.h"),
    "bias_add": KernelFamily("add", 2, 1, 0, 0, 1, 1, f"{_ATEN} (add; sum over rows)"),
    # element: one logit; named after the values of Stack.cross_entropy. To fp32, max, subtract,
    # exp, sum, divide; backward scales and casts.
    "cross_entropy_vocab_parallel": KernelFamily(
        "cross_entropy",
        1,
        1,
        36,
        12,
        6,
        2,
        "NVIDIA/Megatron-LM, megatron/core/tensor_parallel/cross_entropy.py",
    ),
    # to fp32 6, log-softmax 8; backward: scattered gradient 4, log-softmax 12, to half 6
    "cross_entropy_eager": KernelFamily(
        "cross_entropy",
        1,
        1,
        12,
        20,
        3,
        4,
        f"{_ATEN}/SoftMax.cu, NLLLoss2d.cu; cross_entropy runs in fp32 under autocast",
    ),
    # log-softmax over another dimension than the last reads thrice; its backward two tensors twice
    "cross_entropy_eager_16_bit": KernelFamily(
        "cross_entropy", 4, 6, 0, 0, 2, 3, f"{_ATEN}/SoftMax.cu (SpatialSoftMax), NLLLoss2d.cu"
    ),
    # compiled: maximum 2, exponentials 2 and 4, sum 4; backward: fp32 softmax 4, gradient 4 and 2
    "cross_entropy_vocab_parallel_jit": KernelFamily(
        "cross_entropy", 2, 1, 8, 8, 3, 2, f"{_MEGATRON}/fused_cross_entropy.py"
    ),
    # maximum and sum 2, gradient in place 4; backward scales it in place 4
    "cross_entropy_vocab_parallel_te": KernelFamily(
        "cross_entropy", 3, 2, 0, 0, 2, 1, "NVIDIA/TransformerEngine, triton/cross_entropy.py"
    ),
    "cross_entropy_fused": KernelFamily(
        "cross_entropy", 2, 2, 0, 0, 1, 1, "NVIDIA/apex, contrib/csrc/xentropy"
    ),
    # element: of the rotated queries or keys. Times cos, rotate half (negate, cat), times sin, add
    "rotary_eager": KernelFamily(
        "add", 10, 10, 0, 0, 5, 5, "huggingface/transformers, apply_rotary_pos_emb"
    ),
    "rotary_fused": KernelFamily("copy", 2, 2, 0, 0, 1, 1, "NVIDIA/TransformerEngine, fused_rope"),
    # element: of the output; backward adds rows into the gradient
    "embedding": KernelFamily("copy", 2, 3, 0, 0, 1, 1, f"{_ATEN}/Embedding.cu"),
    "copy": KernelFamily("copy", 2, 2, 0, 0, 1, 1, f"{_ATEN}/Copy.cu"),
    # element: one score of one expert. To fp32 4, softmax 8, top-k 4, mask and map 2, histogram 1;
    # backward: scattered gradient 4, softmax 12, to half 4
    "router": KernelFamily(
        "softmax", 1, 1, 19, 20, 6, 3, "NVIDIA/Megatron-LM, core/transformer/moe/router.py"
    ),
    # element: of the routed tokens, once for every expert they visit
    "permute": KernelFamily(
        "copy", 2, 2, 0, 0, 1, 1, "NVIDIA/Megatron-LM, core/transformer/moe/moe_utils.py"
    ),
    "unpermute": KernelFamily(
        "copy", 2, 2, 0, 0, 1, 1, "NVIDIA/Megatron-LM, core/transformer/moe/moe_utils.py"
    ),
    # element: one parameter. fp32 gradient read; weight and two moments read and written; half copy
    "adam_fused": KernelFamily("adam", 1, 0, 28, 0, 1, 0, "NVIDIA/apex, multi_tensor_adam.cu"),
    # to fp8, with the transposed copy that the weight gradient reads
    "quantise": KernelFamily("copy", 1, 1, 2, 2, 1, 1, "NVIDIA/TransformerEngine, cast_transpose"),
    "transpose_fp8": KernelFamily(
        "copy", 0, 0, 2, 2, 1, 1, "NVIDIA/TransformerEngine, fp8_transpose"
    ),
    # the maximum, then the cast: of an input into one layout, of a gradient into both
    "quantise_dynamic": KernelFamily(
        "copy", 2, 2, 1, 2, 2, 2, "pytorch/ao, torchao/float8/float8_linear.py"
    ),
    # the other layout of an input, whose maximum is kept
    "quantise_again": KernelFamily(
        "copy", 1, 1, 1, 1, 1, 1, "pytorch/ao, torchao/float8/float8_linear.py"
    ),
    # element: of a stored weight that is widened: 4 bits and a scale per 64, or 8 bits, read
    "dequantise_nf4": KernelFamily(
        "copy", 1, 0, 0.56, 0, 1, 0, "bitsandbytes, csrc/kernels.cu (kDequantizeBlockwise)"
    ),
    "dequantise_int8": KernelFamily(
        "copy", 1, 0, 1, 0, 1, 0, "VITA-Group/Q-GaLore, q_galore_torch (QLinear)"
    ),
    # element: of a linear's input, whose rows are sampled by their norms
    "row_norms": KernelFamily("add", 1, 0, 0, 0, 1, 0, f"{_ATEN} (norm over the last dimension)"),
}
"""Every family of memory-bound kernels. To add one: a line here."""


def moved_bytes(
    family: str, num_elements: Numeric, element_bytes: float, *, backward: bool = False
) -> Numeric:
    """Bytes a family reads and writes for ``num_elements`` elements of ``element_bytes`` each."""
    row = FAMILIES[family]
    if backward:
        return num_elements * (row.backward_elements * element_bytes + row.backward_fixed_bytes)
    return num_elements * (row.forward_elements * element_bytes + row.forward_fixed_bytes)


def memory_bound_s(
    num_bytes: Numeric, family: str, accelerator: Accelerator, num_kernels: Numeric = 1.0
) -> Numeric:
    """Time of kernels that move ``num_bytes`` in all: kernels * t0 + bytes / (fraction * BW).

    Source: fractions per accelerator from sitar-lab/NeuSight, microsoft/vidur and
        PrincetonUniversity/LLMCompass measurements, see ``hardware/accelerators``.
    Assumes: no reuse in L2. Tensors of about half the L2 run up to 1.2 times faster (vidur, add
        on A100 and H100), but there the launch weighs as much.
    Error: 7-15 % mean on the vidur tables (docs/kernels.md).
    """
    curve = accelerator.memory
    bandwidth = curve.fraction[FAMILIES[family].curve] * accelerator.memory_bandwidth_bytes_per_s
    # In a column of plans some may have nothing for a kernel to do.
    launches_s = np.where(np.asarray(num_bytes) > 0, num_kernels * curve.launch_s, 0.0)
    return launches_s + num_bytes / bandwidth


def elementwise_s(
    family: str,
    num_elements: Numeric,
    element_bytes: float,
    accelerator: Accelerator,
    *,
    backward: bool = False,
) -> Numeric:
    """Time of a family on ``num_elements`` elements, all its kernels included."""
    row = FAMILIES[family]
    num_kernels = row.backward_kernels if backward else row.forward_kernels
    num_bytes = moved_bytes(family, num_elements, element_bytes, backward=backward)
    return memory_bound_s(num_bytes, family, accelerator, num_kernels)
