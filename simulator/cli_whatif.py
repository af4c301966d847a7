"""``trainsim scale``, ``compare``, ``sensitivity``: more devices, other plans, other machines."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli_options import AsJson, Overrides, ScenarioArgument
from simulator.console import as_json as json_text
from simulator.console import examples, guarded, show, write
from simulator.errors import SpecError

if TYPE_CHECKING:
    from simulator.scenario import Scenario as CheckedScenario


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
Outputs = Annotated[
    list[Path] | None,
    typer.Option(
        "--csv",
        "--html",
        metavar="FILE",
        help="Write a line per result (FILE.csv), or plots as one page (FILE.html).",
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the three commands."""
    app.command(
        epilog=examples(
            "scale frontier-175b --devices 128:1024:x2",
            "scale my.yaml --devices 64,96,128 --mode strong --html scaling.html",
            "scale my.yaml --devices 128:4096:x2 --pays 0.7 --csv scaling.csv",
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
    as_json: AsJson = False,
    outputs: Outputs = None,
) -> None:
    """Scaling curves: what more devices bring, what eats the rest, where it stops paying.

    The data-parallel degree grows; tp, cp and pp stay. Efficiency is tokens per second and device
    over those of the first point; what each term of the step takes sums to the rest. Devices that
    cannot be run are listed with the reason.
    """
    _check_outputs([scenario], outputs)
    from simulator.spec.load import scenario_source
    from simulator.spec.ranges import parse_range
    from simulator.whatif.page import scaling_page
    from simulator.whatif.records import csv_text, scaling_json, scaling_records
    from simulator.whatif.scaling import mode_named
    from simulator.whatif.scaling import scale as curves_of

    source = scenario_source(scenario, overrides or ())
    counts = tuple(sorted(parse_range(devices)))
    name = source.scenario().name
    curves = curves_of(source, counts, mode_named(mode.value), pays=pays, watch=_watch)
    for path in outputs or ():
        page = path.suffix == ".html"
        write(path, scaling_page(name, curves) if page else csv_text(scaling_records(curves)))
    if as_json:
        typer.echo(json_text(scaling_json(name, curves)))
    else:
        from simulator.views_whatif import scaling_view

        show(scaling_view(name, curves))


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
    as_json: AsJson = False,
    outputs: Outputs = None,
) -> None:
    """Plans, models, clusters side by side, each difference explained term by term.

    With --vary, every combination of the values on every scenario. Terms sum to the difference.
    """
    _check_outputs(scenarios, outputs)
    from simulator.spec.load import scenario_source
    from simulator.whatif.axes import parse_axis
    from simulator.whatif.comparing import compare as compared
    from simulator.whatif.comparing import labels
    from simulator.whatif.page import comparison_page
    from simulator.whatif.records import comparison_json, comparison_records, csv_text

    sources = {
        label: scenario_source(name, overrides or ())
        for label, name in zip(labels(scenarios), scenarios, strict=True)
    }
    axes = [parse_axis(text) for text in vary or ()]
    found = compared(sources, axes, to=to.value, watch=_watch)
    for path in outputs or ():
        page = path.suffix == ".html"
        write(path, comparison_page(found) if page else csv_text(comparison_records(found)))
    if as_json:
        typer.echo(json_text(comparison_json(found)))
    else:
        from simulator.views_whatif import comparison_view

        show(comparison_view(found))


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
    as_json: AsJson = False,
    outputs: Outputs = None,
) -> None:
    """What a faster NIC, more memory, less latency ... would bring: one lever at a time.

    Levers of the machine and its software are multiplied by each factor; --vary sets keys of the
    scenario to other values beside them. The lever with the largest reach comes first.
    """
    _check_outputs([scenario], outputs)
    from simulator.spec.load import scenario_source
    from simulator.whatif.axes import parse_axis
    from simulator.whatif.page import sensitivity_page
    from simulator.whatif.records import csv_text, sensitivity_json, sensitivity_records
    from simulator.whatif.sensitivity import DEFAULT_FACTORS
    from simulator.whatif.sensitivity import sensitivity as effects_of

    source = scenario_source(scenario, overrides or ())
    axes = [parse_axis(text) for text in vary or ()]
    found = effects_of(
        source, axes, factors=factor or DEFAULT_FACTORS, levers=lever or None, watch=_watch
    )
    name = source.scenario().name
    for path in outputs or ():
        is_page = path.suffix == ".html"
        write(
            path, sensitivity_page(name, found) if is_page else csv_text(sensitivity_records(found))
        )
    if as_json:
        typer.echo(json_text(sensitivity_json(found)))
    else:
        from simulator.views_whatif import sensitivity_view

        show(sensitivity_view(found))


def _watch(scenarios: Sequence[CheckedScenario]) -> Iterable[CheckedScenario]:
    """Shows on a terminal how many are done."""
    from rich.console import Console
    from rich.progress import track

    return track(
        scenarios,
        "Simulating",
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


def _check_outputs(scenarios: Sequence[str], outputs: Sequence[Path] | None) -> None:
    """An output has a form that is known, and replaces neither a scenario nor another one."""
    written = [path.resolve() for path in outputs or ()]
    read = [Path(name).resolve() for name in scenarios]
    for path in written:
        if path.suffix not in (".csv", ".html"):
            raise SpecError(
                f"'{path.name[:80]}' does not end in .csv or .html",
                hint=f"name it for example '{path.stem[:40]}.csv'",
            )
        if path in read or written.count(path) > 1:
            raise SpecError(
                f"'{path}' would replace a scenario or another output",
                hint="give every output a name of its own",
            )
