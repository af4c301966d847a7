"""``mfu`` and ``schedule``: what a number means, what a pipeline does."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from simulator.cli_options import AsJson, HtmlFile, Overrides, TableFiles, option_value
from simulator.console import as_json as json_text
from simulator.console import examples, guarded, progress, show, write
from simulator.errors import ScheduleError, SpecError
from simulator.outputs import checked_outputs

if TYPE_CHECKING:
    from simulator.model import TransformerConfig
    from simulator.planning.grid import Grid, Skipped
    from simulator.planning.utilisation import Measurement, Reported, Utilisation
    from simulator.planning.variant import Job
    from simulator.scenario import Scenario as LoadedScenario

MAX_GRIDS: Final = 64
"""Most combinations of one command."""
DEFAULT_SEQ_LENGTH: Final = 2048
DEFAULT_PRECISION: Final = "bf16"


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command(
        epilog=examples(
            "mfu --model llama2-7b --accelerator h100-sxm5-80gb --tokens-per-s 9600",
            "mfu --model llama3-405b-16384 --tokens-per-s 2.88M --html mfu.html",
            "mfu --model llama2-7b --accelerator a100-sxm4-80gb --tokens-per-s 26k "
            "--reported 65%    which convention that is",
        )
    )(mfu)
    app.command(
        epilog=examples(
            "schedule --pp 4 --microbatches 8 --kinds 1f1b,interleaved,zb-h1",
            "schedule --pp 8 --microbatches 8,16,32 --kinds 1f1b --table bubbles.csv",
            "schedule gpt3-175b-a100-64 --html schedule.html    with its simulated times",
        )
    )(schedule)


@guarded
def mfu(
    model: Annotated[str, typer.Option(help="A model preset or a scenario.")],
    tokens_per_s: Annotated[str, typer.Option(help="Measured, of all devices together.")],
    accelerator: Annotated[
        str | None, typer.Option(help="Where it was measured; else that of the scenario.")
    ] = None,
    devices: Annotated[
        int | None, typer.Option(help="Devices; else those of the scenario, or 1.", min=1)
    ] = None,
    seq_length: Annotated[
        str | None, typer.Option(help="Tokens of a sequence; else of the scenario, or 2048.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="Of the peak; else of the scenario, or bf16.")
    ] = None,
    reported: Annotated[
        str | None, typer.Option(help="A utilisation that somebody printed, to be explained.")
    ] = None,
    tables: TableFiles = None,
    html: HtmlFile = None,
    as_json: AsJson = False,
) -> None:
    """Express a measured throughput as a utilisation, under every way of counting FLOPs.

    Utilisations are of the dense peak; impossible ones come with the mistakes that explain them.
    """
    from simulator.pages.understanding import mfu_page
    from simulator.planning.utilisation import (
        Reported,
        faster_accelerators,
        origins_of,
        parse_fraction,
        utilisations,
        warnings,
    )
    from simulator.spec.hardware import load_accelerator
    from simulator.spec.yaml_file import list_data
    from simulator.views_understanding import mfu_view

    outputs = checked_outputs(tables, html, model)
    share = None if reported is None else parse_fraction(reported)
    measured, defaults = _measurement(
        model,
        accelerator,
        tokens_per_s,
        devices=devices,
        seq_length=seq_length,
        precision=precision,
    )
    rows = utilisations(measured)
    known = [load_accelerator(name) for name in list_data("accelerators")]
    doubts = warnings(measured, faster_accelerators(measured, known))
    stated = None if share is None else Reported(share, origins_of(measured, share))
    outputs.write(
        [asdict(row) for row in rows],
        lambda: mfu_page(measured, rows, doubts, stated, defaults),
    )
    if as_json:
        typer.echo(json_text(_record(measured, rows, doubts, stated, defaults)))
    else:
        show(mfu_view(measured, rows, doubts, stated, defaults))


def _record(
    measured: Measurement,
    rows: Sequence[Utilisation],
    doubts: Sequence[str],
    reported: Reported | None,
    defaults: Sequence[str],
) -> dict[str, object]:
    return {
        "model": measured.model.name,
        "accelerator": measured.accelerator.name,
        "devices": measured.devices,
        "seq_length": measured.seq_length,
        "precision": measured.precision,
        "tokens_per_s": measured.tokens_per_s,
        "defaults_taken": list(defaults),
        "dense_peak_flops_per_s": measured.peak_flops_per_s,
        "conventions": [asdict(row) for row in rows],
        "warnings": list(doubts),
        "reported": None if reported is None else [asdict(hint) for hint in reported.origins],
    }


def _measurement(
    model: str,
    accelerator: str | None,
    tokens_per_s: str,
    *,
    devices: int | None,
    seq_length: str | None,
    precision: str | None,
) -> tuple[Measurement, tuple[str, ...]]:
    """What was measured, and the options that took a default; a scenario gives what they omit."""
    from simulator.planning.utilisation import Measurement
    from simulator.spec.hardware import load_accelerator
    from simulator.spec.ranges import parse_amount, parse_range

    shape, scenario = _model(model, is_alone=accelerator is not None)
    device = option_value("--accelerator", accelerator, load_accelerator)
    if device is None and scenario is not None:
        device = scenario.cluster.node.accelerator
    if device is None:
        raise SpecError(
            "the accelerator is missing",
            where="mfu",
            hint="give --accelerator, for example h100-sxm5-80gb (trainsim list accelerators)",
        )
    lengths = option_value("--seq-length", seq_length, parse_range)
    own = (DEFAULT_SEQ_LENGTH, DEFAULT_PRECISION, 1)
    if scenario is not None:
        training = scenario.training
        own = (training.seq_length, training.precision, scenario.plan.num_devices)
    measured = Measurement(
        model=shape,
        seq_length=lengths[0] if lengths else own[0],
        accelerator=device,
        precision=precision or own[1],
        tokens_per_s=option_value(
            "--tokens-per-s", tokens_per_s, lambda text: parse_amount(text, "tokens")
        ),
        devices=devices or own[2],
    )
    options = (("--seq-length", seq_length), ("--precision", precision), ("--devices", devices))
    return measured, () if scenario else tuple(name for name, value in options if value is None)


def _model(name: str, *, is_alone: bool) -> tuple[TransformerConfig, LoadedScenario | None]:
    """A preset, or the model of a scenario, which is meant where both have the name.

    Args:
        name: what the user wrote.
        is_alone: a preset suffices, for the accelerator is known.
    """
    from simulator.errors import UnknownNameError
    from simulator.spec.load import find_scenario, list_scenarios, load_scenario
    from simulator.spec.models import ModelInput, load_model, model_presets

    is_preset = name.lower().replace("_", "-") in model_presets()
    if is_preset and (is_alone or name not in list_scenarios()):
        return load_model(ModelInput(preset=name), "--model", Path())[0], None
    try:
        find_scenario(name)
    except UnknownNameError:
        known = {*model_presets(), *list_scenarios()}
        raise UnknownNameError.of("model or scenario", name, known, where="--model") from None
    scenario = load_scenario(name)
    return scenario.model, scenario


@guarded
def schedule(
    scenario: Annotated[
        str | None,
        typer.Argument(help="A scenario, for its simulated times; else --pp.", show_default=False),
    ] = None,
    pp: Annotated[
        int | None, typer.Option(help="Pipeline ranks, without a scenario.", min=1)
    ] = None,
    microbatches: Annotated[str | None, typer.Option(help="8,16,32 or 8:64:x2.")] = None,
    kinds: Annotated[
        str | None, typer.Option(help="Schedules between commas (trainsim list schedules).")
    ] = None,
    virtual_stages: Annotated[
        int | None, typer.Option(help="Chunks per rank of interleaved schedules.", min=1)
    ] = None,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the drawing, if it is only one.")
    ] = None,
    overrides: Overrides = None,
    tables: TableFiles = None,
    html: HtmlFile = None,
    as_json: AsJson = False,
) -> None:
    """Draw pipeline schedules: who runs what when, the bubble beside its closed form, what is held.

    Without a scenario F = 1, B = 2 (B = W = 1 where split) and messages are free.
    """
    from simulator.pages.understanding import schedule_page
    from simulator.planning.variant import Job
    from simulator.spec.ranges import parse_range, parse_words
    from simulator.views import PLAIN_WIDTH
    from simulator.views_understanding import schedule_view

    outputs = checked_outputs(tables, html, *([scenario] if scenario else []), svg=svg)
    counts = option_value("--microbatches", microbatches, parse_range)
    names = option_value("--kinds", kinds, parse_words)
    if scenario is None:
        if overrides:
            raise SpecError("--set needs a scenario", hint="name one, or leave --set out")
        grids, skipped = _unit_grids(pp, counts, names, virtual_stages)
    else:
        if pp is not None:
            raise SpecError("--pp is that of the scenario", hint="use --set plan.pp=...")
        job = Job(scenario, tuple(overrides or ()))
        grids, skipped = _real_grids(job, counts, names, virtual_stages)
    if svg is not None:
        _write_svg(svg, grids)
    rows = [_row(grid) for grid in grids] + [asdict(left_out) for left_out in skipped]
    title = f"Pipeline schedule of {scenario}" if scenario else "Pipeline schedules"
    outputs.write(rows, lambda: schedule_page(title, grids, skipped))
    if as_json:
        typer.echo(json_text(rows))
    else:
        coloured = sys.stdout.isatty()
        width = shutil.get_terminal_size().columns if coloured else PLAIN_WIDTH
        show(schedule_view(grids, skipped, width, coloured=coloured))


def _write_svg(path: Path, grids: Sequence[Grid]) -> None:
    from simulator.pages.understanding import grid_sections
    from simulator.report.drawing import standalone_svg

    if len(grids) > 1:
        raise SpecError(f"{len(grids)} drawings are no single SVG", hint="use --html")
    write(path, standalone_svg(grid_sections(grids)[0].svg))


def _unit_grids(
    pp: int | None,
    counts: tuple[int, ...] | None,
    names: tuple[str, ...] | None,
    chunks: int | None,
) -> tuple[list[Grid], list[Skipped]]:
    from simulator.planning.grid import chunks_for, laid_out, unit_grid

    if pp is None:
        raise SpecError(
            "there is neither a scenario nor a number of pipeline ranks",
            where="schedule",
            hint="write for example: schedule --pp 4 --microbatches 8 --kinds 1f1b,zb-h1",
        )
    wanted = [(kind, m) for kind in names or ("1f1b",) for m in counts or (2 * pp,)]
    _check_number(len(wanted))
    _check_chunks(names or ("1f1b",), chunks)

    def lay_out(kind: str, m: int) -> Grid:
        return unit_grid(kind, pp, m, chunks_for(kind, chunks))

    with progress() as shown:
        return laid_out(wanted, lay_out, shown)


def _real_grids(
    job: Job,
    counts: tuple[int, ...] | None,
    names: tuple[str, ...] | None,
    chunks: int | None,
) -> tuple[list[Grid], list[Skipped]]:
    """The scenario's schedule, or others and other numbers of microbatches on the same stages."""
    from simulator.planning.grid import chunks_for, laid_out, scenario_grid

    base = job.load()
    per_pass = base.plan.dp * base.training.micro_batch_size
    own = (base.training.global_batch_size // per_pass,)
    wanted = [(kind, m) for kind in names or (base.plan.schedule,) for m in counts or own]
    _check_number(len(wanted))
    _check_chunks(names or (base.plan.schedule,), chunks)

    def lay_out(kind: str, m: int) -> Grid:
        v = chunks_for(kind, chunks or base.plan.virtual_stages)
        overrides: tuple[str, ...] = (f"training.global_batch_size={m * per_pass}",)
        if (kind, v) != (base.plan.schedule, base.plan.virtual_stages):
            overrides += (f"plan.schedule={kind}", f"plan.virtual_stages={v}")
        return scenario_grid(job, overrides)

    with progress() as shown:
        return laid_out(wanted, lay_out, shown)


def _check_chunks(kinds: Sequence[str], chunks: int | None) -> None:
    """A number of virtual stages must be that of one of the schedules at least."""
    from simulator.planning.grid import chunks_for

    if chunks is not None and all(chunks_for(kind, chunks) != chunks for kind in kinds):
        raise SpecError(
            f"--virtual-stages {chunks} has no effect on --kinds {','.join(kinds)}",
            hint="interleaved schedules take 2 or more, for example --kinds interleaved",
        )


def _check_number(count: int) -> None:
    if count > MAX_GRIDS:
        raise ScheduleError(
            f"{count} combinations are more than {MAX_GRIDS}", hint="give fewer kinds or counts"
        )


def _row(grid: Grid) -> dict[str, object]:
    form = grid.closed_form
    return {
        "schedule": grid.kind,
        "pp": grid.ranks,
        "microbatches": grid.microbatches,
        "virtual_stages": grid.chunks,
        "simulated": grid.is_real,
        "length": grid.length,
        "bubble_share": grid.bubble_share,
        "closed_form_bubble_share": grid.closed_form_share,
        "closed_form": None if form is None else asdict(form),
        "pass_times": asdict(grid.times),
        "inflight_microbatches": list(grid.inflight),
        "stage_time": list(grid.stage_time),
        "worst_stage": grid.worst_stage,
    }
