"""``plan``, ``tradeoff`` and ``hardware``: many simulations, one question."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

from simulator.cli_options import (
    AsJson,
    HtmlFile,
    Overrides,
    ScenarioArgument,
    TableFiles,
    number_within,
    option_value,
)
from simulator.console import as_json as json_text
from simulator.console import examples, exit_unless, guarded, progress, show
from simulator.errors import SpecError
from simulator.outputs import checked_outputs

if TYPE_CHECKING:
    from simulator.planning.budget import Rates
    from simulator.planning.capacity import CapacityPlan, Goal
    from simulator.planning.variant import Job


MAX_PUE: Final = 10.0
"""Ten times the energy of the computers: beyond that is a typing error."""
MAX_CARBON_KG_PER_KWH: Final = 10.0
"""Several times what burning lignite emits."""
MAX_POWER_W: Final = 1e6
"""Of one device with its share of the host: a thousand times that of today's."""

Pue = Annotated[
    float | None, typer.Option(help="Power usage effectiveness; else that of hardware/prices.yaml.")
]


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command(
        epilog=examples(
            "plan llama3-405b-16384 --tokens 15T --deadline 60d --price 2.5",
            "plan my.yaml --tokens 300B --devices 64:1024:x2 --budget 500k --goodput 0.9",
            "plan my.yaml --tokens 2T --power '900 W' --pue 1.2 --table plan.csv --html plan.html",
        )
    )(plan)
    app.command(
        epilog=examples(
            "tradeoff llama2-7b-fsdp --seq-length 4k:32k:x2 --recompute none,selective,full",
            "tradeoff my.yaml --sharding ddp,zero1,zero3 --micro-batch-size 1,2,4 --json",
            "tradeoff my.yaml --seq-length 8k:128k:x2 --same-tokens --table lengths.parquet",
            "tradeoff fuyou-13b-rtx4090 --recompute-layers    what to recompute, what to swap",
        )
    )(tradeoff)
    app.command(
        epilog=examples(
            "hardware llama2-7b-fsdp --clusters dgx-a100-cluster,dgx-h100-superpod",
            "hardware my.yaml --clusters dgx-h100-superpod,hgx-b200-cluster "
            "--prices dgx-h100-superpod=2.5 --prices hgx-b200-cluster=4",
            "hardware my.yaml --clusters dgx-h100-superpod --prices prices.yaml --html costs.html",
        )
    )(hardware)


@guarded
def plan(
    scenario: ScenarioArgument,
    tokens: Annotated[str, typer.Option(help="To train on, for example 15T or 300B.")],
    deadline: Annotated[str | None, typer.Option(help="For example 60d or 12h.")] = None,
    budget: Annotated[str | None, typer.Option(help="Dollars, for example 5M.")] = None,
    devices: Annotated[
        str | None,
        typer.Option(
            help="Counts to try: 1024:16384:x2 or 64,96; else 1/16 to 16 times its own, and those "
            "between where a limit is met."
        ),
    ] = None,
    price: Annotated[
        str | None,
        typer.Option(help="Dollars per device and hour; else of hardware/prices.yaml, if any."),
    ] = None,
    power: Annotated[
        str, typer.Option(help="Per device with its share of the host, for example '900 W'.")
    ] = "catalogue",
    pue: Pue = None,
    carbon: Annotated[
        float | None, typer.Option(help="kg CO2e per kWh; else that of hardware/prices.yaml.")
    ] = None,
    goodput: Annotated[
        float, typer.Option(help="Share of the time that makes steps which count.")
    ] = 1.0,
    overrides: Overrides = None,
    tables: TableFiles = None,
    html: HtmlFile = None,
    as_json: AsJson = False,
) -> None:
    """Find devices, days, device-hours, dollars, MWh and tCO2e for a number of tokens.

    The global batch stays, data parallelism grows with the devices; every count is simulated.
    Exits 3 if none fits in memory, or none is in time and in budget.
    """
    from simulator.pages.planning import plan_page
    from simulator.planning.capacity import Goal, capacity_plan
    from simulator.planning.variant import Job
    from simulator.spec.ranges import parse_amount, parse_duration, parse_range
    from simulator.views_planning import plan_view

    outputs = checked_outputs(tables, html, scenario)
    goal = Goal(
        option_value("--tokens", tokens, lambda text: parse_amount(text, "tokens")),
        option_value("--deadline", deadline, parse_duration),
        option_value("--budget", budget, lambda text: parse_amount(text, "dollars")),
    )
    counts = option_value("--devices", devices, parse_range) or ()
    job = Job(scenario, tuple(overrides or ()))
    carbon = number_within(
        *("--carbon", carbon, 0.0, MAX_CARBON_KG_PER_KWH), "kg CO2e per kWh, for example 0.4"
    )
    number_within("--goodput", goodput, 0.001, 1.0, "a share of the time, for example 0.9")
    pue = _checked_pue(pue)
    rates = _rates(job, price=price, power=power, pue=pue, carbon=carbon, goodput=goodput)
    with progress() as shown:
        found = capacity_plan(job, goal, rates, counts, shown)
    rows = [asdict(option) for option in found.options]
    outputs.write(rows, lambda: plan_page(scenario, found))
    if as_json:
        typer.echo(json_text(asdict(found) | {"options": _with_figures(rows, found, goal, rates)}))
    else:
        show(plan_view(found))
    # In time and in budget, where there are such limits.
    exit_unless(found.cheapest is not None)


def _with_figures(
    rows: list[dict[str, object]], found: CapacityPlan, goal: Goal, rates: Rates
) -> list[dict[str, object]]:
    """Every option with the arithmetic of its figures, where it has any."""
    from simulator.planning.capacity import option_figures

    figures = [option_figures(option, goal, rates) for option in found.options]
    return [
        row | ({"figures": [asdict(figure) for figure in some]} if some else {})
        for row, some in zip(rows, figures, strict=True)
    ]


@guarded
def tradeoff(
    scenario: ScenarioArgument,
    seq_length: Annotated[
        str | None, typer.Option(help="Tokens of a sequence: 8k:128k:x2 (k is 1024).")
    ] = None,
    recompute: Annotated[
        str | None, typer.Option(help="Modes: none,selective,alternate,full.")
    ] = None,
    recompute_layers: Annotated[
        bool,
        typer.Option(
            "--recompute-layers",
            help="Numbers of a stage's layers, from none to all: with offload, what to swap.",
        ),
    ] = False,
    sharding: Annotated[str | None, typer.Option(help="Policies: ddp,zero1,zero3,zero++.")] = None,
    micro_batch_size: Annotated[str | None, typer.Option(help="Sequences: 1,2,4.")] = None,
    same_tokens: Annotated[
        bool, typer.Option("--same-tokens", help="Change the batch so that steps are as large.")
    ] = False,
    overrides: Overrides = None,
    tables: TableFiles = None,
    html: HtmlFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what sequence length, recomputation, sharding and microbatch cost in time and memory.

    Every combination is simulated; those that no other one beats in both are marked.
    Exits 3 if none fits in memory.
    """
    from simulator.pages.planning import tradeoff_page
    from simulator.planning.tradeoff import Axes, tradeoff
    from simulator.planning.variant import Job
    from simulator.spec.ranges import parse_range, parse_words
    from simulator.views_planning import tradeoff_view

    if recompute is not None and recompute_layers:
        raise SpecError(
            "--recompute-layers varies how much is recomputed",
            where="--recompute",
            hint="leave one of both out",
        )
    outputs = checked_outputs(tables, html, scenario)
    axes = Axes(
        option_value("--seq-length", seq_length, parse_range) or (),
        option_value("--recompute", recompute, parse_words) or (),
        option_value("--sharding", sharding, parse_words) or (),
        option_value("--micro-batch-size", micro_batch_size, parse_range) or (),
        same_tokens,
        recompute_layers,
    )
    with progress() as shown:
        points = tradeoff(Job(scenario, tuple(overrides or ())), axes, shown)
    rows = [asdict(point) for point in points]
    outputs.write(rows, lambda: tradeoff_page(scenario, points))
    if as_json:
        typer.echo(json_text(rows))
    else:
        show(tradeoff_view(points))
    exit_unless(any(p.prediction is not None and p.prediction.fits for p in points))


@guarded
def hardware(
    scenario: ScenarioArgument,
    clusters: Annotated[str, typer.Option(help="Names or files, between commas.")],
    prices: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE.yaml|NAME=USD",
            help="Dollars per device and hour of a cluster or accelerator; repeatable. "
            "Else those of hardware/prices.yaml.",
        ),
    ] = None,
    devices: Annotated[
        int | None, typer.Option(help="Devices on every machine; else those of the plan.", min=1)
    ] = None,
    pue: Pue = None,
    overrides: Overrides = None,
    tables: TableFiles = None,
    html: HtmlFile = None,
    as_json: AsJson = False,
) -> None:
    """Run the same work on other machines: tokens/s per device, dollars and energy per token.

    Plan, training and software stay; cheapest token first, or fastest device without prices.
    Exits 3 if it fits on none of them.
    """
    from simulator.pages.planning import hardware_page
    from simulator.planning.budget import Sourced
    from simulator.planning.hardware import compare_machines, ranked
    from simulator.planning.variant import Job
    from simulator.spec.prices import parse_prices, shipped_prices
    from simulator.spec.ranges import parse_words
    from simulator.views_planning import hardware_view

    outputs = checked_outputs(tables, html, scenario)
    table = parse_prices(prices or [], shipped_prices())
    known = {n: Sourced(p.value, p.source) for n, p in table.usd_per_device_hour.items()}
    given = _checked_pue(pue)
    factor = table.pue.value if given is None else given
    names = option_value("--clusters", clusters, parse_words)
    job = Job(scenario, tuple(overrides or ()))
    with progress() as shown:
        found = ranked(compare_machines(job, names, known, factor, devices, shown))
    rows = [asdict(machine) for machine in found]
    outputs.write(rows, lambda: hardware_page(scenario, found, factor))
    if as_json:
        typer.echo(json_text({"pue": factor, "machines": rows}))
    else:
        show(hardware_view(found, factor, job.load().stack.name))
    exit_unless(any(m.prediction is not None and m.prediction.fits for m in found))


def _checked_pue(pue: float | None) -> float | None:
    hint = "energy of the data centre over that of its computers, for example 1.2"
    return number_within("--pue", pue, 1.0, MAX_PUE, hint)


def _rates(
    job: Job,
    *,
    price: str | None,
    power: str,
    pue: float | None,
    carbon: float | None,
    goodput: float,
) -> Rates:
    """The options as figures: as given, else from the catalogue and hardware/prices.yaml."""
    from simulator.planning.budget import Rates, Sourced
    from simulator.planning.power import catalogue_power
    from simulator.spec.prices import shipped_prices
    from simulator.spec.ranges import parse_amount
    from simulator.units import parse_quantity

    node, known = job.load().cluster.node, shipped_prices()

    def figure(value: float | None, shipped: Sourced) -> Sourced:
        return shipped if value is None else Sourced(value, "given")

    shipped = known.usd_per_device_hour.get(node.accelerator.name)
    rate = Sourced(shipped.value, shipped.source) if shipped else None
    usd = option_value("--price", price, lambda text: parse_amount(text, "dollars"))
    watts = None
    if power != "catalogue":
        watts = option_value("--power", power, lambda text: parse_quantity(text, "power"))
        hint = "watts of a device with its share of the host, for example '900 W'"
        watts = number_within("--power", watts, 1.0, MAX_POWER_W, hint)
    return Rates(
        usd_per_device_hour=rate if usd is None else Sourced(usd, "given"),
        power_w=figure(watts, catalogue_power(node)),
        pue=figure(pue, Sourced(known.pue.value, known.pue.source)),
        carbon_kg_per_kwh=figure(
            carbon, Sourced(known.carbon_kg_per_kwh.value, known.carbon_kg_per_kwh.source)
        ),
        goodput=Sourced(goodput, "no time lost, default" if goodput == 1 else "given"),
    )
