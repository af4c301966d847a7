"""The plans that a search looks at: every combination of the axes that keeps the rules.

Plans are rows of integer columns; a ``Scenario`` is made only of those that are simulated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, cast

import numpy as np

from simulator.errors import PlanError, UnknownNameError
from simulator.model import TransformerConfig
from simulator.numeric import IntArray
from simulator.plan import ParallelismPlan, Recompute, RecomputeMode, divisors
from simulator.scenario import MAX_ACTIONS, Scenario
from simulator.schedule.table import SCHEDULES
from simulator.sharding import SHARDING

SCHEDULE_NAMES: Final = tuple(SCHEDULES)
SHARDING_NAMES: Final = tuple(SHARDING)
RECOMPUTE_MODES: Final[tuple[RecomputeMode, ...]] = ("none", "selective", "full")
CHUNKS: Final[Mapping[str, int]] = {"zb-v": 2}
"""Virtual stages of schedules that need a fixed number above 1."""


DEFAULT_SCHEDULES: Final = ("1f1b", "interleaved")


@dataclass(frozen=True, slots=True)
class Space:
    """What is combined.

    Attributes:
        devices: devices that every plan uses.
        schedules: names of pipeline schedules; without a pipeline there is one order only.
        shardings: names of sharding policies.
        max_micro_batch_size: largest number of sequences of a microbatch.
        recompute_layers: full recomputation of every number of a stage's layers, not only of all.
        overlaps: try both values of ``overlap_tp``, ``overlap_dp`` and ``overlap_pp``; else they
            stay as the base scenario has them.
    """

    devices: int
    schedules: tuple[str, ...] = DEFAULT_SCHEDULES
    shardings: tuple[str, ...] = SHARDING_NAMES
    max_micro_batch_size: int = 16
    recompute_layers: bool = False
    overlaps: bool = True

    def __post_init__(self) -> None:
        for kind, names, known in (
            ("schedule", self.schedules, SCHEDULE_NAMES),
            ("sharding", self.shardings, SHARDING_NAMES),
        ):
            for name in names:
                if name not in known:
                    raise UnknownNameError.of(kind, name, known)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Plans as columns, [candidates] each.

    Attributes:
        schedule, sharding, recompute: indices into ``SCHEDULE_NAMES``, ``SHARDING_NAMES`` and
            ``RECOMPUTE_MODES``.
        recompute_layers: layers of a virtual stage that recompute, 0 for all.
        balanced: the layers are divided as the base scenario does where it gives a split for as
            many stages; else embedding and output count as a layer each.
        sequence_parallel, overlap_tp, overlap_dp, overlap_pp, balanced: 0 or 1.
    """

    tp: IntArray
    pp: IntArray
    dp: IntArray
    virtual_stages: IntArray
    schedule: IntArray
    balanced: IntArray
    micro_batch_size: IntArray
    microbatches: IntArray
    sharding: IntArray
    recompute: IntArray
    recompute_layers: IntArray
    sequence_parallel: IntArray
    overlap_tp: IntArray
    overlap_dp: IntArray
    overlap_pp: IntArray

    def __len__(self) -> int:
        return int(self.tp.size)

    def columns(self) -> dict[str, IntArray]:
        """All columns by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def take(self, rows: IntArray) -> Candidates:
        """Some of the candidates."""
        return Candidates(**{name: column[rows] for name, column in self.columns().items()})


@dataclass(frozen=True, slots=True)
class Enumeration:
    """All candidates of a space.

    Attributes:
        pruned: rule -> combinations of the axes that break it.
        examples: rule -> one such combination.
    """

    candidates: Candidates
    pruned: Mapping[str, int]
    examples: Mapping[str, str]


@dataclass(slots=True)
class _Pruned:
    counts: Counter[str]
    examples: dict[str, str]

    def add(self, rule: str, count: int, example: str) -> None:
        self.counts[rule] += count
        self.examples.setdefault(rule, example)


def layers_per_stage(num_layers: int, num_stages: int, *, balanced: bool) -> tuple[int, ...]:
    """Layers of every virtual stage: alike, or one fewer on the first and on the last.

    Source: arXiv 2407.21783 (Llama 3), section 3.3.2: the first chunk without its embedding and
        the last without its output hold one layer less.

    Raises:
        PlanError: if they do not divide.
    """
    total = num_layers + 2 * balanced
    if total % num_stages:
        raise PlanError(f"{total} layers are not divisible by {num_stages} virtual stages")
    each = total // num_stages
    if not balanced:
        return (each,) * num_stages
    return (each - 1, *((each,) * (num_stages - 2)), each - 1)


def stage_split(base: Scenario, num_stages: int, *, balanced: bool) -> tuple[int, ...]:
    """Layers of every virtual stage of a candidate; the base scenario's own where it has them.

    Raises:
        PlanError: if they do not divide.
    """
    own = _own_split(base, num_stages) if balanced else None
    return own or layers_per_stage(base.model.num_layers, num_stages, balanced=balanced)


def _own_split(base: Scenario, num_stages: int) -> tuple[int, ...] | None:
    """The base scenario's uneven split, if it has one for so many stages."""
    own = base.plan.layers_per_stage
    if own is None or len(own) != num_stages or len(set(own)) == 1:
        return None
    return own


def _can_split(base: Scenario, num_stages: int, *, balanced: bool) -> bool:
    if balanced and _own_split(base, num_stages):
        return True
    if balanced and num_stages == 2:
        return False  # two stages are alike either way
    return (base.model.num_layers + 2 * balanced) % num_stages == 0


def enumerate_candidates(base: Scenario, space: Space) -> Enumeration:
    """Every plan of the space that keeps the rules of ``scenario.check``.

    Plans that differ only in switches without effect count once. What is pruned is counted in
    combinations of all axes.

    Assumes: no hybrid sharding (``shard_group_size``).

    Raises:
        PlanError: if the cluster has fewer devices.
    """
    if space.devices > base.cluster.num_devices:
        raise PlanError(
            f"{space.devices} devices are more than the {base.cluster.num_devices} of "
            f"{base.cluster.name}",
            where="--devices",
            hint=f"take at most {base.cluster.num_devices}, or set cluster.nodes",
        )
    pruned = _Pruned(Counter(), {})
    blocks: list[tuple[tuple[int, ...], IntArray]] = []
    switches: dict[tuple[int, ...], IntArray] = {}
    for tp, pp in _degrees(base.model, space, pruned):
        dp = space.devices // (tp * pp)
        for outer in _pipelines(base, space, (tp, pp, dp), pruned):
            num_layers = _most_layers(base, outer)
            key = (tp > 1, pp > 1, dp > 1, num_layers)
            if key not in switches:
                switches[key] = _switches(base, space, *key)
            inner = switches[key]
            pruned.add(
                "a switch has no effect",
                _num_switches(space, num_layers) - len(inner),
                f"tp {tp}, pp {pp}, dp {dp}",
            )
            blocks.append((outer, inner))
    return Enumeration(_assembled(blocks), dict(pruned.counts), pruned.examples)


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


def _pipelines(
    base: Scenario, space: Space, degrees: tuple[int, int, int], pruned: _Pruned
) -> Iterator[tuple[int, ...]]:
    """(tp, pp, dp, virtual stages, schedule, balanced, microbatch, microbatches) that can run."""
    tp, pp, dp = degrees
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
            if schedule.startswith("interleaved") and count % pp:
                rule = "interleaved: pp does not divide the microbatches"
                pruned.add(rule, per_inner, f"pp {pp}, {count} microbatches")
                continue
            if 2 * pp * chunks * count > MAX_ACTIONS:
                rule = f"more than {MAX_ACTIONS:,} passes a step"
                pruned.add(rule, per_inner, f"pp {pp}, {count} microbatches")
                continue
            index = SCHEDULE_NAMES.index(schedule)
            yield tp, pp, dp, chunks, index, balanced, micro, count


def _splits(base: Scenario, space: Space, pp: int) -> Iterator[tuple[str, int, int]]:
    """(schedule, virtual stages, balanced) in which the layers divide."""
    if pp == 1:
        yield "1f1b", 1, 0
        return
    for balanced in (0, 1):
        for schedule in space.schedules:
            for chunks in _chunk_counts(schedule, base.model.num_layers // pp + 1):
                if _can_split(base, pp * chunks, balanced=bool(balanced)):
                    yield schedule, chunks, balanced


def _chunk_counts(schedule: str, most: int) -> Sequence[int]:
    """Numbers of virtual stages per rank that a schedule may have, up to some number."""
    return range(2, most + 1) if schedule.startswith("interleaved") else (CHUNKS.get(schedule, 1),)


def _most_layers(base: Scenario, outer: tuple[int, ...]) -> int:
    _, pp, _, chunks, _, balanced, _, _ = outer
    return max(stage_split(base, pp * chunks, balanced=bool(balanced)))


def _recomputes(space: Space, num_layers: int) -> list[tuple[int, int]]:
    """(mode, number of layers) of recomputation."""
    some = range(1, num_layers) if space.recompute_layers else ()
    return [(0, 0), (1, 0), *((2, count) for count in some), (2, 0)]


def _num_switches(space: Space, num_layers: int) -> int:
    overlaps = 8 if space.overlaps else 1
    return len(space.shardings) * len(_recomputes(space, num_layers)) * 2 * overlaps


def _switches(  # a small table, made once per combination of the flags
    base: Scenario, space: Space, has_tp: bool, has_pp: bool, has_dp: bool, num_layers: int
) -> IntArray:
    """[switches, 7] sharding, recompute mode and layers, sequence parallel, overlaps tp dp pp."""

    def both(given: bool, exists: bool) -> tuple[int, ...]:
        if not exists:
            return (0,)
        return (0, 1) if space.overlaps else (int(given),)

    plan = base.plan
    shardings = [
        SHARDING_NAMES.index(name)
        for name in space.shardings
        if has_dp or name == space.shardings[0]
    ]
    rows = [
        (sharding, mode, layers, sequence, in_tp, in_dp, in_pp)
        for sharding in shardings
        for mode, layers in _recomputes(space, num_layers)
        for sequence in ((0, 1) if has_tp else (0,))
        for in_tp in both(plan.overlap_tp, has_tp)
        for in_dp in both(plan.overlap_dp, has_dp)
        for in_pp in both(plan.overlap_pp, has_pp)
    ]
    return np.array(rows, dtype=np.int64).reshape(-1, 7)


def _assembled(blocks: list[tuple[tuple[int, ...], IntArray]]) -> Candidates:
    sizes = [len(inner) for _, inner in blocks]
    outer = np.repeat(
        np.array([head for head, _ in blocks], dtype=np.int64).reshape(-1, 8), sizes, axis=0
    )
    none = np.zeros((0, 7), dtype=np.int64)
    inner = np.concatenate([none, *(rows for _, rows in blocks)])
    columns = np.ascontiguousarray(np.concatenate((outer, inner), axis=1).T)
    return Candidates(*columns)


def candidate_scenario(base: Scenario, candidates: Candidates, row: int) -> Scenario:
    """The scenario of one candidate."""
    value = {name: int(column[row]) for name, column in candidates.columns().items()}
    return replace(
        base,
        training=replace(
            base.training,
            micro_batch_size=value["micro_batch_size"],
            recompute=Recompute(
                RECOMPUTE_MODES[value["recompute"]], value["recompute_layers"] or None
            ),
        ),
        plan=candidate_plan(base, value),
        normalised=_normalised(base, settings(base, candidates, row)),
    )


def candidate_plan(base: Scenario, value: Mapping[str, int]) -> ParallelismPlan:
    """The plan that a row of columns describes."""
    num_stages = value["pp"] * value["virtual_stages"]
    balanced = bool(value["balanced"])
    return replace(
        base.plan,
        tp=value["tp"],
        pp=value["pp"],
        dp=value["dp"],
        virtual_stages=value["virtual_stages"],
        schedule=SCHEDULE_NAMES[value["schedule"]],
        sharding=SHARDING[SHARDING_NAMES[value["sharding"]]],
        sequence_parallel=bool(value["sequence_parallel"]),
        layers_per_stage=stage_split(base, num_stages, balanced=True) if balanced else None,
        shard_group_size=None,
        overlap_dp=bool(value["overlap_dp"]),
        overlap_tp=bool(value["overlap_tp"]),
        overlap_pp=bool(value["overlap_pp"]),
    )


def settings(base: Scenario, candidates: Candidates, row: int) -> dict[str, object]:
    """What ``--set`` would be given to run a candidate: key -> value."""
    value = {name: int(column[row]) for name, column in candidates.columns().items()}
    plan = candidate_plan(base, value)
    mode = RECOMPUTE_MODES[value["recompute"]]
    layers = value["recompute_layers"]
    return {
        "plan.tp": plan.tp,
        "plan.pp": plan.pp,
        "plan.dp": plan.dp,
        "plan.virtual_stages": plan.virtual_stages,
        "plan.schedule": plan.schedule,
        "plan.layers_per_stage": plan.layers_per_stage and list(plan.layers_per_stage),
        "plan.sharding": plan.sharding.name,
        "plan.shard_group_size": None,
        "plan.sequence_parallel": plan.sequence_parallel,
        "plan.overlap": {axis: bool(value[f"overlap_{axis}"]) for axis in ("dp", "tp", "pp")},
        "training.micro_batch_size": value["micro_batch_size"],
        "training.recompute": {"mode": mode, "num_layers": layers} if layers else mode,
    }


def _normalised(base: Scenario, changes: Mapping[str, object]) -> dict[str, object]:
    """The base scenario's data with the candidate's values in it."""
    data = dict(base.normalised)
    for path, value in changes.items():
        part, _, key = path.partition(".")
        data[part] = {**cast("dict[str, object]", data.get(part, {})), key: value}
    return data
