"""``trainsim calibrate``: fits constants to measured runs and microbenchmarks."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli_options import AsJson
from simulator.console import as_json as json_text
from simulator.console import examples, guarded, progress, show, write
from simulator.errors import SpecError

if TYPE_CHECKING:
    from simulator.calibrate.hardware import HardwareFit
    from simulator.calibrate.job import Job
    from simulator.published.left_out import LeftOutValue

calibrate_app = typer.Typer(
    name="calibrate",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Fit constants to measured runs and microbenchmarks, with their uncertainty.",
)


class Write(StrEnum):
    """What is changed in the stack files."""

    fit = "fit"
    values = "values"


StackName = Annotated[
    str, typer.Argument(help="A shipped stack, the path of your own, or all.", show_default=False)
]
Parameters = Annotated[
    list[str] | None,
    typer.Option("--parameter", help="Scalar to fit; repeatable. Else those of its fit block."),
]
Rows = Annotated[
    list[Path] | None,
    typer.Option("--rows", metavar="FILE.csv", help="Table of runs; else the shipped ones."),
]
Sources = Annotated[
    list[str] | None,
    typer.Option("--source", help="Fit on the rows of this table only; repeatable."),
]
ExtensionFile = Annotated[
    Path | None, typer.Option("--out", help="Write a stack file with the values, extending NAME.")
]


@calibrate_app.command(
    epilog=examples(
        "calibrate stack megatron-lm-2022 --parameter gemm_scale",
        "calibrate stack my-stack.yaml --parameter gemm_scale --rows mine.csv --out fitted.yaml",
        "calibrate stack all --write values    redo every shipped fit, as the files declare it",
    )
)
@guarded
def stack(
    name: StackName,
    parameters: Parameters = None,
    rows: Rows = None,
    sources: Sources = None,
    out: ExtensionFile = None,
    write_files: Annotated[
        Write | None,
        typer.Option("--write", help="Change the stack files: fit blocks, or values as well."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fit the scalars of a software stack on measured runs marked calibration, and only those.

    Rows marked test only measure the error out of sample. The error printed for a scalar is the
    sandwich standard error of its logarithm.
    """
    from simulator.calibrate.session import calibrate
    from simulator.calibrate.stack_texts import extension_text, stack_texts
    from simulator.calibrate.summary import calibration_json
    from simulator.views_calibrate import calibration_view

    if name == "all" and (parameters or sources or out or rows):
        raise _all_takes_nothing()
    jobs = _jobs(name, parameters or [], sources or [path.stem for path in rows or []])
    _refuse(name, jobs, rows or [], out=out, write_files=write_files is not None)
    with progress() as shown:
        found = calibrate(
            jobs,
            tables=rows or (),
            own_stack=name if name.endswith((".yaml", ".yml")) else "",
            keep_values=write_files is Write.fit,
            progress=shown,
        )
    texts = [(out, extension_text(name, found.fits[0], out))] if out is not None else []
    if write_files:
        values = write_files is Write.values
        texts += stack_texts(found.fits, values=values, pooled=name == "all")
    for path, text in texts:
        write(path, text)
    if as_json:
        typer.echo(json_text(calibration_json(found)))
    else:
        show(calibration_view(found))


def _all_takes_nothing() -> SpecError:
    return SpecError(
        "'all' takes its parameters and tables from the stack files",
        where="calibrate stack all",
        hint="name one stack to use --parameter, --source, --rows or --out",
    )


def _jobs(name: str, parameters: list[str], sources: list[str]) -> tuple[Job, ...]:
    from simulator.calibrate.job import job_of, shipped_jobs

    if name == "all":
        return shipped_jobs()
    job = job_of(name, names=parameters, sources=sources)
    if not job.names:
        raise SpecError(
            f"stack {name} does not declare what to fit",
            where=f"{job.path}: fit.parameters",
            hint="give --parameter, for example --parameter gemm_scale",
        )
    return (job,)


def _refuse(
    name: str, jobs: tuple[Job, ...], rows: list[Path], *, out: Path | None, write_files: bool
) -> None:
    """What cannot be read or written, before minutes of fitting."""
    from simulator.calibrate.guards import (
        refuse_installed,
        refuse_overwriting,
        refuse_rowless,
        stack_paths,
    )

    refuse_rowless(name, rows)
    if write_files and rows:
        _refuse_shipped(jobs)
    if write_files:
        refuse_installed(job.path for job in jobs)
    if out is not None:
        refuse_overwriting(out, stack_paths(name), rows)


def _refuse_shipped(jobs: tuple[Job, ...]) -> None:
    from simulator.spec.yaml_file import data_dir

    folder = (data_dir("hardware") / "stacks").resolve()
    for job in jobs:
        if job.path.resolve().parent == folder:
            raise SpecError(
                f"stack {job.stack} is fitted on shipped tables only",
                where="--rows with --write",
                hint="write a stack of your own that extends it, with --out FILE.yaml",
            )


@calibrate_app.command(
    "leave-one-out",
    epilog=examples(
        "calibrate leave-one-out --out leave_one_out.csv",
        "calibrate leave-one-out --values leave_one_out.csv --json",
    ),
)
@guarded
def leave_one_out(
    out: Annotated[Path | None, typer.Option(help="Write the fitted values as a table.")] = None,
    values: Annotated[
        Path | None, typer.Option(help="Take the values from a table instead of fitting them.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Predict every source with stacks that were fitted without its rows.

    Sources without calibration rows do not change. Where no row is left a scalar takes the mean of
    other software, else the value of the stack extended.
    """
    from simulator.calibrate.microbench import read_text
    from simulator.published.left_out import (
        left_out_errors,
        left_out_table,
        left_out_text,
        read_left_out,
        validate_left_out,
    )
    from simulator.published.validate import published_paths, validate
    from simulator.views import document_table

    if values:
        read_text(values)  # a file that cannot be read is refused as every other one
    chosen = read_left_out(values) if values else _fit_left_out()
    if out is not None:
        write(out, left_out_text(chosen))
    with progress() as shown:
        left_out = validate_left_out(chosen, progress=shown)
        paths = [path for path in published_paths() if path.stem in left_out.sources]
        fitted = validate(paths, shown)
    if as_json:
        typer.echo(json_text([asdict(one) for one in left_out_errors(fitted, left_out)]))
    else:
        show(document_table(left_out_table(fitted, left_out)))


def _fit_left_out() -> tuple[LeftOutValue, ...]:
    from simulator.calibrate.everything import left_out_values
    from simulator.calibrate.job import shipped_jobs
    from simulator.calibrate.session import calibrate

    with progress() as shown:
        found = calibrate(shipped_jobs(), with_test=False, progress=shown)
    return left_out_values(found.fits)


@calibrate_app.command(
    epilog=examples(
        "calibrate accelerator h100-sxm5-80gb --gemm gemm.csv --out my-h100.yaml",
        "calibrate accelerator a100-sxm4-80gb --gemm g.csv --attention a.csv --memory m.csv",
    )
)
@guarded
def accelerator(
    base: Annotated[
        str, typer.Argument(help="The accelerator to extend, a name or a path.", show_default=False)
    ],
    gemm: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Columns m, n, k, time_us [, precision].")
    ] = None,
    attention: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Columns kernel, head_dim, batch, heads, tokens, time_us [, causal, direction].",
        ),
    ] = None,
    memory: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Columns kernel, bytes, time_us; kernel as add, copy."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write an accelerator file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fit the kernel curves of an accelerator to microbenchmarks (CSV, or JSON lists of objects).

    What has no file stays as it is in BASE. benchmarks/calibration/measure_torch.py measures and
    writes such files. Errors are given in sample and on folds held out.

    A curve needs more rows than it has constants, better ten times as many: at least 11 shapes for
    --gemm, 5 shapes per kernel and head_dim for --attention, and 2 rows more than there are kinds
    of kernel for --memory.
    """
    from simulator.calibrate.guards import hardware_files, refuse_overwriting
    from simulator.calibrate.hardware import calibrate_accelerator

    if gemm is attention is memory is None:
        raise SpecError(
            "nothing was measured", hint="give one or more of --gemm, --attention, --memory"
        )
    refuse_overwriting(out, hardware_files("accelerators", base), (gemm, attention, memory))
    with progress() as shown:
        found = calibrate_accelerator(
            base, gemm=gemm, attention=attention, memory=memory, progress=shown
        )
    _finish(found, out, as_json=as_json)


@calibrate_app.command(
    epilog=examples(
        "calibrate node dgx-h100 all_reduce.txt all_gather.txt --out my-node.yaml",
        "calibrate node dgx-a100 collectives.csv",
    )
)
@guarded
def node(
    base: Annotated[
        str, typer.Argument(help="The node to extend, a name or a path.", show_default=False)
    ],
    collectives: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Output of nccl-tests (text, or JSON of -J), or columns kind, ranks, bytes, "
            "time_us.",
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="Write a node file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fit the collective curve of a node to collectives measured on 2 and more of its devices.

    All files are fitted together: the choice of protocol is part of the model. There must be more
    rows than constants, better ten times as many: at least 10 for all-gathers on one number of
    devices, 28 for all kinds on 2, 4 and 8.
    """
    from simulator.calibrate.guards import hardware_files, refuse_overwriting
    from simulator.calibrate.hardware import calibrate_node

    refuse_overwriting(out, hardware_files("nodes", base), collectives)
    with progress() as shown:
        found = calibrate_node(base, collectives, shown)
    _finish(found, out, as_json=as_json)


def _finish(found: HardwareFit, out: Path | None, *, as_json: bool) -> None:
    from simulator.views_calibrate import hardware_view, unit_warnings

    for line in unit_warnings(found):
        typer.echo(line, err=True)
    if out is not None:
        write(out, found.text)
    if as_json:
        typer.echo(json_text(found.to_json()))
    else:
        show(hardware_view(found))
