"""Row -> scenario: the same mapping that a scenario file holds, through the same checks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from simulator.errors import TrainsimError
from simulator.published.corrections import corrected
from simulator.published.families import Settings, model_settings
from simulator.published.layout import degrees_of, plan_settings
from simulator.published.machines import cluster_settings
from simulator.published.measured import (
    measured_fit,
    measured_memory_bytes,
    measured_step_time_s,
)
from simulator.published.megascale import apply_features
from simulator.published.rows import CannotRunError, PublishedRow
from simulator.published.software import stack_settings
from simulator.published.training import training_settings
from simulator.scenario import Scenario
from simulator.spec.load import parse_scenario


@dataclass(frozen=True, slots=True)
class Case:
    """A row that can be run, with what was measured.

    Attributes:
        notes: what was assumed or derived, for the ``reason`` of the result.
        step_time_s, memory_bytes, fits: measured; None where the row does not say.
    """

    row: PublishedRow
    scenario: Scenario
    notes: tuple[str, ...]
    step_time_s: float | None
    memory_bytes: float | None
    fits: bool | None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that cannot be run, and why."""

    row: PublishedRow
    reason: str


def map_row(row: PublishedRow, *, stack: str = "") -> Case | Skipped:
    """The scenario of a row. What was measured has no influence on it.

    Every rule that a scenario file must obey holds here too; a row that breaks one is skipped
    with the rule's own message.

    Args:
        row: of a table.
        stack: name or path of the stack it runs on; empty for that of its framework.
    """
    if row.problem:
        return Skipped(row, row.problem)
    row, corrections = corrected(row)
    try:
        settings, notes = scenario_settings(row, stack=stack)
        scenario = parse_scenario(settings, row.where, Path())
        step_time_s, derivation = measured_step_time_s(
            row,
            scenario.model,
            scenario.training.global_batch_size,
            scenario.plan.num_devices,
        )
    except TrainsimError as error:
        return Skipped(row, error.problem)
    return Case(
        row,
        scenario,
        (*notes, *corrections, *([derivation] if derivation else [])),
        step_time_s,
        measured_memory_bytes(row),
        measured_fit(row),
    )


def scenario_settings(row: PublishedRow, *, stack: str = "") -> tuple[Settings, list[str]]:
    """A row as the content of a scenario file, and what was assumed; see ``map_row``.

    Raises:
        CannotRunError: if something is missing, or is not modelled.
    """
    if row.number("fits") == 0 and re.search("not available|other error", row.lower("note")):
        raise CannotRunError("it failed for another reason than memory")
    if "of one layer" in row.lower("note"):
        raise CannotRunError("one layer was timed, not a step")
    if "distill" in row.lower("model"):
        raise CannotRunError("knowledge distillation runs a second model, which is not modelled")
    model, model_notes = model_settings(row)
    degrees, degree_notes = degrees_of(row)
    plan, plan_notes = plan_settings(row, degrees, row.needed("layers"))
    training, training_notes = training_settings(row, degrees)
    cluster, cluster_notes = cluster_settings(row, degrees.num_devices)
    software, stack_notes = stack_settings(row)
    feature_notes = apply_features(row, model, plan, software)
    if stack:
        software["preset"], stack_notes = stack, []
    settings: Settings = {
        "name": f"{row.source}/{row.row_id}",
        "model": model,
        "training": training,
        "plan": plan,
        "cluster": cluster,
        "stack": software,
    }
    notes = [*stack_notes, *cluster_notes, *model_notes, *degree_notes, *plan_notes]
    return settings, [*notes, *training_notes, *feature_notes]
