"""Frozen facts about machines, in SI units: accelerators, links, nodes, clusters.

Nothing here computes. ``hardware/*.yaml`` holds the values with their sources, ``spec/`` reads
them, ``topology.py`` turns a cluster into the links a process group really uses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from simulator.numeric import Numeric
from simulator.wiring import NetworkWiring, Torus

Precision = Literal["fp32", "tf32", "fp16", "bf16", "fp8"]
BYTES_PER_ELEMENT: Mapping[str, float] = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2, "fp8": 1}
"""Bytes one element of a tensor takes in memory and on the wire."""

USUAL_ALGORITHMS: Final = ("ring", "tree", "in_network", "all_to_all")
"""Keys of ``cost.collective.ALGORITHMS`` that a collective library chooses among unless its cluster
says otherwise: what NCCL did when the shipped curves were measured."""


@dataclass(frozen=True, slots=True)
class Assumption:
    """A value that was taken rather than given, and where it comes from."""

    name: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class GemmCurve:
    """Constants of the GEMM time model in ``cost/compute.py``; each is fitted on measured shapes.

    Attributes:
        peak_fraction: e, best fraction of the dense peak a large tile reaches; above 1 on cards
            that clock higher than their datasheet counts.
        sustained_fraction: rs, clock left once power or heat throttles a long kernel.
        droop_s: tau, kernel duration at which half of that droop has set in.
        launch_s: t0, gap between two kernels of one stream.
        tile_s: tc, prologue and epilogue of one tile.
        wave_quantisation: q in [0, 1]; 1 means that a partial last wave costs a full one.
        bandwidth_fraction: eta, fraction of DRAM bandwidth a GEMM reaches.
        overlap_exponent: p of the p-norm that joins compute and memory time.
        small_tile_penalty: g, loss of tiles smaller than 256x128.
        split_s: ts, cost of a split-K reduction.
        precision_fraction: precision -> factor on ``peak_fraction``, 1 where it is not named: twice
            the peak does not bring twice the speed; above 1 where 8 bits droop less than 16.
    """

    peak_fraction: float
    sustained_fraction: float
    droop_s: float
    launch_s: float
    tile_s: float
    wave_quantisation: float
    bandwidth_fraction: float
    overlap_exponent: float
    small_tile_penalty: float
    split_s: float
    precision_fraction: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True)
class AttentionCurve:
    """Constants of one fused attention kernel at one head dimension, see ``cost/attention.py``.

    Attributes:
        forward_flops_per_s: F, rate for long sequences, FLOPs counted 4 b h d s^2 (causal: half).
        ramp_tokens: sh, the rate is halved at a sequence of this length.
        launch_s: t0.
        wave_quantisation: q in [0, 1].
    """

    forward_flops_per_s: float
    ramp_tokens: float
    launch_s: float
    wave_quantisation: float


@dataclass(frozen=True, slots=True)
class MemoryCurve:
    """Memory-bound kernels: time = launch_s + bytes / (fraction * memory bandwidth).

    Attributes:
        launch_s: fixed cost of one kernel.
        fraction: kind of kernel (``cost/memory_bound.py``) -> fraction of DRAM bandwidth.
    """

    launch_s: float
    fraction: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One device. Peaks are dense (no structured sparsity)."""

    name: str
    architecture: str
    num_sms: int
    peak_flops_per_s: Mapping[str, float]
    memory_bytes: float
    memory_bandwidth_bytes_per_s: float
    l2_bytes: float
    power_w: float
    gemm: GemmCurve
    attention: Mapping[str, Mapping[int, AttentionCurve]]
    memory: MemoryCurve
    assumptions: tuple[Assumption, ...] = ()


@dataclass(frozen=True, slots=True)
class ProtocolLine:
    """One alpha-beta line of a collective: base_s + steps * hop_s + bus_bytes / bandwidth."""

    base_s: float
    hop_s: float
    bandwidth_bytes_per_s: float


@dataclass(frozen=True, slots=True)
class CollectiveCurve:
    """How a collective library performs on one scale-up fabric (measured, per accelerator).

    Attributes:
        ll: low-latency protocol, ``ll128``: its 128-byte form, ``simple``: bulk protocol, whose
            bandwidth comes from the two maps below.
        ring_bytes_per_s: group size -> bus bandwidth of all-gather and reduce-scatter.
        all_reduce_bytes_per_s: group size -> bus bandwidth of ring all-reduce.
        small_group_factor: group size -> factor on the ll and ll128 bandwidth.
        in_network: reduction in the switch (NVLS), None where the fabric has none; its
            ``hop_s`` is 0.
        in_network_min_size: smallest group for which the library uses it.
        all_to_all: bulk line; ``hop_s`` counts ranks.
        all_to_all_small: line for small messages.
        all_to_all_ramp: bulk protocol on the few channels that messages of middle size get, None
            where it was not told apart.
        all_to_all_factor: group size -> factor on both bulk bandwidths: few peers keep few
            channels busy.
        all_to_all_per_peer: the small line's bandwidth is of one peer, and all are sent to at once.
    """

    ll: ProtocolLine
    ll128: ProtocolLine
    simple: ProtocolLine
    ring_bytes_per_s: Mapping[int, float]
    all_reduce_bytes_per_s: Mapping[int, float]
    small_group_factor: Mapping[int, float]
    in_network: ProtocolLine | None
    in_network_min_size: int
    all_to_all: ProtocolLine
    all_to_all_small: ProtocolLine
    all_to_all_ramp: ProtocolLine | None = None
    all_to_all_factor: Mapping[int, float] = field(default_factory=dict[int, float])
    all_to_all_per_peer: bool = False


@dataclass(frozen=True, slots=True)
class NetworkCurve:
    """How a collective library performs between nodes.

    Attributes:
        bandwidth_fraction: fraction of NIC bandwidth that a collective reaches.
        base_s: a0, start of an inter-node collective.
        hop_s: h, one level of the inter-node tree.
        chunk_s_per_byte, chunk_s: kappa and C, pipeline fill per tree level,
            min(kappa * payload, C).
        ring_hop_s: one step of an inter-node ring.
        message_s: one point-to-point message.
        two_node_trees: between two nodes with several ranks each the library takes a tree, which
            carries the payload once where a ring carries it almost twice. NCCL's own tuner does
            so with NVLS only.
        message_fraction: fraction of a NIC's bandwidth that messages between two devices reach;
            that of collectives where it is None.
        handshake_s: what a tree level waits before a message that is too long to be sent eagerly
            may move. Sent eagerly it is copied on arrival, which costs ``eager_s_per_byte``; the
            shorter of both counts.
    """

    bandwidth_fraction: float
    base_s: float
    hop_s: float
    chunk_s_per_byte: float
    chunk_s: float
    ring_hop_s: float
    message_s: float
    two_node_trees: bool = False
    message_fraction: float | None = None
    eager_s_per_byte: float = 0.0
    handshake_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Edge:
    """One link of the graph inside a node, between two parts (``gpu0``, ``switch0``, ...)."""

    a: str
    b: str
    bandwidth_bytes_per_s: float
    latency_s: float


@dataclass(frozen=True, slots=True)
class MemoryTier:
    """Host DRAM or NVMe of a node, shared by its devices."""

    capacity_bytes: float
    read_bytes_per_s: float
    write_bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Node:
    """A host with its devices, the links between its parts, and its NICs.

    Attributes:
        edges: links among ``gpu<i>``, ``nic<i>``, ``cpu<i>``, ``pcie<i>`` (PCIe switches) and
            ``switch<i>`` (scale-up fabric); bandwidth is per direction. A device's NIC is the
            nearest one; NICs may be shared by several devices.
        nic_bytes_per_s: bandwidth of one NIC, per direction.
        collectives: measured curve of the scale-up fabric; where there is none it is derived
            from the links, and the assumptions say so.
        host_memory, nvme: None where the node has none or it is unknown.
        host_link_bytes_per_s: pinned copy rate between one device and host memory.
        host_links_bytes_per_s: the same of all devices together, per direction; None where it was
            not measured and follows from the links.
        adam_parameters_per_s: parameters that the processors update with Adam; None where it
            follows from the memory's bandwidth (``host_share.py``).
    """

    name: str
    accelerator: Accelerator
    num_devices: int
    edges: tuple[Edge, ...]
    num_nics: int
    nic_bytes_per_s: float
    collectives: CollectiveCurve
    host_memory: MemoryTier | None
    nvme: MemoryTier | None
    host_link_bytes_per_s: float
    power_w: float
    assumptions: tuple[Assumption, ...] = ()
    host_links_bytes_per_s: float | None = None
    adam_parameters_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class FabricTier:
    """One level of the network above the nodes.

    Attributes:
        nodes_per_group: nodes that reach one another without going above this tier.
        oversubscription: bandwidth of the NICs below over that of the links into this tier.
        hop_s: latency added by crossing it.
    """

    name: str
    nodes_per_group: int
    oversubscription: float
    hop_s: float


@dataclass(frozen=True, slots=True)
class SlowHosts:
    """Hosts of a large cluster that are slower than the rest, though tests of them find nothing.

    Source: Jiang et al. 2024, MegaScale (arXiv 2402.15627), sections 5.1 and 6.3.

    Attributes:
        share: of all hosts.
        forward: time of a forward on one of them over that on the others, 1 or more.
    """

    share: float
    forward: float


@dataclass(frozen=True, slots=True)
class Cluster:
    """Nodes of one kind and the network between them.

    Attributes:
        slow_hosts: None where none were reported.
        fabric: how the network is wired; None for what ``torus`` or, without one, ``tiers`` say.
        collective_algorithms: what its collective library chooses among.
        switches_reduce: its switches between nodes add (SHARP).
    """

    name: str
    node: Node
    num_nodes: int
    tiers: tuple[FabricTier, ...]
    network: NetworkCurve
    torus: Torus | None = None
    assumptions: tuple[Assumption, ...] = ()
    slow_hosts: SlowHosts | None = None
    fabric: NetworkWiring | None = None
    collective_algorithms: tuple[str, ...] = USUAL_ALGORITHMS
    switches_reduce: bool = False

    @property
    def num_devices(self) -> int:
        """Devices in the whole cluster."""
        return self.num_nodes * self.node.num_devices


@dataclass(frozen=True, slots=True)
class GroupLink:
    """What one process group sees of the machine: plain numbers for ``cost/collective``.

    Fields are ``Numeric``, so that a batch of plans is a ``GroupLink`` of arrays. Bandwidths are
    bus bandwidths (nccl-tests convention), per direction. A group of one rank has ``size`` 1.

    Attributes:
        size: ranks, ``num_nodes``: nodes they lie on; ``size / num_nodes`` ranks share a node.
        ring_bytes_per_s, all_reduce_bytes_per_s: bulk bandwidth over the in-node links of the
            group's ranks (its slowest ring link).
        in_network_bytes_per_s: 0 where the fabric does not reduce in the switch.
        network_bytes_per_s: bandwidth of the group's share of the node's NICs, oversubscription
            included; ``inf`` when the group lies in one node.
        network_two_node_trees: 1 where ``two_node_trees`` of the network holds, else 0.
        all_to_all_ramp_base_s: ``inf`` where the curve has no such line.
        network_exchange_bytes_per_s: that of all-to-alls, which cross far links more often than
            rings do; ``inf`` where there are none.
        network_ring_way_s: what ways over far links (between sites, of a graph) add to a step of a
            ring between nodes, in the mean.
        network_way_s: what they add to the longest way.
        network_ways: such ways one after the other from a leaf of a tree of nodes to its root.
        torus_bytes_per_s, torus_bucket_bytes_per_s: bus bandwidth over all axes of a torus at
            once, and over one after another; 0 off a torus.
        torus_way_s: latency of its longest way.
        algorithms: what the library chooses among; the same in all columns of a batch.
        pat_rank_s: p, per rank of a PAT; 2.8 us, "still a linear part" (NVIDIA/nccl v2.30.7,
            src/graph/tuning.cc).
    """

    size: Numeric
    num_nodes: Numeric
    ll_base_s: Numeric
    ll_hop_s: Numeric
    ll_bytes_per_s: Numeric
    ll128_base_s: Numeric
    ll128_hop_s: Numeric
    ll128_bytes_per_s: Numeric
    simple_base_s: Numeric
    simple_hop_s: Numeric
    ring_bytes_per_s: Numeric
    all_reduce_bytes_per_s: Numeric
    in_network_base_s: Numeric
    in_network_bytes_per_s: Numeric
    all_to_all_base_s: Numeric
    all_to_all_hop_s: Numeric
    all_to_all_bytes_per_s: Numeric
    all_to_all_small_base_s: Numeric
    all_to_all_small_bytes_per_s: Numeric
    network_bytes_per_s: Numeric
    network_exchange_bytes_per_s: Numeric
    network_base_s: Numeric
    network_hop_s: Numeric
    network_chunk_s_per_byte: Numeric
    network_chunk_s: Numeric
    network_ring_hop_s: Numeric
    network_message_s: Numeric
    network_two_node_trees: Numeric = 0.0
    all_to_all_ramp_base_s: Numeric = math.inf
    all_to_all_ramp_bytes_per_s: Numeric = math.inf
    torus_bytes_per_s: Numeric = 0.0
    torus_bucket_bytes_per_s: Numeric = 0.0
    torus_way_s: Numeric = 0.0
    algorithms: tuple[str, ...] = USUAL_ALGORITHMS
    network_eager_s_per_byte: Numeric = 0.0
    network_handshake_s: Numeric = 0.0
    pat_rank_s: Numeric = 2.8e-6
    network_ring_way_s: Numeric = 0.0
    network_way_s: Numeric = 0.0
    network_ways: Numeric = 0.0


@dataclass(frozen=True, slots=True)
class PathLink:
    """A point-to-point path between two ranks.

    Attributes:
        bandwidth_bytes_per_s: the sender's share of the narrowest link on the way, per direction.
        latency_s: one message.
        crosses_network: 1 where the path leaves the node, else 0.
    """

    bandwidth_bytes_per_s: Numeric
    latency_s: Numeric
    crosses_network: Numeric = field(default=0.0)
