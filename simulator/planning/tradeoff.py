"""Step time and memory over sequence length, recomputation, sharding and microbatch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Final, get_args

from simulator.errors import SpecError, UnknownNameError
from simulator.plan import Recompute, RecomputeMode
from simulator.planning.variant import Job, Prediction, attempt, check_any_runs
from simulator.progress import Progress, followed, silent
from simulator.scenario import Scenario
from simulator.sharding import SHARDING, SHARDING_ALIASES

MAX_POINTS: Final = 2000
"""Largest grid: every point is a simulation."""
LAYER_COUNTS: Final = 9
"""Numbers of recomputed layers tried: the step time is flat around its best."""


@dataclass(frozen=True, slots=True)
class Axes:
    """Values tried; an empty axis keeps the scenario's own value.

    Attributes:
        same_tokens: the global batch is changed so that every step trains the same tokens;
            otherwise it keeps its number of sequences.
        recompute_layers: beside ``recompute``, numbers of a stage's layers from none to all. Where
            activations have a home off the device, the other layers send all they keep there: so
            much to swap, so much to recompute (Fuyou, arXiv 2403.06504, chooses likewise).
    """

    seq_lengths: tuple[int, ...] = ()
    recompute: tuple[str, ...] = ()
    sharding: tuple[str, ...] = ()
    micro_batch_sizes: tuple[int, ...] = ()
    same_tokens: bool = False
    recompute_layers: bool = False


@dataclass(frozen=True, slots=True)
class Point:
    """One combination.

    Attributes:
        recompute: mode, and how many layers of a stage where not all recompute.
        best: no other point of its sequence length is as fast with less memory, or faster with as
            much; among points that fit.
        reason: why there is no prediction.
    """

    seq_length: int
    global_batch_size: int
    recompute: str
    sharding: str
    micro_batch_size: int
    prediction: Prediction | None
    best: bool = False
    reason: str = ""


def tradeoff(job: Job, axes: Axes, progress: Progress = silent) -> tuple[Point, ...]:
    """Simulates every combination, in the order of the axes.

    Raises:
        UnknownNameError: for a mode of recomputation or a sharding that does not exist.
        SpecError: if the grid is too large.
        PlanError: if no combination can be run.
    """
    scenario = job.load()
    _check_names(axes)
    training, plan = scenario.training, scenario.plan
    recomputing = _recomputing(scenario, axes)
    grid = list(
        product(
            axes.seq_lengths or (training.seq_length,),
            recomputing,
            axes.sharding or ("",),
            axes.micro_batch_sizes or (training.micro_batch_size,),
        )
    )
    if len(grid) > MAX_POINTS:
        raise SpecError(
            f"the grid has {len(grid):,} points, more than {MAX_POINTS:,}",
            hint="give fewer values of an axis",
        )
    points: list[Point] = []
    for seq_length, recompute, sharding, micro in followed(grid, "Simulating", progress):
        point = Point(
            seq_length=seq_length,
            global_batch_size=_batch(scenario, seq_length, axes),
            recompute=recompute,
            sharding=sharding or plan.sharding.name,
            micro_batch_size=micro,
            prediction=None,
        )
        held = _HELD_BATCH if scenario.auto_fit is not None else []
        texts = [*held, *_assignments(point, recomputing[recompute], sharding)]
        found, reason = attempt(job, texts)
        points.append(replace(point, prediction=found, reason=reason))
    check_any_runs([p.reason for p in points], "", "take other values of the axes")
    return _marked(points)


_HELD_BATCH: Final = ["training.num_microbatches=null", "training.auto_fit=null"]
"""A batch that was fitted is held: a grid varies the microbatch itself."""


def _check_names(axes: Axes) -> None:
    modes = get_args(RecomputeMode)
    for name in axes.recompute:
        if name not in modes:
            raise UnknownNameError.of("recompute mode", name, modes, where="--recompute")
    for name in axes.sharding:
        if name not in SHARDING and name not in SHARDING_ALIASES:
            known = [*SHARDING, *SHARDING_ALIASES]
            raise UnknownNameError.of("sharding", name, known, where="--sharding")


def _recomputing(scenario: Scenario, axes: Axes) -> dict[str, str]:
    """What a table says of recomputation -> what is assigned; empty where it stays as written.

    Beside numbers of layers, the job's own way stays in the table, and so do the queries, keys and
    values that it keeps.
    """
    own = scenario.training.recompute
    values = {mode: mode for mode in axes.recompute}
    if axes.recompute_layers:
        most = scenario.model.num_layers // scenario.plan.num_stages
        counts = {round(most * part / (LAYER_COUNTS - 1)) for part in range(LAYER_COUNTS)}
        kept = ", keeps_qkv: true" if own.keeps_qkv else ""
        partly = {
            f"full, {n} layers": f"{{mode: full, num_layers: {n}{kept}}}"
            for n in sorted(counts - {0, most})
        }
        layers = {"none": "none"} | partly | {"full": f"{{mode: full{kept}}}"}
        values = ({} if values or _named(own) in layers else {_named(own): ""}) | values | layers
    return values or {_named(own): ""}


def _named(recompute: Recompute) -> str:
    """As a table says it."""
    some = "" if recompute.num_layers is None else f", {recompute.num_layers} layers"
    return f"{recompute.mode}{some}"


def _batch(scenario: Scenario, seq_length: int, axes: Axes) -> int:
    """Sequences of a global batch: as they are, or of the same tokens (at least one)."""
    training = scenario.training
    if not axes.same_tokens:
        return training.global_batch_size
    return max(training.global_batch_size * training.seq_length // seq_length, 1)


def _assignments(point: Point, recompute: str, sharding: str) -> list[str]:
    """What makes the scenario this point; a value that is not an axis stays as it is written."""
    texts = [
        f"training.seq_length={point.seq_length}",
        f"training.global_batch_size={point.global_batch_size}",
        f"training.micro_batch_size={point.micro_batch_size}",
    ]
    if recompute:
        texts.append(f"training.recompute={recompute}")
    if sharding:
        texts.append(f"plan.sharding={sharding}")
    return texts


def _marked(points: Sequence[Point]) -> tuple[Point, ...]:
    return tuple(replace(point, best=_is_best(point, points)) for point in points)


def _is_best(point: Point, points: Sequence[Point]) -> bool:
    """Whether a point is on the front of tokens per second and memory of its sequence length."""
    own = point.prediction
    if own is None or not own.fits:
        return False
    others = [
        other.prediction
        for other in points
        if other.seq_length == point.seq_length and other.prediction and other.prediction.fits
    ]
    return not any(
        other.tokens_per_s >= own.tokens_per_s
        and other.peak_bytes <= own.peak_bytes
        and (other.tokens_per_s > own.tokens_per_s or other.peak_bytes < own.peak_bytes)
        for other in others
    )
