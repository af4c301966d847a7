"""What is fitted on what: read from the ``fit`` blocks of stack files, or asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from simulator.calibrate.observations import Observation
from simulator.calibrate.parameters import PARAMETERS
from simulator.errors import SpecError, UnknownNameError
from simulator.spec.stacks import StackFile, load_stack, stack_files
from simulator.spec.yaml_file import list_data


@dataclass(frozen=True, slots=True)
class Job:
    """One fit.

    Attributes:
        stack: the one whose file gets the values.
        path: of that file.
        names: scalars to fit; none to measure the spread only.
        sources: tables whose rows count; empty for all.
        stacks: stacks whose rows are looked at, those with the same constants.
        shipped: scalar -> present value.
        fallback: scalar -> value of the parent, for when no row is left.
        is_root: whether the stack extends no other.
    """

    stack: str
    path: Path
    names: tuple[str, ...]
    sources: tuple[str, ...]
    stacks: tuple[str, ...]
    shipped: Mapping[str, float]
    fallback: Mapping[str, float]
    is_root: bool = False

    def counts(self, row: Observation) -> bool:
        """Whether a row may be fitted on."""
        return row.role == "calibration" and (not self.sources or row.source in self.sources)


def job_of(
    name: str, *, names: Sequence[str] = (), sources: Sequence[str] = (), stacks: Sequence[str] = ()
) -> Job:
    """The fit of one stack; what is not given is taken from its ``fit`` block.

    Args:
        name: of a shipped stack, or the path of a file.
        names: scalars to fit.
        sources: tables whose rows count.
        stacks: stacks whose rows are looked at.

    Raises:
        SpecError: if the stack or a name is wrong.
    """
    for scalar in names:
        if scalar not in PARAMETERS:
            raise UnknownNameError.of("parameter", scalar, PARAMETERS, where="--parameter")
    files = stack_files(name)
    own, stack = files[0], load_stack(name)
    fit = own.fit
    chosen = tuple(names) or (fit.parameters if fit else ())
    for i, scalar in enumerate(chosen):
        if scalar in chosen[:i]:
            where = "--parameter" if names else f"{own.path}: fit.parameters"
            raise SpecError(f"parameter '{scalar}' is named twice", where=where)
    return Job(
        stack=own.name,
        path=own.path,
        names=chosen,
        sources=tuple(sources) or (fit.sources if fit else ()),
        stacks=tuple(stacks) or (fit.stacks if fit else ()) or (own.name,),
        shipped={scalar: float(getattr(stack, scalar)) for scalar in chosen},
        fallback={scalar: _parents(files[1:], scalar) for scalar in chosen},
        is_root=len(files) == 1,
    )


def _parents(files: Sequence[StackFile], scalar: str) -> float:
    """The value a stack would have without its own."""
    for file in files:
        if scalar in file.scalars:
            return float(getattr(load_stack(str(file.path)), scalar))
    return PARAMETERS[scalar].default


def shipped_jobs() -> tuple[Job, ...]:
    """The fits of all shipped stacks, parents before those that extend them.

    Stacks whose rows no fit looks at get a job of their own, which only measures their spread.
    """
    depth = {name: len(stack_files(name)) for name in list_data("stacks")}
    jobs = [job_of(name) for name in sorted(depth, key=lambda name: (depth[name], name))]
    fitting = [job for job in jobs if job.names]
    seen = {stack for job in fitting for stack in job.stacks}
    return (*fitting, *(job for job in jobs if not job.names and job.stack not in seen))


def inheritors(stack: str, scalar: str) -> tuple[str, ...]:
    """Shipped stacks that take a scalar from a stack, itself included."""
    found: list[str] = []
    for name in list_data("stacks"):
        giver = next((f.name for f in stack_files(name) if scalar in f.scalars), "")
        if giver == stack:
            found.append(name)
    return tuple(found)
