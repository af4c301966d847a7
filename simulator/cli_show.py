"""``show``: how a cluster is wired."""

from __future__ import annotations

from typing import Annotated

import typer

from simulator.cli_options import AsJson, HtmlFile
from simulator.console import as_json as json_text
from simulator.console import examples, guarded, note_fabric, progress, show
from simulator.errors import SpecError, TrainsimError
from simulator.outputs import checked_outputs


def register(app: typer.Typer) -> None:
    """Adds the command of this module."""
    app.command(
        "show",
        epilog=examples(
            "show frontier",
            "show dgx-h100-superpod --nodes 64 --html network.html    with drawings",
            "show meta-h100-roce-24k --nodes 512 --traffic    what hashing costs",
            "show my-cluster.yaml --json",
            "show llama3-405b-16384    the nodes that a scenario takes",
        ),
    )(show_cluster)


@guarded
def show_cluster(
    cluster: Annotated[
        str,
        typer.Argument(
            help="A cluster, or a scenario that runs on one: a file, or a name.",
            show_default=False,
        ),
    ],
    nodes: Annotated[
        int | None, typer.Option(help="The first so many of its nodes; else all.", min=1)
    ] = None,
    traffic: Annotated[
        bool,
        typer.Option(
            "--traffic", help="Slowdown when every node sends to another: hashed and sprayed."
        ),
    ] = False,
    html: HtmlFile = None,
    as_json: AsJson = False,
) -> None:
    """Show how a cluster is wired: tiers, groups, and the links inside a node."""
    from simulator.report.network import network_record, network_rows
    from simulator.report.network_traffic import traffic_losses, traffic_record, traffic_rows
    from simulator.spec.any_cluster import load_any_cluster
    from simulator.views import table

    outputs = checked_outputs(None, html, cluster)
    loaded = load_any_cluster(cluster)
    if nodes is not None:
        # The cluster itself is right, so what is wrong now is their number.
        try:
            loaded = load_any_cluster(cluster, num_nodes=nodes)
        except TrainsimError as error:
            raise SpecError(error.problem, where="--nodes", hint=error.hint) from None
    with progress() as shown:
        losses = traffic_losses(loaded, shown) if traffic else {}
    note_fabric(loaded.assumptions)
    if as_json:
        record = {"traffic": traffic_record(losses)} if losses else {}
        typer.echo(json_text({**network_record(loaded), **record}))
    else:
        show(table(network_rows(loaded), (loaded.name, "number", "holds", "links")))
        if losses:
            columns = ("each node to another", "slowest pair", "mean pair")
            typer.echo()
            show(table(traffic_rows(losses), columns))
    if outputs.html is not None:
        from simulator.pages.network import network_page

        outputs.write([], lambda: network_page(loaded))
