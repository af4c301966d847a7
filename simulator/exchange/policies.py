"""The table of policies: what each adds to the steps of a worker. To add one: a row here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from simulator.exchange.between import Sent
from simulator.exchange.kernels import (
    CO2_OUTER_BYTES,
    DELTA_BYTES,
    EAGER_MOMENTUM_BYTES,
    FEEDBACK_BYTES,
    NESTEROV_BYTES,
    ONE_BIT_CHUNK_BYTES,
    ONE_BIT_PACK_BYTES,
    ONE_BIT_SERVER_BYTES,
    ONE_BIT_UNPACK_BYTES,
    RADIX_PASSES,
    kernel_s,
)
from simulator.exchange.program import Program, Transfer
from simulator.exchange.setting import Setting
from simulator.exchange.volumes import (
    INDEX_BYTES,
    factor_elements,
    uncompressed_elements,
)
from simulator.exchange_policy import PolicyName

FP32_BYTES: Final = 4.0
OUTER_BYTES: Final = 2 * FP32_BYTES
"""Outer parameter and Nesterov momentum. Source: DiLoCo (arXiv 2311.08105), algorithm 1."""
Rule: TypeAlias = Callable[[Setting], Program]
"""What a policy adds to the steps of one worker."""
StateRule: TypeAlias = Callable[[Setting], float]
"""Bytes that a rank keeps for a policy, all the time."""


def _nothing(setting: Setting) -> float:
    del setting  # the table's common signature
    return 0.0


@dataclass(frozen=True, slots=True)
class Policy:
    """A row of the table.

    Attributes:
        program: what is exchanged when.
        state_bytes: what a rank keeps for it on its device.
        source: where it is described.
        updates_elsewhere: a worker takes weights in instead of updating its own.
        host_bytes: what a rank keeps for it in host memory.
    """

    program: Rule
    state_bytes: StateRule
    source: str
    updates_elsewhere: bool = False
    host_bytes: StateRule = _nothing


def _fragments(setting: Setting) -> list[tuple[int, ...]]:
    """Layers of every fragment: each of every P-th layer, as Streaming DiLoCo strides them.

    Source: Streaming DiLoCo (arXiv 2501.18512), section 2.2 (strided pattern).
    """
    count = setting.exchange.fragments
    return [tuple(range(first, setting.inner.num_layers, count)) for first in range(count)]


def _local(setting: Setting) -> Program:
    """Differences of fragments, each once in ``every`` steps, evenly spread over them.

    Assumes: where the outer optimizer's states are at home on the host, the device waits for those
        of a fragment to come before the difference is taken, and to go after the outer step.
    """
    exchange, inner = setting.exchange, setting.inner
    fragments, on_host = _fragments(setting), exchange.outer_home == "host"
    transfers: list[Transfer] = []
    for index, layers in enumerate(fragments):
        parameters = setting.parameters * len(layers) / inner.num_layers
        owned = parameters * setting.owned_share
        sent = setting.between.all_reduce(parameters * exchange.wire_bytes)
        copied_s = on_host * OUTER_BYTES * owned / setting.host_bytes_per_s
        # Of one fragment the exchange ends the period, as Local SGD's does.
        place = (index + 1) * exchange.every // len(fragments) - 1
        transfers.append(
            Transfer(
                step=max(place, 0),
                layers=layers,
                link_s=sent.seconds,
                before_s=kernel_s(setting, owned * (DELTA_BYTES + exchange.wire_bytes)) + copied_s,
                after_s=kernel_s(setting, owned * NESTEROV_BYTES, "adam_fused") + copied_s,
                overlap_steps=exchange.overlap_steps,
                sent_bytes=sent.bytes,
            )
        )
    return Program(exchange.every, tuple(transfers), exchange.by_layer)


def _local_states(setting: Setting) -> float:
    """Outer parameters and Nesterov momentum, fp32; those under way if the rest is elsewhere.

    Source: Streaming DiLoCo (arXiv 2501.18512), section 3.5 (memory overhead): only the fragment
        that is exchanged is needed on the device; of longer overlaps several are.
    """
    exchange, share = setting.exchange, 1.0
    if exchange.outer_home == "host":
        under_way = 1 + exchange.overlap_steps * exchange.fragments // exchange.every
        share = min(under_way / exchange.fragments, 1.0)
    return OUTER_BYTES * setting.parameters * setting.owned_share * share


def _states_at_home(setting: Setting) -> float:
    """The same of all fragments, in host memory."""
    on_host = setting.exchange.outer_home == "host"
    return OUTER_BYTES * setting.parameters * setting.owned_share * on_host


def _async_local(setting: Setting) -> Program:
    """Parameters all-reduced beside the next ``every`` steps, at whose end the outer step waits."""
    exchange = setting.exchange
    sent = setting.between.all_reduce(setting.parameters * exchange.wire_bytes)
    scaled = kernel_s(setting, setting.parameters * 2 * exchange.wire_bytes)
    transfer = Transfer(
        step=exchange.every - 1,
        layers=(),
        link_s=sent.seconds,
        before_s=scaled,
        after_s=kernel_s(setting, setting.parameters * setting.owned_share * CO2_OUTER_BYTES),
        overlap_steps=exchange.every,
        sent_bytes=sent.bytes,
    )
    return Program(exchange.every, (transfer,))


def _async_states(setting: Setting) -> float:
    """Old parameters and outer momentum, fp32, and the copy that is under way."""
    owned = setting.parameters * setting.owned_share
    return 2 * FP32_BYTES * owned + setting.exchange.wire_bytes * setting.parameters


def _every_step(setting: Setting, before: float, after: float, sent: Sent) -> Program:
    """One exchange after every step, waited for at once, between kernels.

    Args:
        setting: the worker.
        before: bytes per parameter that kernels move before it.
        after: the same after it.
        sent: the exchange.
    """
    transfer = Transfer(
        step=0,
        layers=(),
        link_s=sent.seconds,
        before_s=kernel_s(setting, before * setting.parameters),
        after_s=kernel_s(setting, after * setting.parameters),
        sent_bytes=sent.bytes,
    )
    return Program(1, (transfer,))


def _one_bit(setting: Setting) -> Program:
    """Signs to the ranks that add them up, then their sums' signs to all: no overlap.

    Source: 1-bit Adam (arXiv 2102.02888), section 5; microsoft/DeepSpeed, runtime/comm/nccl.py.
    """
    packed = setting.parameters / 8
    sent = setting.between.collective("all_to_all", packed)
    sent = sent + setting.between.collective("all_gather", packed)
    chunk = ONE_BIT_CHUNK_BYTES / setting.between.workers
    return _every_step(
        setting,
        EAGER_MOMENTUM_BYTES + ONE_BIT_PACK_BYTES,
        ONE_BIT_SERVER_BYTES + chunk + ONE_BIT_UNPACK_BYTES,
        sent,
    )


def _one_bit_states(setting: Setting) -> float:
    """Errors of the worker and of its chunk as a server, fp32: 4 + 4 / n bytes per parameter."""
    return FP32_BYTES * setting.parameters * (1 + 1 / setting.between.workers)


def _low_rank(setting: Setting) -> Program:
    """Two factors of every matrix, all-reduced one after the other; vectors in full.

    The gradient is read for each factor and multiplied back: 4 + 4 + 4 bytes beside the feedback.
    Source: PowerSGD (arXiv 1905.13727), algorithm 1.
    Assumes: products of so few columns are bound by reading the gradient; orthogonalisation is
        small beside them.
    """
    exchange, between = setting.exchange, setting.between
    elements = _factors(setting)
    vectors = uncompressed_elements(
        setting.model, setting.parameters, setting.num_layers, setting.tp
    )
    sent = between.collective("all_reduce", elements / 2 * exchange.wire_bytes)
    sent = sent + between.collective("all_reduce", elements / 2 * exchange.wire_bytes)
    sent = sent + between.collective("all_reduce", vectors * exchange.wire_bytes)
    return _every_step(setting, FEEDBACK_BYTES / 2 + 8.0, FEEDBACK_BYTES / 2 + 4.0, sent)


def _low_rank_states(setting: Setting) -> float:
    """The error of every gradient, and both factors, fp32."""
    return FP32_BYTES * (setting.parameters + _factors(setting))


def _factors(setting: Setting) -> float:
    shape = (setting.parameters, setting.num_layers, setting.tp)
    return factor_elements(setting.model, setting.exchange.rank, *shape)


def _top_k(setting: Setting) -> Program:
    """Every worker's largest elements and their places, gathered by all; error feedback.

    Source: sparsified SGD with memory (arXiv 1809.07599).
    """
    exchange, workers = setting.exchange, setting.between.workers
    chosen = exchange.share * setting.parameters
    each = exchange.wire_bytes + INDEX_BYTES
    sent = setting.between.collective("all_gather", workers * chosen * each)
    added = exchange.share * workers * (each + 2 * FP32_BYTES)
    before = FEEDBACK_BYTES + RADIX_PASSES * FP32_BYTES
    return _every_step(setting, before, added, sent)


def _error_states(setting: Setting) -> float:
    """The error of every gradient, fp32."""
    return FP32_BYTES * setting.parameters


def _parameter_server(setting: Setting) -> Program:
    """All workers send gradients into the servers, which send the new weights to all at once.

    In: n X / S through the NICs of each of S servers, and what its ranks send through those of a
    node of workers. Out: X / S, and the weights of a node's ranks.
    Source: Li et al. 2014, "Scaling Distributed Machine Learning with the Parameter Server"
        (OSDI), section 3.
    Assumes: servers are nodes, or sites, of their own, with the same NICs; they update while
        gradients arrive; weights go out down a tree, once into a node; a worker reads and writes
        what its NICs carry as it is, so that no kernel is left of its optimizer.
    """
    between, servers = setting.between, setting.exchange.servers
    each = setting.parameters * setting.exchange.wire_bytes
    whole = each * between.ranks_per_worker
    ranks = between.ranks_per_worker if between.wan else between.ranks_per_node
    sent = each * ranks
    into = max(between.workers * whole / servers, sent)
    out = max(whole / servers, min(whole, sent))
    rate = between.server_bytes_per_s if between.wan is None else between.wan.bytes_per_s
    latency_s = 2 * between.wan.latency_s if between.wan else 2 * _message_s(setting)
    transfer = Transfer(0, (), latency_s + (into + out) / rate, sent_bytes=sent)
    return Program(1, (transfer,))


def _message_s(setting: Setting) -> float:
    across = setting.between.across
    return float(across.network_message_s + across.network_way_s)


POLICIES: Final[Mapping[PolicyName, Policy]] = {
    "local": Policy(_local, _local_states, "arXiv 2311.08105"),
    "async_local": Policy(_async_local, _async_states, "arXiv 2401.16265"),
    "streaming": Policy(_local, _local_states, "arXiv 2501.18512", host_bytes=_states_at_home),
    "one_bit": Policy(_one_bit, _one_bit_states, "arXiv 2102.02888"),
    "low_rank": Policy(_low_rank, _low_rank_states, "arXiv 1905.13727"),
    "top_k": Policy(_top_k, _error_states, "arXiv 1809.07599"),
    "parameter_server": Policy(
        _parameter_server, _nothing, "Li et al. 2014, OSDI", updates_elsewhere=True
    ),
}
"""All policies but ``scalar``, which changes what a worker does in a step (``scalar.py``)."""
