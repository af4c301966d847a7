"""``trainsim scale``, ``compare``, ``sensitivity``: more devices, other plans, other machines."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from simulator.cli_options import (
    AsJson,
    HtmlFile,
    Overrides,
    ScenarioArgument,
    TableFiles,
    number_within,
)
from simulator.console import as_json as json_text
from simulator.console import examples, exit_unless, guarded, progress, show
from simulator.outputs import checked_outputs


class Scaling(StrEnum):
    """What stays the same while devices are added."""

    weak = "weak"
    strong = "strong"
    both = "both"
    largest = "largest"


class Reference(StrEnum):
    """What candidates are compared with."""

    first = "first"
    best = "best"


Vary = Annotated[
    list[str] | None,
    typer.Option("--vary", metavar="KEY=V1,V2", help="Values that a key takes; repeat as needed."),
]


def register(app: typer.Typer) -> None:
    """Adds the three commands."""
    app.command(
        epilog=examples(
            "scale frontier-175b --devices 128:1024:x2",
            "scale my.yaml --devices 64,96,128 --mode strong --html scaling.html",
            "scale my.yaml --devices 128:4096:x2 --pays 0.7 --table scaling.parquet",
        )
    )(scale)
    app.command(
        epilog=examples(
            "compare mine.yaml theirs.yaml",
            "compare llama2-7b-fsdp --vary plan.sharding=zero1,zero2,zero3",
            "compare my.yaml --vary plan.tp=2,4,8 --vary training.precision=bf16,fp8 --to best",
            "compare my.yaml --vary training.recompute=none,selective,full --html compare.html",
        )
    )(compare)
    app.command(
        epilog=examples(
            "sensitivity gpt3-175b-a100-64",
            "sensitivity my.yaml --factor 2 --lever nic_bandwidth --lever network_latency",
            "sensitivity my.yaml --vary training.micro_batch_size=1,2,4 --html tornado.html",
        )
    )(sensitivity)


@guarded
def scale(
    scenario: ScenarioArgument,
    devices: Annotated[
        str,
        typer.Option(
            metavar="COUNTS",
            help="Numbers of devices: 128:4096:x2 doubles, 64:512:+64 adds, 96,128 lists.",
            show_default=False,
        ),
    ],
    mode: Annotated[
        Scaling,
        typer.Option(
            help="weak holds the batch per replica, strong the global batch; largest takes the "
            "largest microbatch that fits."
        ),
    ] = Scaling.both,
    overrides: Overrides = None,
    pays: Annotated[
        float,
        typer.Option(
            help="Devices pay while each one added brings this share of what one of the first does."
        ),
    ] = 0.5,
    tables: TableFiles = None,
    html: HtmlFile = None,
    as_json: AsJson = False,
) -> None:
    """Scaling curves: what more devices bring, what eats the rest, where it stops paying.

    The data-parallel degree grows; tp, cp and pp stay. Efficiency is tokens per second and device
    over those of the first point; what each term of the step takes sums to the rest. Devices that
    cannot be run are listed with the reason; exits 3 if no number of them fits in memory.
    """
    outputs = checked_outputs(tables, html, scenario)
    number_within("--pays", pays, 0.0, 1.0, "a share, for example 0.7")
    from simulator.spec.load import scenario_source
    from simulator.spec.ranges import parse_range
    from simulator.whatif.page import scaling_page
    from simulator.whatif.records import scaling_json, scaling_records
    from simulator.whatif.scaling import mode_named
    from simulator.whatif.scaling import scale as curves_of

    source = scenario_source(scenario, overrides or ())
    counts = tuple(sorted(parse_range(devices)))
    name = source.scenario().name
    modes = mode_named(mode.value)
    with progress() as shown:
        curves = curves_of(source, counts, modes, pays=pays, progress=shown)
    outputs.write(scaling_records(curves), lambda: scaling_page(name, curves))
    if as_json:
        typer.echo(json_text(scaling_json(name, curves)))
    else:
        from simulator.views_whatif import scaling_view

        show(scaling_view(name, curves))
    exit_unless(any(curve.points for curve in curves))


@guarded
def compare(
    scenarios: Annotated[
        list[str],
        typer.Argument(
            metavar="SCENARIO...", help="Files, or names of shipped ones.", show_default=False
        ),
    ],
    overrides: Overrides = None,
    vary: Vary = None,
    to: Annotated[
        Reference,
        typer.Option(help="What others are compared with; best: most tokens/s per device."),
    ] = Reference.first,
    tables: TableFiles = None,
    html: HtmlFile = None,
    as_json: AsJson = False,
) -> None:
    """Plans, models, clusters side by side, each difference explained term by term.

    With --vary, every combination of the values on every scenario. Terms sum to the difference.
    Exits 3 if none of them fits in memory.
    """
    outputs = checked_outputs(tables, html, *scenarios)
    from simulator.spec.load import scenario_source
    from simulator.whatif.axes import parse_axis
    from simulator.whatif.comparing import compare as compared
    from simulator.whatif.comparing import labels
    from simulator.whatif.page import comparison_page
    from simulator.whatif.records import comparison_json, comparison_records

    sources = {
        label: scenario_source(name, overrides or ())
        for label, name in zip(labels(scenarios), scenarios, strict=True)
    }
    axes = [parse_axis(text) for text in vary or ()]
    with progress() as shown:
        found = compared(sources, axes, to=to.value, progress=shown)
    outputs.write(comparison_records(found), lambda: comparison_page(found))
    if as_json:
        typer.echo(json_text(comparison_json(found)))
    else:
        from simulator.views_whatif import comparison_view

        show(comparison_view(found))
    exit_unless(any(candidate.report.memory.fits for candidate in found.candidates))


@guarded
def sensitivity(
    scenario: ScenarioArgument,
    overrides: Overrides = None,
    vary: Vary = None,
    factor: Annotated[
        list[float] | None,
        typer.Option(help="Multiplies every lever; repeat as needed. Else 0.5 and 2."),
    ] = None,
    lever: Annotated[
        list[str] | None,
        typer.Option(help="Only this lever, such as nic_bandwidth; repeat as needed."),
    ] = None,
    tables: TableFiles = None,
    html: HtmlFile = None,
    as_json: AsJson = False,
) -> None:
    """What a faster NIC, more memory, less latency ... would bring: one lever at a time.

    Levers of the machine and its software are multiplied by each factor; --vary sets keys of the
    scenario to other values beside them. The lever with the largest reach comes first.
    """
    outputs = checked_outputs(tables, html, scenario)
    from simulator.spec.load import scenario_source
    from simulator.whatif.axes import parse_axis
    from simulator.whatif.page import sensitivity_page
    from simulator.whatif.records import sensitivity_json, sensitivity_records
    from simulator.whatif.sensitivity import DEFAULT_FACTORS
    from simulator.whatif.sensitivity import sensitivity as effects_of

    source = scenario_source(scenario, overrides or ())
    axes = [parse_axis(text) for text in vary or ()]
    factors = factor or DEFAULT_FACTORS
    with progress() as shown:
        found = effects_of(source, axes, factors=factors, levers=lever or None, progress=shown)
    name = source.scenario().name
    outputs.write(sensitivity_records(found), lambda: sensitivity_page(name, found))
    if as_json:
        typer.echo(json_text(sensitivity_json(found)))
    else:
        from simulator.views_whatif import sensitivity_view

        show(sensitivity_view(found))
