"""``trainsim samples``: percentiles of the step time under noise of devices, links and ops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli_options import AsJson, HtmlFile, Overrides, ScenarioArgument, TableFiles
from simulator.console import as_json as json_text
from simulator.console import examples, guarded, progress, show
from simulator.errors import SpecError, UnknownNameError
from simulator.outputs import checked_outputs

if TYPE_CHECKING:
    from simulator.montecarlo import Noise


@guarded
def samples(
    scenario: ScenarioArgument,
    overrides: Overrides = None,
    number: Annotated[int, typer.Option("--samples", metavar="N", help="Steps to draw.")] = 200,
    noise: Annotated[
        list[str] | None,
        typer.Option(
            "--noise",
            metavar="KIND=SPREAD",
            help="speed, link or duration, and how much it varies (0.02: 2 %); repeat as needed.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the random numbers.")] = 0,
    tables: TableFiles = None,
    html: HtmlFile = None,
    as_json: AsJson = False,
) -> None:
    """Show how step time spreads when devices, links and ops vary at random.

    Each kind of noise is log-normal with median 1. Every device, link and op of every
    data-parallel replica is drawn on its own, and they wait for one another as in the real job.
    """
    from simulator.spec.load import load_scenario

    outputs = checked_outputs(tables, html, scenario)
    spreads = _noise(noise or [])
    loaded = load_scenario(scenario, overrides or ())
    from simulator.montecarlo import sample_steps
    from simulator.pages.samples import samples_page
    from simulator.views_samples import samples_view

    with progress() as shown:
        found = sample_steps(loaded, spreads, samples=number, seed=seed, progress=shown)
    times = enumerate(found.step_time_s.tolist())
    records = [{"sample": index, "step_time_s": time_s} for index, time_s in times]
    outputs.write(records, lambda: samples_page(loaded.name, found))
    if as_json:
        typer.echo(json_text({"scenario": loaded.name, **found.to_json()}))
    else:
        show(samples_view(loaded.name, found))


def add_samples_command(app: typer.Typer) -> None:
    """Registers the command of this module."""
    app.command(
        epilog=examples(
            "samples gpt3-175b-a100-64 --noise speed=0.02 --html samples.html",
            "samples my.yaml --samples 1000 --noise speed=0.02 --noise link=0.05 --seed 7 --json",
        )
    )(samples)


def _noise(texts: list[str]) -> Noise:
    from dataclasses import fields

    from simulator.montecarlo import Noise

    kinds = [field.name for field in fields(Noise)]
    spreads: dict[str, float] = {}
    for text in texts:
        kind, _, value = text.partition("=")
        if kind not in kinds:
            raise UnknownNameError.of("kind of noise", kind, kinds, where="--noise")
        try:
            spreads[kind] = float(value)
        except ValueError:
            raise SpecError(
                f"'{value}' is not a number", where=f"--noise {text}", hint=f"write {kind}=0.02"
            ) from None
    if not spreads:
        raise SpecError(
            "no noise is given: every sample would be the same",
            where="--noise",
            hint="give for example --noise speed=0.02; how much varies is a fact of your machine",
        )
    return Noise(**spreads)
