"""From a scenario file, or plain data, to a checked ``Scenario``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias, cast

from pydantic import BaseModel

from simulator.auto_fit import fit_batch
from simulator.errors import PlanError, SpecError, TrainsimError, UnknownNameError, as_written
from simulator.machine import Assumption, Cluster
from simulator.model import TransformerConfig
from simulator.plan import ParallelismPlan, TrainingConfig
from simulator.scenario import Scenario, check
from simulator.sharding import GROUPED, SHARDING, SHARDING_ALIASES
from simulator.spec.collectives import check_switches
from simulator.spec.echo import normalised_scenario
from simulator.spec.exchange import build_exchange
from simulator.spec.hardware import load_cluster
from simulator.spec.models import load_model
from simulator.spec.overrides import Override, apply_overrides, parse_override
from simulator.spec.scenario import OPTIONAL_TRAINING, ClusterPreset, PlanSpec, ScenarioSpec
from simulator.spec.stacks import load_stack
from simulator.spec.tp_overlap import tp_overlap_defaults
from simulator.spec.training import training_config
from simulator.spec.validate import validate
from simulator.spec.yaml_file import data_dir, near_files, read_yaml
from simulator.stack import Stack


def list_scenarios() -> tuple[str, ...]:
    """Names of the shipped scenarios, sorted."""
    return tuple(sorted(path.stem for path in data_dir("scenarios").glob("*.yaml")))


def find_scenario(name: str | Path) -> Path:
    """The file that a user means: a path, or else the name of a shipped scenario.

    Raises:
        UnknownNameError: if there is neither.
    """
    path = Path(name)
    try:
        if path.exists():
            return path
    except OSError:  # a name no file can have, such as one that is too long
        pass
    wanted = path.name.removesuffix(".yaml").lower()
    if path.parent in (Path(), Path("scenarios")) and wanted in list_scenarios():
        return data_dir("scenarios") / f"{wanted}.yaml"
    begins = [known for known in list_scenarios() if path.stem and known.startswith(path.stem)]
    near = UnknownNameError.of("scenario", path.stem, list_scenarios()).hint
    hint = f"did you mean {' or '.join(begins)}?" if begins else near
    if not begins and path.suffix in (".yaml", ".yml"):
        hint = near_files(path) or hint
    raise UnknownNameError(
        f"there is no file and no shipped scenario '{str(name)[:80]}'", hint=hint
    )


@dataclass(frozen=True, slots=True)
class ScenarioSource:
    """A scenario as it was written, of which variants can be made.

    Attributes:
        data: nested mappings as YAML gives them.
        where: name of the origin, for errors.
        base_dir: directory against which paths in the data are resolved.
        assignments: made on top, in order.
    """

    data: object
    where: str = "scenario"
    base_dir: Path = Path()
    assignments: tuple[Override, ...] = ()

    def having(self, *assignments: Override) -> ScenarioSource:
        """The same with more assignments."""
        return replace(self, assignments=(*self.assignments, *assignments))

    def scenario(self, *, fit: bool = True) -> Scenario:
        """The checked scenario; without ``fit`` a microbatch to be fitted stays provisional.

        Raises:
            TrainsimError: if anything in the data or the assignments is wrong, with its place.
        """
        try:
            data = apply_overrides(self.data, self.assignments)
            return parse_scenario(data, self.where, self.base_dir, fit=fit)
        except TrainsimError as error:
            raise _blame(error, self.where, self.assignments) from None


def scenario_source(path: str | Path, overrides: Sequence[str] = ()) -> ScenarioSource:
    """What the file of a scenario says, with ``key=value`` assignments on top.

    Args:
        path: a file, or the name of a shipped scenario.
        overrides: assignments such as ``plan.tp=8``.

    Raises:
        TrainsimError: if there is no such file, or it or an assignment is not readable.
    """
    file = find_scenario(path)
    data = read_yaml(file)
    if isinstance(data, dict):
        _check_is_scenario(cast("dict[str, object]", data), file)
        data = {"name": file.stem, **cast("dict[str, object]", data)}
    assignments = tuple(parse_override(text) for text in overrides)
    return ScenarioSource(data, str(file), file.parent, assignments)


def _check_is_scenario(data: Mapping[str, object], file: Path) -> None:
    """A description of a machine or of software is told from a scenario with a wrong key."""
    if "model" not in data and {"extends", "node", "accelerator", "framework"} & data.keys():
        raise SpecError(
            "this describes a machine or a stack, not a scenario",
            where=str(file),
            hint=f"name it in a scenario, for example 'cluster: {{preset: {file.name}}}'",
        )


def load_scenario(path: str | Path, overrides: Sequence[str] = ()) -> Scenario:
    """The scenario of a file, with ``key=value`` assignments made on top.

    Args:
        path: a file, or the name of a shipped scenario.
        overrides: assignments such as ``plan.tp=8``.

    Raises:
        TrainsimError: if anything in the file or the assignments is wrong, with its place.
    """
    return scenario_source(path, overrides).scenario()


def parse_scenario(
    data: object,
    where: str = "scenario",
    base_dir: Path = Path(),
    *,
    parts_of: PartsOf | None = None,
    fit: bool = True,
) -> Scenario:
    """The checked scenario that plain data describes.

    Args:
        data: nested mappings as YAML gives them.
        where: name of the origin, for errors.
        base_dir: directory against which paths in the data are resolved.
        parts_of: reads model, stack and cluster, as ``load_parts`` does; for callers that keep
            what many scenarios share.
        fit: find the microbatch that ``auto_fit`` asks for.

    Raises:
        TrainsimError: if anything in it is wrong, with its place.
    """
    spec = validate(ScenarioSpec, data, where)
    parts = (parts_of or load_parts)(spec, where, base_dir)
    model, stack, cluster = parts.model, parts.stack, parts.cluster
    try:
        plan = _plan(spec.plan, cluster, stack)
        training, auto_fit = training_config(spec.training, model, stack, plan.dp)
        scenario = Scenario(
            name=spec.name,
            model=model,
            training=training,
            plan=plan,
            cluster=cluster,
            stack=stack,
            normalised={},
            assumptions=(
                *_defaults(spec, training, plan, model),
                *parts.model_notes,
            ),
            stragglers=tuple((s.rank, s.speed) for s in spec.stragglers),
            auto_fit=auto_fit,
        )
        check(scenario)
        scenario = fit_batch(scenario) if fit else scenario
        data = normalised_scenario(spec, model, scenario.training, plan, cluster)
        scenario = replace(scenario, normalised=data)
    except TrainsimError as error:
        place = f"{where}: {error.where}" if error.where else where
        raise type(error)(error.problem, where=place, hint=error.hint) from None
    return scenario


@dataclass(frozen=True, slots=True)
class Parts:
    """What a scenario takes from elsewhere, read.

    Attributes:
        model_notes: what had to be assumed for the model.
    """

    model: TransformerConfig
    model_notes: tuple[Assumption, ...]
    stack: Stack
    cluster: Cluster


PartsOf: TypeAlias = Callable[[ScenarioSpec, str, Path], Parts]


def load_parts(spec: ScenarioSpec, where: str, base_dir: Path) -> Parts:
    """Model, stack and cluster of a scenario.

    Raises:
        TrainsimError: if one of them is unknown or wrong, with its place.
    """
    model, notes = load_model(spec.model, f"{where}: model", base_dir)
    stack = _stack(spec.stack, f"{where}: stack", base_dir)
    return Parts(model, notes, stack, _cluster(spec.cluster, f"{where}: cluster", base_dir))


def _blame(error: TrainsimError, file: str, assignments: Sequence[Override]) -> TrainsimError:
    """Names the ``--set`` that caused an error, or had a part in it."""
    place = error.where.removeprefix(f"{file}: ").replace(": ", ".")
    for assignment in reversed(assignments):
        shown = f"--set {assignment.path}={assignment.shown}"[:120]
        if f"{place}.".startswith(f"{assignment.path}."):
            return type(error)(error.problem, where=shown, hint=error.hint)
        if f"{assignment.path}.".startswith(f"{place}."):
            where = f"{error.where} (with {shown})"
            return type(error)(error.problem, where=where, hint=error.hint)
    return error


def _stack(data: Mapping[str, object], where: str, base_dir: Path) -> Stack:
    preset = data.get("preset")
    if not isinstance(preset, str):
        raise SpecError(
            "'preset' is missing" if preset is None else f"{as_written(preset)} is not a name",
            where=where,
            hint="name the stack to start from, for example 'preset: megatron-core-2024'",
        )
    overrides = {key: value for key, value in data.items() if key != "preset"}
    try:
        return load_stack(preset, overrides, where=where, base_dir=base_dir)
    except TrainsimError as error:
        raise error.at(f"{where}.preset") from None


def _cluster(data: Mapping[str, object], where: str, base_dir: Path) -> Cluster:
    try:
        if "preset" not in data:
            return load_cluster(data, base_dir=base_dir)
        spec = validate(ClusterPreset, data, where)
        if spec.preset.endswith((".yaml", ".yml")):
            cluster = load_cluster(spec.preset, num_nodes=spec.nodes, base_dir=base_dir)
            return _having(cluster, spec, where)
    except TrainsimError as error:
        raise error.at(where) from None
    try:
        # A bare name always means the shipped cluster, which is then read only once.
        cluster = load_cluster(spec.preset, num_nodes=spec.nodes)
    except UnknownNameError as error:
        raise error.at(f"{where}.preset") from None
    except TrainsimError as error:
        # The shipped file is right, so the number of nodes is not.
        raise type(error)(error.problem, where=f"{where}.nodes", hint=error.hint) from None
    return _having(cluster, spec, where)


def _having(cluster: Cluster, spec: ClusterPreset, where: str) -> Cluster:
    names = spec.collective_algorithms
    if not names:
        return cluster
    place = f"{where}.collective_algorithms"
    check_switches(names, cluster.name, cluster.switches_reduce, place)
    return replace(cluster, collective_algorithms=names)


def _plan(spec: PlanSpec, cluster: Cluster, stack: Stack) -> ParallelismPlan:
    overlap, chunked = spec.overlap, spec.tp_overlap
    # What says how reductions leave products replaces the stack's own way.
    overlap_tp = stack.overlap_tp and chunked is None
    dp = spec.dp or _remaining(spec, cluster)
    return ParallelismPlan(
        tp=spec.tp,
        pp=spec.pp,
        dp=dp,
        cp=spec.cp,
        virtual_stages=spec.virtual_stages,
        schedule=spec.schedule or ("interleaved" if spec.virtual_stages > 1 else "1f1b"),
        sharding=SHARDING[SHARDING_ALIASES.get(spec.sharding, spec.sharding)],
        # There is nothing to split over one rank.
        sequence_parallel=spec.sequence_parallel and spec.tp > 1,
        axis_order=spec.axis_order,
        layers_per_stage=spec.layers_per_stage,
        shard_group_size=spec.shard_group_size or _hybrid_group(spec, cluster, dp),
        prefetch_depth=spec.prefetch_depth,
        overlap_dp=stack.overlap_dp if overlap.dp is None else overlap.dp,
        overlap_tp=overlap_tp if overlap.tp is None else overlap.tp,
        overlap_pp=stack.overlap_pp if overlap.pp is None else overlap.pp,
        bucket_bytes=spec.bucket_bytes,
        ep=spec.ep,
        etp=spec.etp,
        offload=spec.offload.build() if spec.offload else None,
        exchange=build_exchange(spec.exchange, dp, spec.tp * spec.pp * spec.cp * dp, cluster),
        tp_overlap=chunked.build() if chunked else None,
        overlap_replicas=overlap.replicas,
    )


def _hybrid_group(spec: PlanSpec, cluster: Cluster, dp: int) -> int | None:
    """Hybrid sharding divides by the replicas of one node, as PyTorch does by default."""
    if spec.sharding not in GROUPED:
        return None
    return math.gcd(max(cluster.node.num_devices // spec.tp, 1), dp * spec.cp)


def _remaining(spec: PlanSpec, cluster: Cluster) -> int:
    """The data-parallel degree that uses every device."""
    replica = spec.tp * spec.cp * spec.pp
    if cluster.num_devices % replica:
        raise PlanError(
            f"the {cluster.num_devices} devices of {cluster.name} are not divisible by "
            f"tp * cp * pp = {spec.tp} * {spec.cp} * {spec.pp} = {replica}",
            where="plan.dp",
            hint="give plan.dp to leave some devices idle, or change a degree or cluster.nodes",
        )
    return cluster.num_devices // replica


def _defaults(
    spec: ScenarioSpec, training: TrainingConfig, plan: ParallelismPlan, model: TransformerConfig
) -> tuple[Assumption, ...]:
    """Every value of the training, the plan and the stack that was not given."""
    optional = OPTIONAL_TRAINING if model.num_experts else (*OPTIONAL_TRAINING, "capacity_factor")
    taken = [
        Assumption(f"training.{key}", _shown(getattr(training, key)), "default")
        for key in _unset(spec.training)
        if key not in optional
    ]
    reasons = {
        "dp": "default: all devices of the cluster",
        "schedule": "default for this number of virtual stages",
        "overlap": "default of the stack",
    }
    optional = (
        "layers_per_stage",
        "shard_group_size",
        "ep",
        "etp",
        "overlap",
        "offload",
        "exchange",
        "tp_overlap",
    )
    taken += [
        Assumption(f"plan.{key}", _shown(getattr(plan, key)), reasons.get(key, "default"))
        for key in _unset(spec.plan)
        if key not in optional
    ]
    taken += [
        Assumption(
            f"plan.overlap.{axis}",
            _shown(getattr(plan, f"overlap_{axis}")),
            "default of the stack",
        )
        for axis in _unset(spec.plan.overlap)
        if axis != "replicas" and (axis != "tp" or spec.plan.tp_overlap is None)
    ]
    taken += tp_overlap_defaults(spec.plan.tp_overlap)
    if spec.plan.sharding in GROUPED and spec.plan.shard_group_size is None:
        why = f"{spec.plan.sharding}: one node"
        size = Assumption("plan.shard_group_size", _shown(plan.shard_group_size), why)
        taken.append(size)
    if "stack" not in spec.model_fields_set:
        taken.append(Assumption("stack", str(spec.stack["preset"]), "default"))
    if spec.plan.sequence_parallel and not plan.sequence_parallel:
        note = Assumption("plan.sequence_parallel", "false", "ignored: tp = 1 splits nothing")
        taken.append(note)
    return tuple(taken)


def _unset(spec: BaseModel) -> list[str]:
    return [key for key in type(spec).model_fields if key not in spec.model_fields_set]


def _shown(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case tuple():
            return ", ".join(map(str, cast("tuple[object, ...]", value)))
        case _:
            return str(getattr(value, "name", None) or getattr(value, "mode", None) or value)
