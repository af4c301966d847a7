"""Every plan of a space that keeps the rules, and what the rules leave out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulator.errors import PlanError
from simulator.model import TransformerConfig
from simulator.numeric import IntArray
from simulator.plan import divisors
from simulator.scenario import MAX_ACTIONS, Scenario
from simulator.schedule.table import INTERLEAVED, least_chunks
from simulator.search.space import (
    RECOMPUTE_MODES,
    SCHEDULE_NAMES,
    SHARDING_NAMES,
    Candidates,
    Space,
    can_split,
    stage_split,
)
from simulator.search.supported import check_searchable


@dataclass(frozen=True, slots=True)
class Enumeration:
    """All candidates of a space.

    Attributes:
        pruned: rule -> combinations of the axes that break it.
        examples: rule -> one such combination.
        same: combinations that are the same plan as another: a switch has no effect.
    """

    candidates: Candidates
    pruned: Mapping[str, int]
    examples: Mapping[str, str]
    same: int = 0


class _Outer(NamedTuple):
    """The first columns of ``Candidates``: what shapes the passes."""

    tp: int
    pp: int
    dp: int
    virtual_stages: int
    schedule: int
    balanced: int
    micro_batch_size: int
    microbatches: int


class _Inner(NamedTuple):
    """The other columns of ``Candidates``: switches that any pipeline may have."""

    sharding: int
    recompute: int
    recompute_layers: int
    sequence_parallel: int
    overlap_tp: int
    overlap_dp: int
    overlap_pp: int


class _Has(NamedTuple):
    """What the switches of a pipeline act on."""

    tp: bool
    pp: bool
    dp: bool
    num_layers: int


@dataclass(slots=True)
class _Pruned:
    """See ``Enumeration``."""

    counts: Counter[str]
    examples: dict[str, str]

    def add(self, rule: str, count: int, example: str) -> None:
        self.counts[rule] += count
        self.examples.setdefault(rule, example)


def enumerate_candidates(base: Scenario, space: Space) -> Enumeration:
    """Every plan of the space that keeps the rules of ``scenario.check``.

    Plans that differ only in switches without effect count once. What is pruned is counted in
    combinations of all axes.

    Assumes: no hybrid sharding (``shard_group_size``).

    Raises:
        PlanError: if the cluster has fewer devices, or the model or its training is of a kind that
            is not searched.
    """
    check_searchable(base)
    if space.devices > base.cluster.num_devices:
        raise PlanError(
            f"{space.devices} devices are more than the {base.cluster.num_devices} of "
            f"{base.cluster.name}",
            where="--devices",
            hint=f"take at most {base.cluster.num_devices}, or set cluster.nodes",
        )
    pruned, same = _Pruned(Counter(), {}), 0
    blocks: list[tuple[_Outer, IntArray]] = []
    switches: dict[_Has, IntArray] = {}
    for tp, pp in _degrees(base.model, space, pruned):
        for outer in _pipelines(base, space, tp, pp, pruned):
            has = _Has(tp > 1, pp > 1, outer.dp > 1, _most_layers(base, outer))
            if has not in switches:
                switches[has] = _switches(base, space, has)
            inner = switches[has]
            same += _num_switches(space, has.num_layers) - len(inner)
            blocks.append((outer, inner))
    return Enumeration(_assembled(blocks), dict(pruned.counts), pruned.examples, same)


def _degrees(model: TransformerConfig, space: Space, pruned: _Pruned) -> Iterator[tuple[int, int]]:
    for tp in divisors(space.devices):
        groups = model.num_query_groups
        fits = groups % tp == 0 or tp % groups == 0
        if model.num_attention_heads % tp or model.ffn_hidden_size % tp or not fits:
            rule = "tp does not divide heads, key/value heads or the MLP's width"
            pruned.add(rule, _num_switches(space, 1), f"tp {tp}")
            continue
        for pp in divisors(space.devices // tp):
            yield tp, pp


def _pipelines(base: Scenario, space: Space, tp: int, pp: int, pruned: _Pruned) -> Iterator[_Outer]:
    """The pipelines of tp times pp devices that can run."""
    dp = space.devices // (tp * pp)
    training, per_inner = base.training, _num_switches(space, 1)
    if training.global_batch_size % dp:
        rule = "dp does not divide the global batch"
        pruned.add(rule, per_inner, f"dp {dp}, batch {training.global_batch_size}")
        return
    per_replica = training.global_batch_size // dp
    splits = list(_splits(base, space, pp))
    if not splits:
        rule = "the layers do not divide over the pipeline ranks"
        pruned.add(rule, per_inner, f"pp {pp}, {base.model.num_layers} layers")
    for micro in divisors(per_replica):
        if micro > space.max_micro_batch_size:
            continue
        count = per_replica // micro
        for schedule, chunks, balanced in splits:
            if schedule in INTERLEAVED and count % pp:
                rule = "interleaved: pp does not divide the microbatches"
                pruned.add(rule, per_inner, f"pp {pp}, {count} microbatches")
                continue
            if 2 * pp * chunks * count > MAX_ACTIONS:
                rule = f"more than {MAX_ACTIONS:,} passes a step"
                pruned.add(rule, per_inner, f"pp {pp}, {count} microbatches")
                continue
            index = SCHEDULE_NAMES.index(schedule)
            yield _Outer(tp, pp, dp, chunks, index, balanced, micro, count)


def _splits(base: Scenario, space: Space, pp: int) -> Iterator[tuple[str, int, int]]:
    """(schedule, virtual stages, balanced) in which the layers divide."""
    if pp == 1:
        yield "1f1b", 1, 0
        return
    for balanced in (0, 1):
        for schedule in space.schedules:
            for chunks in _chunk_counts(schedule, base.model.num_layers // pp + 1):
                if can_split(base, pp * chunks, balanced=bool(balanced)):
                    yield schedule, chunks, balanced


def _chunk_counts(schedule: str, most: int) -> Sequence[int]:
    """Numbers of virtual stages per rank that a schedule may have, up to some number."""
    least = least_chunks(schedule)
    return range(least, most + 1) if schedule in INTERLEAVED else (least,)


def _most_layers(base: Scenario, outer: _Outer) -> int:
    num_stages = outer.pp * outer.virtual_stages
    return max(stage_split(base, num_stages, balanced=bool(outer.balanced)))


def _recomputes(space: Space, num_layers: int) -> list[tuple[int, int]]:
    """(mode, number of layers) of recomputation."""
    some = range(1, num_layers) if space.recompute_layers else ()
    none, selective, full = range(len(RECOMPUTE_MODES))
    return [(none, 0), (selective, 0), *((full, count) for count in some), (full, 0)]


def _num_switches(space: Space, num_layers: int) -> int:
    overlaps = 8 if space.overlaps else 1
    return len(space.shardings) * len(_recomputes(space, num_layers)) * 2 * overlaps


def _switches(base: Scenario, space: Space, has: _Has) -> IntArray:
    """Every combination of the switches that has an effect. [switches, fields of ``_Inner``]."""

    def both(given: bool, exists: bool) -> tuple[int, ...]:
        if not exists:
            return (0,)
        return (0, 1) if space.overlaps else (int(given),)

    plan = base.plan
    # Without replicas all policies are alike: the first stands for them.
    names = space.shardings if has.dp else space.shardings[:1]
    rows = [
        _Inner(SHARDING_NAMES.index(name), mode, layers, sequence, in_tp, in_dp, in_pp)
        for name in names
        for mode, layers in _recomputes(space, has.num_layers)
        for sequence in ((0, 1) if has.tp else (0,))
        for in_tp in both(plan.overlap_tp, has.tp)
        for in_dp in both(plan.overlap_dp, has.dp)
        for in_pp in both(plan.overlap_pp, has.pp)
    ]
    return np.array(rows, dtype=np.int64).reshape(-1, len(_Inner._fields))


def _assembled(blocks: Sequence[tuple[_Outer, IntArray]]) -> Candidates:
    """Every pipeline with each of its switches, as columns in the order of ``Candidates``."""
    width = len(_Outer._fields)
    heads = np.array([head for head, _ in blocks], dtype=np.int64).reshape(-1, width)
    outer = np.repeat(heads, [len(inner) for _, inner in blocks], axis=0)
    none = np.zeros((0, len(_Inner._fields)), dtype=np.int64)
    inner = np.concatenate([none, *(rows for _, rows in blocks)])
    columns = np.ascontiguousarray(np.concatenate((outer, inner), axis=1).T)
    return Candidates(*columns)
