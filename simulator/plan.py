"""How the work is split: training, parallelism plan, ranks and process groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from simulator.errors import PlanError
from simulator.exchange_policy import Exchange
from simulator.fine_tuning import FineTuning
from simulator.model import TransformerConfig
from simulator.offload import Offload
from simulator.sharding import ShardingPolicy
from simulator.tp_overlap import TpOverlap

AxisName = Literal["tp", "cp", "dp", "pp"]
RecomputeMode = Literal["none", "selective", "alternate", "full"]
AttentionKernel = Literal["unfused", "flash1", "flash2", "flash3"]
StateForm = Literal["full", "galore", "apollo", "factored"]
"""What an optimizer keeps of a matrix: two whole moments, or less (``cost/low_rank.py``)."""
GradientRelease = Literal["step", "layerwise"]
"""When gradients are freed: after the step, or layer by layer as they are used."""


@dataclass(frozen=True, slots=True)
class Recompute:
    """What the backward pass computes again.

    Attributes:
        mode: nothing, the attention core (Korthikanti et al. 2022, section 5), every second linear
            product and all elementwise kernels (torchtitan's ``selective_ac_option = 'op'``), or
            whole layers.
        num_layers: with ``full``: layers per virtual stage that recompute; None for all.
        keeps_qkv: with ``full``: queries, keys and values are kept beside the layer's input
            (MaxText's ``remat_policy: save_qkv_proj``).
    """

    mode: RecomputeMode
    num_layers: int | None = None
    keeps_qkv: bool = False


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """State that an optimizer keeps, in bytes per parameter.

    Attributes:
        state_bytes: moments (Adam 8, SGD with momentum 4, SGD 0, 8-bit Adam 2).
        master_bytes: fp32 copy of the weights (4), 0 when training in fp32.
        gradient_bytes: dtype in which gradients are accumulated and kept.
        gradient_reduce_bytes: dtype on the wire.
        form: what it keeps of a matrix; with another form than ``full``, ``state_bytes`` are those
            of a parameter outside the matrices of the layers.
        rank: of the moments of a low-rank form.
        svd_every: steps after which GaLore finds its projections again; 0 for never.
        weight_bytes: of a matrix's working weight where it is not that of the precision (Q-GaLore
            and Q-APOLLO train int8 weights).
    """

    name: str
    state_bytes: float
    master_bytes: float
    gradient_bytes: float
    gradient_reduce_bytes: float
    form: StateForm = "full"
    rank: int = 0
    svd_every: int = 0
    weight_bytes: float | None = None


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How much is trained per step, and in which numbers.

    Attributes:
        capacity_factor: tokens that an expert computes over its even share: room that is padded
            (Megatron-LM's ``--moe-expert-capacity-factor``), or what the busiest expert gets.
        fine_tuning: what is trained when it is not all weights.
        gradient_release: when gradients are freed.
        activation_keep_ratio: share of the tokens whose inputs linear layers keep for their weight
            gradients (WTA-CRS, arXiv 2305.15265); 1 keeps all.
    """

    global_batch_size: int
    micro_batch_size: int
    seq_length: int
    precision: str
    optimizer: OptimizerConfig
    recompute: Recompute
    capacity_factor: float = 1.0
    fine_tuning: FineTuning | None = None
    gradient_release: GradientRelease = "step"
    activation_keep_ratio: float = 1.0


@dataclass(frozen=True, slots=True)
class ParallelismPlan:
    """Degrees of every axis and the policies on them.

    Attributes:
        axis_order: fastest-varying axis first; ``("tp", "cp", "dp", "pp")`` puts tensor-parallel
            neighbours next to one another, as Megatron-LM does.
        layers_per_stage: layers of each virtual stage, in model order; None for an even split.
        shard_group_size: ranks a sharding policy divides by; None for all of dp * cp. Smaller is
            HSDP: shards are replicated dp * cp / shard_group_size times.
        prefetch_depth: how many layers ahead ZeRO-3 gathers.
        overlap_dp, overlap_tp, overlap_pp: communication on that axis runs beside compute.
        bucket_bytes: gradient bytes reduced in one collective.
        ep: ranks that share the experts of a layer among them: a part of dp, or, with ``etp`` 1,
            of tp and dp together.
        etp: ranks over which every expert is cut: tp (None) or 1 (experts whole, as with
            Megatron-LM's ``--expert-tensor-parallel-size 1``).
        offload: what lives in host memory or on NVMe; None for nothing.
        exchange: what groups of replicas exchange instead of all gradients every step; None for
            every step.
        tp_overlap: reductions over tp leave the products that feed them chunk by chunk; None for
            what ``overlap_tp`` says.
        overlap_replicas: replicas of a shard (HSDP) exchange gradients bucket by bucket; else once,
            after the backward.
    """

    tp: int
    pp: int
    dp: int
    cp: int
    virtual_stages: int
    schedule: str
    sharding: ShardingPolicy
    sequence_parallel: bool
    axis_order: tuple[AxisName, ...] = ("tp", "cp", "dp", "pp")
    layers_per_stage: tuple[int, ...] | None = None
    shard_group_size: int | None = None
    prefetch_depth: int = 1
    overlap_dp: bool = False
    overlap_tp: bool = False
    overlap_pp: bool = False
    bucket_bytes: float = 1e9
    ep: int = 1
    etp: int | None = None
    offload: Offload | None = None
    exchange: Exchange | None = None
    tp_overlap: TpOverlap | None = None
    overlap_replicas: bool = True

    @property
    def expert_tp(self) -> int:
        """Ranks over which every expert is cut."""
        return self.tp if self.etp is None else self.etp

    @property
    def expert_spread(self) -> float:
        """How many times fewer ranks hold an expert than hold the other weights."""
        return self.ep * self.expert_tp / self.tp

    @property
    def num_devices(self) -> int:
        """Ranks the plan needs."""
        return self.tp * self.pp * self.dp * self.cp

    @property
    def num_stages(self) -> int:
        """Virtual stages: pp * virtual_stages."""
        return self.pp * self.virtual_stages

    @property
    def shard_size(self) -> int:
        """Ranks over which a sharding policy divides states."""
        return self.shard_group_size or self.dp * self.cp


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """A communicator: ``size`` ranks, ``stride`` apart. All its siblings are active with it."""

    axis: str
    size: int
    stride: int

    def ranks(self, first: int = 0) -> tuple[int, ...]:
        """Global ranks of the member group that starts at ``first``."""
        return tuple(first + i * self.stride for i in range(self.size))


def axis_sizes(plan: ParallelismPlan) -> dict[AxisName, int]:
    """Size of every axis."""
    return {"tp": plan.tp, "cp": plan.cp, "dp": plan.dp, "pp": plan.pp}


def process_group(plan: ParallelismPlan, axis: AxisName) -> ProcessGroup:
    """The group along one axis: its stride is the product of the faster axes' sizes."""
    sizes = axis_sizes(plan)
    stride = 1
    for name in plan.axis_order:
        if name == axis:
            return ProcessGroup(axis, sizes[axis], stride)
        stride *= sizes[name]
    raise PlanError(
        f"axis_order {plan.axis_order} lacks the axis '{axis}'", where="plan.axis_order"
    )


def data_group(plan: ParallelismPlan) -> ProcessGroup:
    """The group over which gradients are reduced: dp and cp together.

    Assumes: cp and dp are neighbours in ``axis_order`` (checked by ``check_plan``).
    """
    dp, cp = process_group(plan, "dp"), process_group(plan, "cp")
    return ProcessGroup("dp", dp.size * cp.size, min(dp.stride, cp.stride))


def shard_group(plan: ParallelismPlan) -> ProcessGroup:
    """The part of ``data_group`` that shards states: its ``shard_size`` nearest ranks."""
    data = data_group(plan)
    return ProcessGroup("dp", plan.shard_size, data.stride)


def replica_group(plan: ParallelismPlan) -> ProcessGroup:
    """Ranks that hold the same shard (HSDP); size 1 without ``shard_group_size``."""
    data = data_group(plan)
    return ProcessGroup("dp", data.size // plan.shard_size, data.stride * plan.shard_size)


def expert_group(plan: ParallelismPlan) -> ProcessGroup:
    """Ranks that hold different experts of a layer, nearest neighbours.

    Replicas, or tensor-parallel ranks and replicas where experts are not cut over tp.
    """
    axis = data_group(plan) if plan.expert_tp == plan.tp else process_group(plan, "tp")
    return ProcessGroup("ep", plan.ep, axis.stride)


def expert_data_group(plan: ParallelismPlan) -> ProcessGroup:
    """Ranks that hold the same experts: gradients of experts are reduced over them."""
    size = data_group(plan).size * plan.tp // (plan.ep * plan.expert_tp)
    return ProcessGroup("dp", size, expert_group(plan).stride * plan.ep)


def reduces_every_microbatch(plan: ParallelismPlan) -> bool:
    """Whether gradients leave after every microbatch, so that only their shards accumulate.

    Assumes: with several pipeline ranks they are accumulated whole and leave once per step, as
        in MegaScale's ZeRO-2 (arXiv 2402.15627 section 3.2) and Llama 3's FSDP (arXiv 2407.21783
        section 3.3.2, accumulation over microbatches before the reduce-scatter).
    """
    return plan.sharding.reduce_every_microbatch and plan.pp == 1


def stage_rank(plan: ParallelismPlan, stage: int, replica: int = 0) -> int:
    """Global rank of tensor-parallel rank 0 of a pipeline stage of a data-parallel replica."""
    return stage * process_group(plan, "pp").stride + replica * process_group(plan, "dp").stride


def num_microbatches(training: TrainingConfig, plan: ParallelismPlan) -> int:
    """Microbatches per replica and step: global batch / (dp * micro batch)."""
    return training.global_batch_size // (plan.dp * training.micro_batch_size)


def divisors(number: int) -> tuple[int, ...]:
    """All divisors of a positive integer, ascending."""
    small = [d for d in range(1, int(number**0.5) + 1) if number % d == 0]
    return tuple(sorted({*small, *(number // d for d in small)}))


def stage_layers(model: TransformerConfig, plan: ParallelismPlan) -> tuple[int, ...]:
    """Layers of each virtual stage, in model order.

    Raises:
        PlanError: if the layers do not divide evenly and no explicit split is given, or if the
            explicit split does not add up.
    """
    if plan.layers_per_stage is not None:
        split = plan.layers_per_stage
        if len(split) != plan.num_stages or sum(split) != model.num_layers or min(split) < 0:
            raise PlanError(
                f"layers_per_stage {list(split)} has {len(split)} stages and {sum(split)} layers, "
                f"but pp * virtual_stages = {plan.num_stages} and num_layers = {model.num_layers}",
                where="plan.layers_per_stage",
            )
        return split
    if model.num_layers % plan.num_stages:
        raise PlanError(
            f"num_layers {model.num_layers} is not divisible by "
            f"pp * virtual_stages = {plan.pp} * {plan.virtual_stages}",
            where="plan.pp",
            hint=f"pp * virtual_stages may be {', '.join(map(str, divisors(model.num_layers)))}; "
            "or give plan.layers_per_stage",
        )
    return (model.num_layers // plan.num_stages,) * plan.num_stages
