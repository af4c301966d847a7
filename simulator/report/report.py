"""The one result: a frozen, JSON-round-trippable value. Renderers read it and never compute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from simulator.engine.timeline import Timeline
from simulator.machine import Assumption, Cluster

SCHEMA_VERSION = "1"

TIME_TERMS = (
    "compute",
    "recompute",
    "tp_comm",
    "ep_comm",
    "cp_comm",
    "pp_comm",
    "dp_comm",
    "offload",
    "optimizer",
    "overhead",
    "bubble",
)
"""Terms of the critical rank's step; they sum to step_time_s. ``*_comm`` is the exposed part, and
so is ``offload``: copies from and to host memory and NVMe."""

RARE_TIME_TERMS: Final = frozenset({"offload"})
"""Terms that a report lists only where they are not zero."""

MEMORY_TERMS = (
    "weights",
    "gradients",
    "optimizer",
    "master_weights",
    "activations",
    "logits",
    "buffers",
    "framework",
    "communicators",
    "fragmentation",
)
"""Terms of a rank's memory at its peak; they sum to peak_bytes."""


RANGE_BASIS: Final = "range_basis"
"""Key of ``Report.provenance``."""


@dataclass(frozen=True, slots=True)
class FlopsRates:
    """Utilisation under one way of counting FLOPs.

    Attributes:
        flops_per_step: FLOPs of the whole job and step under the convention.
        flops_per_s_per_device: achieved.
        utilisation: of the dense peak of the declared precision.
    """

    flops_per_step: float
    flops_per_s_per_device: float
    utilisation: float


@dataclass(frozen=True, slots=True)
class RankMemory:
    """Memory of one class of ranks at its high-water mark.

    Attributes:
        rank_class: for example ``pipeline rank 0``.
        num_ranks: ranks of this class in the job.
        peak_bytes: sum of ``terms``.
        peak_at_s: when the high-water mark is reached in the step.
        inflight_microbatches: microbatches whose activations are held at that moment.
        terms: bytes by term of ``MEMORY_TERMS``.
        history_s, history_bytes: memory over the step, as steps (for plots).
        elsewhere: ``host`` or ``nvme`` -> term -> bytes that live there for the rank; not written.
    """

    rank_class: str
    num_ranks: int
    peak_bytes: float
    peak_at_s: float
    inflight_microbatches: float
    terms: Mapping[str, float]
    history_s: tuple[float, ...] = ()
    history_bytes: tuple[float, ...] = ()
    elsewhere: Mapping[str, Mapping[str, float]] = field(
        default_factory=dict[str, Mapping[str, float]]
    )


@dataclass(frozen=True, slots=True)
class TierMemory:
    """Host memory or NVMe of one node.

    Attributes:
        name: ``host`` or ``nvme``.
        demand_bytes: sum of ``terms``, those of all ranks on a node.
        capacity_bytes: of the node.
        terms: what lives there -> bytes.
    """

    name: str
    demand_bytes: float
    capacity_bytes: float
    terms: Mapping[str, float]

    @property
    def fits(self) -> bool:
        """Whether the node has as much."""
        return self.demand_bytes <= self.capacity_bytes


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """Why the worst rank does not fit, and what would help.

    Attributes:
        demand_bytes, capacity_bytes: what it needs and has.
        largest_term: the term that takes most.
        levers: changes that would lower the demand, most effective first, each with the bytes
            it saves, for example ``("plan.sharding zero1", 2.1e10)``.
        level: what is too small: the ``device``, or ``host`` or ``nvme`` of a node.
    """

    demand_bytes: float
    capacity_bytes: float
    largest_term: str
    levers: tuple[tuple[str, float], ...]
    level: str = "device"


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """Memory of the job; ``worst`` names the rank class with the highest peak.

    ``tiers`` are the levels of a node beyond its devices that the job uses; it fits if it fits on
    all levels.
    """

    fits: bool
    capacity_bytes: float
    peak_bytes: float
    worst_rank_class: str
    rank_classes: tuple[RankMemory, ...]
    out_of_memory: OutOfMemory | None
    tiers: tuple[TierMemory, ...] = ()


@dataclass(frozen=True, slots=True)
class KernelShare:
    """Time of one family of kernels in one step of the critical rank (for the waterfall)."""

    name: str
    time_s: float
    flops: float
    moved_bytes: float


@dataclass(frozen=True, slots=True)
class StepPattern:
    """How steps repeat where exchanges couple them; ``step_time_s`` is the mean of a period.

    Attributes:
        policy: of ``plan.exchange``.
        workers: that exchange.
        steps: (number, seconds) of equal steps in a row, over one period.
        inner_step_s: a step of a worker by itself.
        exposed_s: what a step waits for exchanges, on average.
        kernels_s: of the device around exchanges, on average per step.
        sent_bytes: that leave a node, or a site, per step on average.
        warm_up_share, warm_up_step_s: share of the steps that reduce gradients in full, and the
            seconds of one; ``step_time_s`` counts them in.
    """

    policy: str
    workers: int
    steps: tuple[tuple[int, float], ...]
    inner_step_s: float
    exposed_s: float
    kernels_s: float
    sent_bytes: float
    warm_up_share: float = 0.0
    warm_up_step_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """What a training job will do.

    Attributes:
        scenario: the normalised scenario (plain JSON data), every default filled in.
        time: term of ``TIME_TERMS`` -> seconds of the critical rank; sums to ``step_time_s``.
        flops: convention -> rates; ``palm`` is the model FLOPs of ``mfu``, ``hardware`` those of
            ``hfu`` (recompute counted, executed), ``megatron_model`` (72 B s L h^2 ...),
            ``megatron_hardware`` (96 ...), ``6n`` and ``8n``.
        kernels: families of kernels of the critical rank, largest first.
        timeline: the executed graph; None after a JSON round trip.
        cluster: the machine, for drawings; None after a JSON round trip.
        step_time_low_s, step_time_high_s: 90 % range of the step time (``uncertainty.py``); None
            where the stack does not say how far it may be off.
        pattern: how steps repeat; None where all steps are alike.
        provenance: version, engine, op count, hashes, and what the range rests on
            (``RANGE_BASIS``).
    """

    schema_version: str
    scenario: Mapping[str, object]
    step_time_s: float
    tokens_per_s: float
    tokens_per_s_per_device: float
    model_flops_per_s_per_device: float
    hardware_flops_per_s_per_device: float
    mfu: float
    hfu: float
    flops_convention: str
    flops: Mapping[str, FlopsRates]
    time: Mapping[str, float]
    memory: MemoryReport
    devices: int
    kernels: tuple[KernelShare, ...]
    assumptions: tuple[Assumption, ...]
    provenance: Mapping[str, str]
    timeline: Timeline | None = None
    step_time_low_s: float | None = None
    step_time_high_s: float | None = None
    pattern: StepPattern | None = None
    cluster: Cluster | None = field(default=None, compare=False)
