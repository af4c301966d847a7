"""A software stack: which kernels it runs and the few scalars that only end-to-end runs tell."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.machine import Assumption
from simulator.numeric import Numeric
from simulator.plan import AttentionKernel
from simulator.uncertainty import Uncertainty


@dataclass(frozen=True, slots=True)
class Stack:
    """One training framework of one era.

    Attributes:
        attention: attention kernel it runs.
        fused_softmax: scale, mask and softmax in one kernel (only without flash attention).
        fused_bias_gelu: bias and activation in one kernel.
        fused_norm: one-pass normalisation kernels.
        fused_bias_dropout_add: bias, dropout and residual in one kernel.
        dropout: hidden and attention dropout are on.
        fused_cross_entropy: logits are not kept in fp32 beside their fp16 form.
        gemm_scale: measured GEMM time over that of the accelerator's curve (kappa_gemm).
        memory_scale: the same for memory-bound kernels.
        attention_scale: the same for fused attention.
        layer_overhead_s: host time to launch the kernels of one layer in one pass; exposed where
            it exceeds the device's time.
        microbatch_overhead_s: per stage, phase and microbatch.
        step_overhead_s: per step: data loading, gradient norm, logging, scaler.
        blocking_p2p_scale: factor on the transfer time of blocking pipeline sends.
        network_scale: achieved over modelled speed of inter-node data-parallel collectives.
        backward_tp_overlap: in the backward of a column linear, the all-reduce or reduce-scatter
            hides behind the weight gradient, and with sequence parallelism the all-gather behind
            the input gradient (Korthikanti et al. 2022, section 4.2.2).
        overlap_dp, overlap_tp, overlap_pp: defaults of the plan's switches.
        framework_bytes: device context, libraries and workspaces.
        communicator_bytes: buffers of one communicator.
        fused_rotary: rotary embedding in one kernel.
        partition_activations: the checkpoint of a fully recomputed layer is cut over tp and
            all-gathered before use (ZeRO-R's P_a, arXiv 1910.02054 section 6.1).
        fragmentation: share of allocated bytes lost in the allocator.
        gradient_bytes, gradient_reduce_bytes: dtype of accumulated gradients and on the wire.
        optimizer_bytes_per_parameter: bytes its optimizer kernel moves per parameter.
        uncertainty: how far its predictions may be off; None if nothing is known.

    The scalars that are fitted may be columns of a batch, so that many values of them are tried
    at once (``calibrate/predict.py``).
    """

    name: str
    framework: str
    attention: AttentionKernel
    fused_softmax: bool
    fused_bias_gelu: bool
    fused_norm: bool
    fused_bias_dropout_add: bool
    dropout: bool
    fused_cross_entropy: bool
    gemm_scale: Numeric
    memory_scale: Numeric
    attention_scale: Numeric
    layer_overhead_s: Numeric
    microbatch_overhead_s: Numeric
    step_overhead_s: Numeric
    blocking_p2p_scale: Numeric
    network_scale: Numeric
    backward_tp_overlap: bool
    overlap_dp: bool
    overlap_tp: bool
    overlap_pp: bool
    framework_bytes: float
    communicator_bytes: float
    fragmentation: float
    gradient_bytes: float
    gradient_reduce_bytes: float
    optimizer_bytes_per_parameter: float
    assumptions: tuple[Assumption, ...] = ()
    partition_activations: bool = False
    fused_rotary: bool = False
    uncertainty: Uncertainty | None = None
