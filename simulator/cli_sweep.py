"""``trainsim sweep`` and ``trainsim query``: points as rows of a directory, and SQL on them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from simulator.cli_options import AsJson, TableFiles
from simulator.console import as_json as json_text
from simulator.console import busy, examples, guarded, progress, show
from simulator.errors import SpecError
from simulator.outputs import checked_outputs

if TYPE_CHECKING:
    from simulator.sweep.run import Outcome

INTERRUPTED: Final = 130
"""Exit code of what Ctrl-C ended: 128 + SIGINT, as shells count."""


class Executor(StrEnum):
    """Where the points run."""

    process = "process"
    thread = "thread"
    dask = "dask"
    ray = "ray"
    slurm = "slurm"


Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="The directory of a sweep.", show_default=False)
]


@guarded
def sweep(
    file: Annotated[
        Path, typer.Argument(metavar="SWEEP.yaml", help="Axes and constraints.", show_default=False)
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Directory of the rows.", show_default=False),
    ],
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Processes; 0 for one per core.")
    ] = 0,
    executor: Annotated[
        Executor, typer.Option("--executor", help="Where the points run.")
    ] = Executor.process,
    shard: Annotated[
        str, typer.Option("--shard", metavar="I/N", help="Run the I-th of N parts only.")
    ] = "1/1",
    address: Annotated[
        str, typer.Option("--address", help="A running Dask scheduler or Ray cluster.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Simulate every point of a sweep file, as rows of a directory of Parquet files.

    Rows that are there are kept: after a crash, a kill or Ctrl-C the same command goes on where
    it was. A point that cannot run or does not fit is a row with the reason.
    """
    from simulator.spec.sweep import load_sweep
    from simulator.sweep.points import parse_shard
    from simulator.sweep.run import Execution, run_sweep
    from simulator.views_sweep import outcome_view

    if address and executor not in (Executor.dask, Executor.ray):
        raise SpecError(
            f"--executor {executor.value} takes no --address",
            where="--address",
            hint="add --executor dask or --executor ray",
        )
    loaded = load_sweep(file)
    execution = Execution(workers or _cores(), executor.value, parse_shard(shard), address)
    try:
        with progress() as shown:
            outcome = run_sweep(loaded, out, execution, progress=shown)
    except KeyboardInterrupt:
        typer.echo(f"stopped; '{out}' is whole, and the same command goes on", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        typer.echo(json_text(_record(outcome)))
    else:
        show(outcome_view(outcome))


@guarded
def query(
    folder: Folder,
    sql: Annotated[
        str, typer.Argument(metavar="SQL", help="DuckDB's SQL over the table 'rows'.")
    ] = "SELECT * EXCLUDE (point) FROM rows ORDER BY ALL",
    tables: TableFiles = None,
    as_json: AsJson = False,
) -> None:
    """Ask the rows of a sweep in SQL. The table is called rows; 'DESCRIBE rows' lists columns."""
    from simulator.sweep.store import read
    from simulator.table_file import Table
    from simulator.views_sweep import plain_rows, selection_view

    outputs = checked_outputs(tables, None)
    with busy("Reading rows"):
        selection = read(folder, sql)
    if outputs.tables:
        outputs.write_tables(Table(selection.columns, selection.rows))
    elif as_json:
        typer.echo(json_text(plain_rows(selection)))
    else:
        show(selection_view(selection))


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _record(outcome: Outcome) -> dict[str, object]:
    return {
        "folder": str(outcome.folder),
        "combinations": outcome.combinations,
        "rejected": outcome.rejected,
        "shard": f"{outcome.shard.index}/{outcome.shard.count}",
        "points": outcome.points,
        "evaluated": outcome.evaluated,
        "statuses": outcome.statuses,
        "lost_batches": outcome.lost_batches,
    }


def add_sweep_commands(app: typer.Typer) -> None:
    """Registers the commands of this module."""
    app.command(
        epilog=examples(
            "sweep plans.yaml --out plans                      one worker process per core",
            "sweep plans.yaml --out plans --shard 2/8          one of eight parts",
            "sweep plans.yaml --out plans --executor dask --address tcp://head:8786",
        )
    )(sweep)
    app.command(
        epilog=examples(
            "query plans \"SELECT tp, pp, step_time_s FROM rows WHERE status = 'ok' ORDER BY 3\"",
            'query plans "SELECT status, count(*) FROM rows GROUP BY status" --table counts.csv',
        )
    )(query)
