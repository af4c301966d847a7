"""Fits the ``CollectiveCurve`` of a node to collectives measured on 2 and more of its devices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from simulator.calibrate.fit_curve import Constant, CurveFit, fit_curve
from simulator.calibrate.microbench import Columns
from simulator.calibrate.nccl import KINDS
from simulator.cost.collective import ALGORITHMS, CollectiveKind, collective_s
from simulator.errors import SpecError
from simulator.group_link import GroupShape, at_size, group_link
from simulator.machine import Cluster, CollectiveCurve, NetworkCurve, Node, ProtocolLine
from simulator.numeric import FloatArray
from simulator.progress import Progress, silent

_TIMES: Final = (1e-8, 1e-2)
_RATES: Final = (1e8, 1e13)
_IN_NODE: Final = NetworkCurve(1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
_ALL: Final[tuple[CollectiveKind, ...]] = (
    "all_reduce",
    "all_gather",
    "reduce_scatter",
    "all_to_all",
)


def fit_collectives(
    tables: Sequence[Columns], node: Node, progress: Progress = silent
) -> tuple[CurveFit, CollectiveCurve]:
    """The curve of a node from columns kind, ranks, bytes, time_us (nccl-tests convention).

    The library's choice of protocol and algorithm is part of the model, so all kinds and group
    sizes are fitted together. Group sizes without a measurement are dropped from the curve.

    Raises:
        SpecError: if a kind is unknown, or a group is larger than the node.
    """
    where = ", ".join(table.where for table in tables)
    kinds = np.array(
        [KINDS[word] for table in tables for word in table.words("kind", "", KINDS, "collective")]
    )
    ranks = np.concatenate([table.whole("ranks") for table in tables])
    payload = np.concatenate([table.numbers("bytes") for table in tables])
    measured_s = np.concatenate([table.seconds() for table in tables])
    if ranks.max() > node.num_devices or ranks.min() < 2:
        raise SpecError(
            f"groups of {ranks.min():.0f} to {ranks.max():.0f} ranks are not 2 to "
            f"{node.num_devices}, as {node.name} has",
            where=where,
        )
    base = node.collectives
    sizes = tuple(sorted({round(size) for size in ranks.tolist()}))
    constants = _constants(base, sizes, set(kinds.tolist()))

    def predict(values: Mapping[str, float]) -> FloatArray:
        curve = curve_of(base, values, sizes)
        cluster = Cluster("one node", replace(node, collectives=curve), 1, (), _IN_NODE)
        found = np.zeros(measured_s.size)
        for size in sizes:
            link = group_link(cluster, GroupShape(size, 1, size, 1.0, math.inf, math.inf, 0.0))
            for kind in _ALL:
                rows = (ranks == size) & (kinds == kind)
                if rows.any():
                    found[rows] = collective_s(kind, payload[rows], link, algorithms=ALGORITHMS)
        return found

    fit = fit_curve("collectives", constants, predict, measured_s, progress)
    return fit, curve_of(base, fit.values, sizes)


def _constants(base: CollectiveCurve, sizes: Sequence[int], kinds: set[str]) -> list[Constant]:
    """What the measured kinds depend on."""
    found = [
        Constant("ll.base_s", base.ll.base_s, *_TIMES),
        Constant("ll.hop_s", base.ll.hop_s, *_TIMES),
        Constant("ll.bandwidth_bytes_per_s", base.ll.bandwidth_bytes_per_s, *_RATES),
        Constant("ll128.base_s", base.ll128.base_s, *_TIMES),
        Constant("ll128.hop_s", base.ll128.hop_s, *_TIMES),
        Constant("ll128.bandwidth_bytes_per_s", base.ll128.bandwidth_bytes_per_s, *_RATES),
        Constant("simple.base_s", base.simple.base_s, *_TIMES),
        Constant("simple.hop_s", base.simple.hop_s, *_TIMES),
    ]
    # The largest group has the full low-latency bandwidth, of which smaller ones reach a share.
    found += [
        Constant(f"small.{n}", at_size(base.small_group_factor, n), 0.05, 2.0) for n in sizes[:-1]
    ]
    if kinds & {"all_gather", "reduce_scatter"}:
        found += [Constant(f"ring.{n}", at_size(base.ring_bytes_per_s, n), *_RATES) for n in sizes]
    if "all_reduce" in kinds:
        rates = base.all_reduce_bytes_per_s
        found += [Constant(f"all_reduce.{n}", at_size(rates, n), *_RATES) for n in sizes]
        tree = base.in_network
        if tree is not None and sizes[-1] >= base.in_network_min_size:
            found.append(Constant("in_network.base_s", tree.base_s, *_TIMES))
            rate = tree.bandwidth_bytes_per_s
            found.append(Constant("in_network.bandwidth_bytes_per_s", rate, *_RATES))
    return found + (_all_to_all_constants(base, sizes) if "all_to_all" in kinds else [])


def _all_to_all_constants(base: CollectiveCurve, sizes: Sequence[int]) -> list[Constant]:
    """As many as the base tells apart: the ramp and the factors only where it has them."""
    found = [
        *_line("all_to_all", base.all_to_all),
        Constant("all_to_all.hop_s", base.all_to_all.hop_s, *_TIMES),
        *_line("all_to_all_small", base.all_to_all_small),
    ]
    if base.all_to_all_ramp is not None:
        found += _line("all_to_all_ramp", base.all_to_all_ramp)
    if base.all_to_all_factor:
        found += [
            Constant(f"exchange.{n}", at_size(base.all_to_all_factor, n), 0.05, 2.0)
            for n in sizes[:-1]
        ]
    return found


def _line(name: str, line: ProtocolLine) -> list[Constant]:
    return [
        Constant(f"{name}.base_s", line.base_s, *_TIMES),
        Constant(f"{name}.bandwidth_bytes_per_s", line.bandwidth_bytes_per_s, *_RATES),
    ]


def curve_of(
    base: CollectiveCurve, values: Mapping[str, float], sizes: Sequence[int]
) -> CollectiveCurve:
    """The base curve with the constants of ``values`` (``ll.base_s``, ``ring.8``) in place."""

    def line(name: str, old: ProtocolLine) -> ProtocolLine:
        return ProtocolLine(
            values.get(f"{name}.base_s", old.base_s),
            values.get(f"{name}.hop_s", old.hop_s),
            values.get(f"{name}.bandwidth_bytes_per_s", old.bandwidth_bytes_per_s),
        )

    def by_size(name: str, old: Mapping[int, float]) -> Mapping[int, float]:
        found = {n: values[f"{name}.{n}"] for n in sizes if f"{name}.{n}" in values}
        return found or old

    small = by_size("small", {})
    exchange = {**by_size("exchange", {}), sizes[-1]: 1.0} if base.all_to_all_factor else {}
    tree, ramp = base.in_network, base.all_to_all_ramp
    return replace(
        base,
        ll=line("ll", base.ll),
        ll128=line("ll128", base.ll128),
        simple=line("simple", base.simple),
        ring_bytes_per_s=by_size("ring", base.ring_bytes_per_s),
        all_reduce_bytes_per_s=by_size("all_reduce", base.all_reduce_bytes_per_s),
        small_group_factor={**small, sizes[-1]: 1.0},
        in_network=None if tree is None else line("in_network", tree),
        all_to_all=line("all_to_all", base.all_to_all),
        all_to_all_small=line("all_to_all_small", base.all_to_all_small),
        all_to_all_ramp=None if ramp is None else line("all_to_all_ramp", ramp),
        all_to_all_factor=exchange,
    )
