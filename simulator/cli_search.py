"""The command ``search``: the best plans of a space, proven."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
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
from simulator.console import as_json as _as_json
from simulator.console import busy, examples, guarded, progress, show
from simulator.outputs import Outputs, checked_outputs

if TYPE_CHECKING:
    from simulator.scenario import Scenario
    from simulator.search.explain import Explanation
    from simulator.search.optimum import Found, SearchResult


SMALLEST_PLAN: Final = (
    *("plan.tp=1", "plan.cp=1", "plan.pp=1", "plan.dp=1", "plan.virtual_stages=1"),
    *("plan.schedule=1f1b", "plan.layers_per_stage=null", "plan.sequence_parallel=false"),
    *("plan.sharding=ddp", "plan.shard_group_size=null", "training.micro_batch_size=1"),
)
"""One device: a plan that every model and batch allows."""


MAX_PRICE: Final = 1e6
"""Of a device-hour in any currency; more is a typing error."""


class Objective(StrEnum):
    """What the best plan makes best."""

    step_time = "step_time"
    tokens_per_s = "tokens_per_s"
    tokens_per_s_per_device = "tokens_per_s_per_device"
    cost_per_token = "cost_per_token"


def register(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    app.command(
        epilog=examples(
            "search gpt3-175b-a100-64",
            "search my.yaml --devices 8:64:x2 --objective cost_per_token --price 2.5",
            "search my.yaml --top 10 --explain --infeasible",
            "search my.yaml --schedule 1f1b --schedule zb-h1 --headroom 0.1 --json",
            "search my.yaml --top 20 --table plans.csv --html plans.html",
        )
    )(guarded(search))


def search(
    scenario: ScenarioArgument,
    overrides: Overrides = None,
    objective: Annotated[
        Objective, typer.Option(help="What the best plan makes best.")
    ] = Objective.step_time,
    top: Annotated[int, typer.Option(min=1, help="How many plans are proven and shown.")] = 5,
    devices: Annotated[
        list[str] | None,
        typer.Option(
            help="Numbers of devices, 64:512:x2 or 64,96; the cluster grows as needed. "
            "Default: the scenario's."
        ),
    ] = None,
    schedules: Annotated[
        list[str] | None,
        typer.Option(
            "--schedule", help="Pipeline schedule; repeat. Default: 1f1b and interleaved."
        ),
    ] = None,
    shardings: Annotated[
        list[str] | None,
        typer.Option("--sharding", help="Sharding policy; repeat. Default: all of them."),
    ] = None,
    max_micro_batch: Annotated[
        int, typer.Option(min=1, help="Largest microbatch, in sequences.")
    ] = 16,
    recompute_layers: Annotated[
        bool,
        typer.Option(
            "--recompute-layers", help="Try to recompute every number of a stage's layers."
        ),
    ] = False,
    headroom: Annotated[
        float, typer.Option(min=0.0, max=0.99, help="Share of the memory that must stay free.")
    ] = 0.0,
    price: Annotated[
        float | None,
        typer.Option("--price", "--price-per-device-hour", help="Of a device-hour, for costs."),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say why the best plan beats the runner-up.")
    ] = False,
    infeasible: Annotated[
        bool, typer.Option("--infeasible", help="Say why plans cannot run, with counts.")
    ] = False,
    tables: TableFiles = None,
    html: HtmlFile = None,
    as_json: AsJson = False,
) -> None:
    """Find the best plan: tp, pp, dp, schedule, sharding, microbatch, recomputation, overlap.

    Every plan that keeps the rules is evaluated like a run, in batches; the best are proven:
    a plan is left out only by a rule, by its memory, or by a certified lower bound of its time.
    Exits 3 if no plan fits.
    """
    from simulator.search.optimum import Goal
    from simulator.search.optimum import search as find
    from simulator.search.space import DEFAULT_SCHEDULES, SHARDING_NAMES, Space

    outputs = checked_outputs(tables, html, scenario)
    number_within("--price", price, 0.0, MAX_PRICE, "of a device-hour, for example 2.5")
    base, default_devices = _base(scenario, overrides or ())
    space = Space(
        default_devices,
        schedules=tuple(schedules or DEFAULT_SCHEDULES),
        shardings=tuple(shardings or SHARDING_NAMES),
        max_micro_batch_size=max_micro_batch,
        recompute_layers=recompute_layers,
    )
    counts = _counts(devices or ())
    spaces = [replace(space, devices=count) for count in counts] or [space]
    goal = Goal(objective.value, top, headroom, price)
    grown = _grown(base, max(counts, default=0))
    base = _base(scenario, (*(overrides or ()), *grown))[0] if grown else base
    with progress() as shown:
        result = _to_be_set(find(base, spaces, goal, shown), grown)
    reasons = _reasons(result) if explain else None
    _write(outputs, base, result, reasons, infeasible=infeasible)
    if as_json:
        typer.echo(_json_text(base, result, reasons, infeasible=infeasible))
    else:
        from simulator.views_search import search_view

        show(search_view(base, result, reasons, infeasible=infeasible))


def _counts(ranges: Sequence[str]) -> list[int]:
    """Numbers of devices of all ranges, each once."""
    from simulator.spec.ranges import parse_range

    counts = (option_value("--devices", one, parse_range) for one in ranges)
    return list(dict.fromkeys(count for some in counts for count in some))


def _base(scenario: str, overrides: Sequence[str]) -> tuple[Scenario, int]:
    """The scenario from which plans are made, and how many devices they use.

    A plan of its own that cannot run is no obstacle: another is sought. All devices are used then.

    Raises:
        TrainsimError: if more is wrong than the plan.
    """
    from simulator.errors import PlanError, TrainsimError
    from simulator.spec.load import scenario_source
    from simulator.spec.overrides import parse_override

    source = scenario_source(scenario, overrides)
    try:
        base = source.scenario()
    except PlanError as error:
        try:
            base = source.having(*map(parse_override, SMALLEST_PLAN)).scenario()
        except TrainsimError:
            raise error from None
        return base, base.cluster.num_devices
    return base, base.plan.num_devices


def _grown(base: Scenario, devices: int) -> list[str]:
    """The assignment that gives the cluster as many devices; none if it has them."""
    if devices <= base.cluster.num_devices:
        return []
    from simulator.planning.variant import nodes_assignment

    return [nodes_assignment(base, devices)]


def _to_be_set(result: SearchResult, assignments: list[str]) -> SearchResult:
    """The result with assignments that all of its plans need beside their own settings."""
    from simulator.spec.overrides import parse_override

    more = {one.path: one.value for one in map(parse_override, assignments)}

    def also(plans: tuple[Found, ...]) -> tuple[Found, ...]:
        return tuple(replace(found, settings={**more, **found.settings}) for found in plans)

    return replace(result, best=also(result.best), front=also(result.front))


def _reasons(result: SearchResult) -> Explanation | None:
    from simulator.search.explain import explanation

    with busy("Simulating the best plan and the runner-up"):
        return explanation(result)


def _json_text(
    base: Scenario, result: SearchResult, reasons: Explanation | None, *, infeasible: bool
) -> str:
    from simulator.search.record import search_record

    return _as_json(search_record(base, result, reasons, infeasible=infeasible))


def _write(
    outputs: Outputs,
    base: Scenario,
    result: SearchResult,
    reasons: Explanation | None,
    *,
    infeasible: bool,
) -> None:
    from simulator.views_search import search_records

    def page() -> str:
        from simulator.pages.search import search_page
        from simulator.progress import followed
        from simulator.simulate import simulate

        with progress() as shown:
            plans = followed(result.scenarios, "Simulating the best plans", shown)
            reports = [simulate(plan, levers=False) for plan in plans]
        return search_page(base, result, reports, reasons, infeasible=infeasible)

    outputs.write(search_records(result), page)
