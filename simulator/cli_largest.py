"""``memory --largest``: the largest model that fits."""

from __future__ import annotations

from pathlib import Path

import typer

from simulator.console import as_json as json_text
from simulator.console import exit_unless, progress, show


def show_largest(
    scenario: str, overrides: list[str] | None, shapes: list[str], *, as_json: bool
) -> None:
    """Prints the largest model that fits a scenario's machine under its plan.

    Args:
        scenario: a file, or the name of a shipped one.
        overrides: assignments on it.
        shapes: model presets to choose from; empty to vary the layers of the scenario's own.
        as_json: as data.

    Raises:
        TrainsimError: if the scenario is wrong.
    """
    from simulator.planning.largest_model import deepest_model, largest_of
    from simulator.spec.load import scenario_source
    from simulator.spec.models import ModelInput, load_model
    from simulator.spec.validate import validate
    from simulator.views_largest import largest_record, largest_view

    loaded = scenario_source(scenario, overrides or ()).scenario(fit=False)
    models = [
        load_model(validate(ModelInput, {"preset": name}, "--shapes"), "--shapes", Path())[0]
        for name in shapes
    ]
    with progress() as shown:
        found = largest_of(loaded, models, shown) if models else deepest_model(loaded, shown)
    if as_json:
        typer.echo(json_text(largest_record(found)))
    else:
        show(largest_view(found))
    exit_unless(found.largest is not None)
