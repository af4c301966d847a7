"""A software stack: which kernels it runs and the few scalars that only end-to-end runs tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from simulator.machine import Assumption
from simulator.numeric import Numeric
from simulator.plan import AttentionKernel
from simulator.uncertainty import Uncertainty

CrossEntropy = Literal[
    "vocab_parallel", "vocab_parallel_jit", "vocab_parallel_te", "eager", "eager_16_bit", "fused"
]
"""Whose loss: ``cost.output_memory.CROSS_ENTROPY`` has its tensors, ``cost.memory_bound.FAMILIES``
its kernels, as ``cross_entropy_<name>``."""


@dataclass(frozen=True, slots=True)
class Stack:
    """One training framework of one era.

    Attributes:
        attention: attention kernel it runs.
        fused_softmax: scale, mask and softmax in one kernel (only without flash attention).
        pads_vocabulary: the products of the output layer have a multiple of 128 rows on every rank,
            whatever the vocabulary; without it an odd vocabulary makes slow products. Parameters
            and memory, which differ by less than a hundredth, count the padded table.
        softmax_multiple: the fused softmax takes score matrices by so many; where a rank has
            another number of heads x sequences, eager kernels in fp32 run instead.
        fused_bias_gelu: bias and activation in one kernel.
        fused_norm: one-pass normalisation kernels.
        fused_bias_dropout_add: bias, dropout and residual in one kernel.
        dropout: hidden and attention dropout are on.
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
        fused_gradient_accumulation: the product of a weight gradient adds to the accumulated one
            itself; else it writes 16 bits and another kernel adds them up, every microbatch.
        collective_overhead_s: host time of one blocking tensor-parallel collective, on top of
            ``layer_overhead_s``.
        collectives_hide_host: the host launches kernels while a tensor-parallel collective runs;
            without it its time hides behind kernels alone, as in a simulator that adds collectives
            to profiled layers.
        layer_stall_s: per layer and pass, time in which the device waits for the host however
            much work it has: synchronisations and allocations that drain its queue.
        optimizer_intermediate_bytes: per parameter a rank updates, tensors that live only while the
            optimizer does.
        partition_activations: the checkpoint of a fully recomputed layer is cut over tp and
            all-gathered before use (ZeRO-R's P_a, arXiv 1910.02054 section 6.1).
        checkpoints_on_host: what full recomputation keeps of a layer lies in host memory; the time
            of the copies is not modelled.
        fragmentation: bytes lost in the allocator as a share of those that come and go, which are
            activations, logits and buffers. States, allocated once, lie without gaps.
        gradient_bytes, gradient_reduce_bytes: dtype of accumulated gradients and on the wire.
        optimizer_bytes_per_parameter: bytes its optimizer kernel moves per parameter.
        cross_entropy: whose loss it is: which tensors it holds and which kernels it runs.
        gather_logits: every tensor-parallel rank holds the logits of the whole vocabulary.
        fp16_gradients: training in fp16 keeps gradients in fp16 whatever ``gradient_bytes`` says.
        bf16_gradient_copy: training in bf16 keeps 16-bit gradients beside the accumulated ones.
        fp8_weights: training in fp8 keeps no bf16 weights beside their fp8 casts.
        fp8_dynamic: fp8 scales are those of the tensor that is cast, found in a pass of its own;
            linears hold their 16-bit input and cast it again in the backward.
        flat_optimizer: the optimizer works on flat tensors of all gradients, for which the caching
            allocator opens segments of their own: memory of activations does not serve them.
        norm_copy_bytes: of one element of the largest gradient, copied to compute its norm where
            the optimizer is sharded.
        live_parameters: most weights that fully sharded data parallelism gathers at once, or the
            largest matrix; 0 for whole layers.
        copies_attention_output: the output projection's input is another copy of the output that
            the fused attention kernel keeps.
        recompute_elementwise: selective recomputation keeps products of matrices only; norms and
            activation functions are computed again, too.
        workspace_bytes: workspaces that libraries take from the allocator.
        recompute_stops_early: a layer that is computed again ends at the last tensor its backward
            reads, so that its last product and what follows do not run.
        sharded_all_reduce: where the optimizer alone is sharded, gradients are all-reduced
            nevertheless, and each rank keeps its slice of them.
        gradient_copy_bytes: read and written per parameter that a rank holds, around the reduction
            of its gradients: flattening, casts, copies back, the norm.
        gather_bytes: of one weight on the wire where weights are sharded, unless it is trained in
            a wider type; 1 where fp8 weights travel as they are.
        batch_overhead_s: per forward of a virtual stage: the stage reads its microbatch, broadcasts
            it over the tensor-parallel ranks and builds masks, while the device waits.
        listed_weights: weights sharded over the whole step are gathered, and their gradients
            reduced, one matrix at a time as lists of shards (``workload/listed_weights.py``).
        list_entry_s: host time of one rank's entry in such a list.
        gathers_again: sharded weights are released after a layer was computed again, so that its
            backward gathers them once more.
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
    cross_entropy: CrossEntropy = "vocab_parallel"
    gather_logits: bool = False
    fp16_gradients: bool = False
    bf16_gradient_copy: bool = False
    fp8_weights: bool = False
    flat_optimizer: bool = False
    norm_copy_bytes: float = 0.0
    live_parameters: float = 0.0
    copies_attention_output: bool = False
    recompute_elementwise: bool = False
    workspace_bytes: float = 0.0
    collective_overhead_s: Numeric = 0.0
    layer_stall_s: Numeric = 0.0
    fused_gradient_accumulation: bool = True
    gather_bytes: float = 2.0
    recompute_stops_early: bool = False
    softmax_multiple: int = 1
    pads_vocabulary: bool = True
    collectives_hide_host: bool = True
    sharded_all_reduce: bool = False
    gradient_copy_bytes: float = 0.0
    uncertainty: Uncertainty | None = None
    batch_overhead_s: Numeric = 0.0
    listed_weights: bool = False
    list_entry_s: Numeric = 0.0
    gathers_again: bool = False
    fp8_dynamic: bool = False
    checkpoints_on_host: bool = False
    optimizer_intermediate_bytes: float = 0.0
