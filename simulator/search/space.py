"""The plans that a search looks at, as rows of integer columns.

A ``Scenario`` is made only of those that are simulated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Final, cast

from simulator.errors import PlanError, UnknownNameError
from simulator.numeric import IntArray
from simulator.plan import ParallelismPlan, Recompute, RecomputeMode
from simulator.scenario import Scenario
from simulator.schedule.table import SCHEDULES
from simulator.sharding import SHARDING

SCHEDULE_NAMES: Final = tuple(SCHEDULES)
SHARDING_NAMES: Final = ("ddp", "zero1", "zero2", "zero3")
"""Policies that are searched; the others need a run each."""
RECOMPUTE_MODES: Final[tuple[RecomputeMode, ...]] = ("none", "selective", "full")
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
                if name in SHARDING and name not in known:
                    raise PlanError(
                        f"sharding {name} is not searched, only {', '.join(known)}",
                        where="sharding",
                        hint=f"compare --vary plan.sharding=zero3,{name} takes every policy",
                    )
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


def can_split(base: Scenario, num_stages: int, *, balanced: bool) -> bool:
    """Whether ``stage_split`` divides the layers, in another way than unbalanced."""
    if balanced and _own_split(base, num_stages):
        return True
    if balanced and num_stages == 2:
        return False  # two stages are alike either way
    return (base.model.num_layers + 2 * balanced) % num_stages == 0


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
