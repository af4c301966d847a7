"""The cluster that a user means: its own name or file, or a scenario that runs on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

from simulator.machine import Cluster
from simulator.spec.hardware import load_cluster
from simulator.spec.load import list_scenarios, load_parts, scenario_source
from simulator.spec.scenario import ScenarioSpec
from simulator.spec.validate import validate
from simulator.spec.yaml_file import list_data, read_yaml

_OF_SCENARIOS: Final = frozenset({"model", "training", "plan"})


def load_any_cluster(name: str, *, num_nodes: int | None = None) -> Cluster:
    """A cluster, or that of a scenario.

    Args:
        name: a file, or the name of a shipped cluster or scenario.
        num_nodes: so many of its nodes; else all, of a scenario those that it takes.

    Raises:
        TrainsimError: if there is no such thing, or it is wrong, or has fewer nodes.
    """
    if _is_scenario(name):
        return _of_scenario(name, num_nodes)
    return load_cluster(name, num_nodes=num_nodes)


def _is_scenario(name: str) -> bool:
    if name.lower().replace("_", "-") in list_data("clusters"):
        return False
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        return name.lower() in list_scenarios()
    if not path.is_file():
        return False
    content = read_yaml(path)
    return isinstance(content, Mapping) and bool(
        _OF_SCENARIOS & cast("Mapping[str, object]", content).keys()
    )


def _of_scenario(name: str, num_nodes: int | None) -> Cluster:
    source = scenario_source(name)
    spec = validate(ScenarioSpec, source.data, source.where)
    if num_nodes is not None:
        of_preset = {"nodes": num_nodes}
        inline = {"num_nodes": {"value": num_nodes, "source": "asked for"}}
        more = of_preset if "preset" in spec.cluster else inline
        spec = spec.model_copy(update={"cluster": {**spec.cluster, **more}})
    return load_parts(spec, source.where, source.base_dir).cluster
