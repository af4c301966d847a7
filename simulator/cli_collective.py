"""``trainsim collective``: nccl-tests for a machine that need not exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from simulator.cli_options import AsJson, HtmlFile, TableFiles, option_value
from simulator.console import as_json as json_text
from simulator.console import examples, guarded, note_fabric, progress, show
from simulator.errors import SpecError, TrainsimError, UnknownNameError
from simulator.outputs import checked_outputs

if TYPE_CHECKING:
    from simulator.collective_runs import CollectiveRun
    from simulator.cost.collective import CollectiveKind

DEFAULT_SIZES: Final = "1KiB:4GiB:x8"
ONE_SIZE: Final = "1GiB"
"""Of a scan over ranks."""
MAX_LINES: Final = 1000
MAX_BYTES: Final = 2.0**60
"""More than a million devices hold."""


def register(app: typer.Typer) -> None:
    """Adds the command of this module."""
    app.command(
        epilog=examples(
            "collective all_reduce --cluster dgx-h100-superpod --ranks 1024",
            "collective all_gather --cluster selene --ranks 64 --stride 8 --bytes 1GiB --compare",
            "collective all_reduce --cluster my-cluster.yaml --ranks 8:8192:x2 --bytes 1GiB",
            "collective all_reduce --cluster dgx-h100-superpod --ranks 512 --algorithm ring "
            "--bytes 1MiB:1GiB:x2",
        )
    )(collective)


@guarded
def collective(
    kind: Annotated[
        str, typer.Argument(help="all_reduce, all_gather, reduce_scatter, all_to_all, broadcast.")
    ],
    cluster: Annotated[str, typer.Option(help="A cluster, shipped or a file.")],
    ranks: Annotated[
        str | None,
        typer.Option(help="Of the group: 8,16 or 8:8192:x2; else the devices of a node."),
    ] = None,
    stride: Annotated[
        int, typer.Option(min=1, help="Ranks lie so far apart; the groups between are busy, too.")
    ] = 1,
    sizes: Annotated[
        str | None,
        typer.Option("--bytes", help=f"Payload: 1GiB or 1KiB:1GiB:x4; else {DEFAULT_SIZES}."),
    ] = None,
    algorithm: Annotated[
        str | None, typer.Option(help="Forced: one, or several to choose among, with commas.")
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="A column for every algorithm that runs there.")
    ] = False,
    tables: TableFiles = None,
    html: HtmlFile = None,
    as_json: AsJson = False,
) -> None:
    """Predict collectives on a machine: time, bandwidth, algorithm, and what bounds them.

    Sizes, algbw and busbw are those of nccl-tests. All groups of the ranks in use run at once.
    """
    from simulator.pages.collective import collective_page
    from simulator.spec.collectives import known_algorithms
    from simulator.spec.ranges import parse_range, parse_words
    from simulator.views_collective import collective_record, collective_view, title

    outputs = checked_outputs(tables, html, cluster)
    known = _kind(kind)
    groups = option_value("--ranks", ranks, parse_range)
    several = groups is not None and len(groups) > 1
    text = (ONE_SIZE if several else DEFAULT_SIZES) if sizes is None else sizes
    payloads = option_value("--bytes", text, _payloads)
    if compare and algorithm is not None:
        raise SpecError(
            "--compare shows every algorithm", where="--algorithm", hint="leave one of both out"
        )
    forced = option_value(
        "--algorithm", algorithm, lambda t: known_algorithms(parse_words(t.lower()))
    )
    name, found = _runs(cluster, known, groups, stride, payloads, forced or ())
    records = [collective_record(one) for one in found]
    heading = title(known, name, stride, forced or ())
    outputs.write(records, lambda: collective_page(heading, found))
    if as_json:
        about = {"cluster": name, "kind": known, "stride": stride, "forced": list(forced or ())}
        typer.echo(json_text({**about, "runs": records}))
    else:
        show(collective_view(heading, found, compare=compare))


def _kind(text: str) -> CollectiveKind:
    from simulator.collective_runs import KINDS

    wanted = text.lower().replace("-", "_")
    for kind in KINDS:
        if wanted in (kind, kind.replace("_", "")):
            return kind
    raise UnknownNameError.of("collective", text, KINDS)


def _payloads(text: str) -> list[float]:
    """Bytes of ``1GiB``, ``1MB,2MB`` or ``1KiB:1GiB:x4``."""
    from simulator.units import parse_quantity

    found: list[float] = []
    for part in text.split(","):
        ends = part.split(":")
        if len(ends) not in (1, 3):
            raise SpecError(f"'{part[:40]}' is no size", hint="write 1GiB, or 1KiB:1GiB:x4")
        # As in nccl-tests, a plain number is one of bytes.
        named = (f"{end} B" if end.strip().isdigit() else end for end in ends[:2])
        first, *more = (parse_quantity(end, "bytes", example="1GiB") for end in named)
        factor = ends[2].strip().removeprefix("x") if more else "2"
        if not 1 <= first <= MAX_BYTES:
            raise SpecError(
                f"'{part[:40]}' is no size of 1 byte to {MAX_BYTES / 2**60:,.0f} EiB",
                hint="write 1GiB, or 1KiB:1GiB:x4",
            )
        if not factor.isdigit() or int(factor) < 2 or (more and more[0] < first):
            raise SpecError(
                f"'{part[:40]}' is no range of sizes",
                hint="write the smallest, the largest and a factor of 2 or more: 1KiB:1GiB:x4",
            )
        last = more[0] if more else first
        while first <= last and len(found) <= MAX_LINES:
            found.append(first)
            first *= int(factor)
    return found


def _runs(
    name: str,
    kind: CollectiveKind,
    groups: tuple[int, ...] | None,
    stride: int,
    payloads: list[float],
    forced: tuple[str, ...],
) -> tuple[str, list[CollectiveRun]]:
    """Name of the cluster, and all lines."""
    from simulator.collective_runs import collective_runs
    from simulator.plan import ProcessGroup
    from simulator.progress import followed
    from simulator.spec.any_cluster import load_any_cluster
    from simulator.spec.collectives import check_switches

    whole = load_any_cluster(name)
    check_switches(forced, whole.name, whole.switches_reduce, "--algorithm")
    per_node = whole.node.num_devices
    chosen = groups or (per_node,)
    if min(chosen) < 2:
        raise SpecError(
            f"a group of {min(chosen)}: a collective needs two ranks or more", where="--ranks"
        )
    if len(chosen) * len(payloads) > MAX_LINES:
        raise SpecError(
            f"{len(chosen)} numbers of ranks and {len(payloads)} sizes are more than "
            f"{MAX_LINES} lines",
            hint="take larger factors",
        )
    found: list[CollectiveRun] = []
    with progress() as shown:
        for size in followed(chosen, f"Timing {kind}", shown):
            nodes = -(-size * stride // per_node)
            try:
                cluster = load_any_cluster(name, num_nodes=nodes)
            except TrainsimError as error:
                needs = f"{size:,} ranks, {stride} apart, need {nodes:,} nodes: {error.problem}"
                raise SpecError(needs, where="--ranks", hint=error.hint) from None
            group = ProcessGroup("dp", size, stride)
            found += collective_runs(cluster, kind, group, payloads, forced=forced)
    note_fabric(whole.assumptions)
    return whole.name, found
