"""``trainsim contention``: who shares which wire, and what that costs."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import typer

from simulator.cli_options import AsJson, Overrides, ScenarioArgument, number_within
from simulator.console import as_json as json_text
from simulator.console import examples, guarded, progress, show

MAX_SEEDS: Final = 100
MAX_CONNECTIONS: Final = 64


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(
        epilog=examples(
            "contention gpt3-175b-a100-64",
            "contention my.yaml --seeds 10 --json",
            "contention my.yaml --connections 4",
            "contention my.yaml --priority passes",
            "contention my.yaml --set cluster.nodes=128 --set plan.tp=8",
        )
    )(contention)


@guarded
def contention(
    scenario: ScenarioArgument,
    overrides: Overrides = None,
    seeds: Annotated[
        int, typer.Option(metavar="COUNT", help="Hashes, and orders of the nodes, to try.")
    ] = 3,
    connections: Annotated[
        int,
        typer.Option(
            metavar="COUNT",
            help="Connections of a NIC to another, each hashed to a path of its own "
            "(NCCL: channels * NCCL_IB_QPS_PER_CONNECTION).",
        ),
    ] = 1,
    priority: Annotated[
        Literal["none", "passes"],
        typer.Option(
            help="'passes': also on a network with classes of traffic, which serves what passes "
            "wait for first, then gathers of weights, then reductions of gradients."
        ),
    ] = "none",
    as_json: AsJson = False,
) -> None:
    """Simulate every device and every link between nodes: who shares which wire.

    'run' folds ranks that do the same and divides what groups share by their number. Here each
    message takes its own route through the switches: spread packet by packet over all parallel
    links, or by hash, one path per message (ECMP), with neighbouring ranks on neighbouring nodes or
    with the nodes in a random order.
    """
    number_within("--seeds", seeds, 1, MAX_SEEDS, "how many hashes to try, as in --seeds 10")
    number_within(
        "--connections", connections, 1, MAX_CONNECTIONS, "paths per pair of NICs: --connections 4"
    )
    from simulator.spec.load import load_scenario
    from simulator.views_contention import contention_record, contention_view
    from simulator.whatif.contention import contention as compute

    loaded = load_scenario(scenario, overrides or ())
    with progress() as shown:
        found = compute(
            loaded,
            num_seeds=seeds,
            connections=connections,
            with_classes=priority == "passes",
            progress=shown,
        )
    if as_json:
        typer.echo(json_text(contention_record(found)))
    else:
        show(contention_view(found))
