"""The command line. Data goes to stdout, everything else to stderr.

Exit codes: 0 done, 1 internal error, 2 bad input or nothing can run, 3 nothing fits in memory,
time or money, 4 a regression bar is missed. Nothing heavy is imported before a command needs it,
so that ``--help`` is instant.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from simulator import cli_whatif
from simulator.cli_calibrate import calibrate_app
from simulator.cli_collective import register as register_collective
from simulator.cli_contention import register as register_contention
from simulator.cli_largest import show_largest
from simulator.cli_options import AsJson, Overrides, ScenarioArgument, number_within
from simulator.cli_planning import register as register_planning
from simulator.cli_samples import add_samples_command
from simulator.cli_search import register as _register_search
from simulator.cli_show import register as register_show
from simulator.cli_sweep import add_sweep_commands
from simulator.cli_understanding import register as register_understanding
from simulator.console import as_json as _as_json
from simulator.console import busy as _busy
from simulator.console import examples as _examples
from simulator.console import exit_unless as _exit_unless
from simulator.console import guarded as _guarded
from simulator.console import note_fabric as _note_fabric
from simulator.console import progress as _progress
from simulator.console import show as _print
from simulator.console import write as _write
from simulator.errors import SpecError
from simulator.outputs import checked_outputs

if TYPE_CHECKING:
    from simulator.report.report import Report

BAR_MISSED: Final = 4

app = typer.Typer(
    name="trainsim",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(calibrate_app)
cli_whatif.register(app)
add_sweep_commands(app)
add_samples_command(app)


class Engine(StrEnum):
    """What executes the graph."""

    auto = "auto"
    des = "des"
    maxplus = "maxplus"


EngineOption = Annotated[
    Engine, typer.Option("--engine", help="Executor: auto picks des where links are shared.")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="List every class and assumption.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        from simulator import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback(
    epilog=_examples(
        "list scenarios                 what can be run as it is",
        "run gpt3-175b-a100-64          time, MFU and memory of one step",
        "run my.yaml --set plan.tp=4    the same with another plan",
        "memory my.yaml                 what fills the memory of every rank",
        "check my.yaml                  whether the file is right",
        "validate                       predictions beside published runs",
    )
)
def trainsim(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Predict what a distributed training job will do on a given machine, without a GPU.

    Exit codes: 0 done, 1 internal error, 2 bad input or nothing can run, 3 nothing fits (in
    memory, a deadline or a budget), 4 a bar is missed.
    """


@app.command(
    epilog=_examples(
        "run gpt3-175b-a100-64",
        "run my.yaml --set plan.tp=4 --set plan.dp=2 --json",
        "run my.yaml --set 'training.recompute={mode: full, num_layers: 2}'",
        "run my.yaml --trace step.json --html step.html",
    )
)
@_guarded
def run(
    scenario: ScenarioArgument,
    overrides: Overrides = None,
    trace: Annotated[
        Path | None, typer.Option(help="Write a timeline for Perfetto or chrome://tracing.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a report as one HTML page.")] = None,
    as_json: AsJson = False,
    engine: EngineOption = Engine.auto,
    verbose: Verbose = False,
) -> None:
    """Predict one training step: time, MFU, memory, and where the time goes."""
    checked_outputs(None, html, scenario, others=[trace])
    report = _simulated(scenario, overrides, engine)
    from simulator.report.formats import FORMATS

    if trace is not None:
        _write(trace, FORMATS["trace"](report))
    if html is not None:
        _write(html, FORMATS["html"](report))
    if as_json:
        typer.echo(FORMATS["json"](report).rstrip("\n"))
    else:
        from simulator.report.text import render

        _print(render(report, verbose=verbose))
    _exit_unless(report.memory.fits)


@app.command(
    epilog=_examples(
        "memory gpt3-175b-a100-64",
        "memory my.yaml --set plan.sharding=zero1 --json",
        "memory my.yaml --largest                            the deepest model that fits",
        "memory my.yaml --largest --shapes llama2-7b,llama2-13b,llama2-70b",
    )
)
@_guarded
def memory(
    scenario: ScenarioArgument,
    overrides: Overrides = None,
    largest: Annotated[
        bool, typer.Option("--largest", help="The most layers that fit, and what limits them.")
    ] = False,
    shapes: Annotated[
        str, typer.Option(help="With --largest: of these model presets, with commas between.")
    ] = "",
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Show what fills the memory of every class of ranks, and whether it fits.

    With --largest, the largest model that the machine holds under the plan.
    """
    names = [name.strip() for name in shapes.split(",") if name.strip()]
    if names and not largest:
        raise SpecError(f"--shapes {shapes[:60]} without --largest", hint="add --largest")
    if largest:
        show_largest(scenario, overrides, names, as_json=as_json)
        return
    report = _simulated(scenario, overrides, Engine.auto)
    if as_json:
        from simulator.report.record import to_json

        typer.echo(_as_json(json.loads(to_json(report))["memory"]))
    else:
        from simulator.views import memory_view

        _print(memory_view(report, verbose=verbose))
    _exit_unless(report.memory.fits)


@app.command(
    epilog=_examples(
        "validate",
        "validate --rows mine.csv --stack fitted.yaml",
        "validate --page accuracy.html",
    )
)
@_guarded
def validate(
    more_rows: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE.csv]...", help="More tables of runs.", show_default=False),
    ] = None,
    rows: Annotated[
        list[Path] | None,
        typer.Option("--rows", metavar="FILE.csv", help="A table of runs; repeat as needed."),
    ] = None,
    pages: Annotated[
        list[Path] | None,
        typer.Option("--page", metavar="FILE", help="Write a page, .md or .html; repeatable."),
    ] = None,
    bar: Annotated[
        float | None,
        typer.Option(
            help="Exit 4 if the mean absolute error over test rows is above it, for example 0.15."
        ),
    ] = None,
    stack: Annotated[
        str, typer.Option(help="Run all rows on this stack, a name or a path, to test a fit.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Compare predictions with published runs, row by row; without files, the shipped ones.

    A row that cannot be run is listed with the reason and counted, never dropped.
    """
    from simulator.published.accuracy_page import accuracy_page
    from simulator.published.pages import page_renderer
    from simulator.published.validate import validate as compare
    from simulator.spec.stacks import load_stack

    # What is wrong is refused before minutes are spent.
    number_within("--bar", bar, 0.0, 10.0, "a share, for example 0.15")
    renderers = [(page, page_renderer(page)) for page in pages or []]
    files = [*(rows or []), *(more_rows or [])]
    if stack:
        load_stack(stack)
    with _progress() as shown:
        result = compare(files or None, progress=shown, stack=stack)
    for page, render in renderers:
        _write(page, render(accuracy_page(result)))
    if as_json:
        typer.echo(_as_json(result.to_json()))
    else:
        from simulator.views import validation_view

        _print(validation_view(result))
    error = result.overall.test.mape
    if bar is not None and (error is None or error > bar):
        raise typer.Exit(BAR_MISSED)


@app.command("list", epilog=_examples("list", "list models", "list clusters --json"))
@_guarded
def list_(
    kind: Annotated[
        str | None,
        typer.Argument(
            help="accelerators, nodes, clusters, models, stacks, schedules, shardings, scenarios.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what is shipped; without a kind, how much there is of each."""
    from simulator.spec.catalogue import KINDS, entries
    from simulator.views import table

    kinds = [kind] if kind else list(KINDS)
    found = {name: entries(name) for name in kinds}
    if as_json:
        data = {k: [{"name": e.name, "facts": e.facts} for e in v] for k, v in found.items()}
        typer.echo(_as_json(data[kind] if kind else data))
    elif kind:
        _print(table([(entry.name, entry.facts) for entry in found[kind]]))
    else:
        _print(table([(name, str(len(found[name]))) for name in kinds]))


@app.command(epilog=_examples("check my.yaml", "check hardware/clusters/my-cluster.yaml"))
@_guarded
def check(
    file: Annotated[
        Path, typer.Argument(help="A scenario or a hardware description.", show_default=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Check a scenario, cluster, node, accelerator or stack file without simulating."""
    from simulator.spec.catalogue import check_file

    kind, facts = check_file(file)
    typer.echo(
        _as_json({"file": str(file), "kind": kind, "facts": facts})
        if as_json
        else f"ok  {kind}: {facts}"
    )


@app.command(epilog=_examples("schema > scenario.schema.json"))
@_guarded
def schema() -> None:
    """Print the JSON schema of a scenario file, for editors that check while one types."""
    from simulator.spec.scenario import ScenarioSpec

    typer.echo(_as_json(ScenarioSpec.model_json_schema()))


register_planning(app)
register_show(app)
register_understanding(app)
register_collective(app)
register_contention(app)
_register_search(app)


def main() -> None:
    """Entry point of the ``trainsim`` script."""
    app()


def _simulated(scenario: str, overrides: list[str] | None, engine: Engine) -> Report:
    from simulator.spec.load import load_scenario

    loaded = load_scenario(scenario, overrides or ())
    from simulator.simulate import simulate

    _note_fabric(loaded.cluster.assumptions)
    with _busy(f"Simulating {loaded.plan.num_devices} devices"):
        return simulate(loaded, engine=engine.value)
