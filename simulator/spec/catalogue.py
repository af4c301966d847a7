"""What is shipped, each thing with one line of facts; and the check of a user's own file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from simulator.errors import SpecError, UnknownNameError
from simulator.machine import Accelerator, Cluster, Node
from simulator.model import TransformerConfig, num_active_parameters, num_parameters
from simulator.schedule.table import SCHEDULES
from simulator.sharding import GROUPED, SHARDING, SHARDING_ALIASES, described
from simulator.spec.hardware import load_accelerator, load_cluster, load_node
from simulator.spec.load import list_scenarios, load_scenario
from simulator.spec.models import ModelInput, load_model, model_presets
from simulator.spec.stacks import load_stack
from simulator.spec.validate import shown_value
from simulator.spec.yaml_file import list_data, read_yaml
from simulator.stack import Stack
from simulator.units import format_si


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing of the catalogue."""

    name: str
    facts: str


def entries(kind: str) -> tuple[Entry, ...]:
    """Everything of one kind, sorted by name.

    Raises:
        UnknownNameError: if there is no such kind.
    """
    if kind not in KINDS:
        raise UnknownNameError.of("kind", kind, KINDS)
    return tuple(Entry(name, facts) for name, facts in KINDS[kind]())


def check_file(path: Path) -> tuple[str, str]:
    """Reads a file of any kind.

    Returns:
        What kind it is (``scenario``, ``cluster``, ...) and its facts in one line.

    Raises:
        TrainsimError: if it is wrong, or it is none of the known kinds.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise SpecError(
            f"{shown_value(content)} is not a mapping",
            where=str(path),
            hint="a scenario or a hardware description is a mapping, 'key: value'",
        )
    keys = cast("dict[str, object]", content)
    for kind, (marks, describe) in _CHECKS.items():
        extends = keys.get("extends") in list_data(kind)
        if marks & keys.keys() or extends or path.resolve().parent.name == kind:
            return kind.removesuffix("s"), describe(path)
    raise SpecError(
        f"keys {', '.join(map(str, keys)) or 'none'} are of no known kind of file",
        where=str(path),
        hint="a scenario has 'model' and 'training', a cluster 'node', a node 'accelerator', "
        "an accelerator 'peak_flops', a stack 'framework'",
    )


def _accelerator(device: Accelerator) -> str:
    peaks = {k: device.peak_flops_per_s.get(k, 0.0) for k in ("bf16", "fp16", "fp32")}
    best = max(peaks, key=lambda k: peaks[k])
    return (
        f"{format_si(device.memory_bytes, 'B')}, "
        f"{format_si(device.memory_bandwidth_bytes_per_s, 'B/s')}, "
        f"{format_si(peaks[best], 'FLOP/s', digits=4)} dense {best}"
    )


def _node(node: Node) -> str:
    nics = f"{node.num_nics} NICs of {format_si(node.nic_bytes_per_s, 'B/s')}"
    return f"{node.num_devices} x {node.accelerator.name}, {nics if node.num_nics else 'no NIC'}"


def _cluster(cluster: Cluster) -> str:
    return f"{cluster.num_nodes} x {cluster.node.name}, {cluster.num_devices} devices"


def _model(model: TransformerConfig) -> str:
    experts = ""
    if model.num_experts:
        active = f"{num_active_parameters(model):,} active"
        experts = f" ({active}), {model.top_k} of {model.num_experts} experts"
    return (
        f"{num_parameters(model):,} parameters{experts}, {model.num_layers} layers, "
        f"hidden {model.hidden_size}, {model.num_attention_heads} heads"
    )


def _stack(stack: Stack) -> str:
    axes = ("dp", "tp", "pp")
    overlaps = [axis for axis in axes if getattr(stack, f"overlap_{axis}")]
    hidden = f"overlaps {', '.join(overlaps)}" if overlaps else "overlaps nothing"
    return f"{stack.framework}, {stack.attention} attention, {hidden}"


def _scenario(name: str | Path) -> str:
    scenario = load_scenario(name)
    plan = scenario.plan
    return (
        f"{scenario.model.name} on {plan.num_devices} x {scenario.cluster.node.accelerator.name}, "
        f"tp {plan.tp} cp {plan.cp} dp {plan.dp} pp {plan.pp}"
    )


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0].rstrip(".")


Rows = list[tuple[str, str]]


def _models() -> Rows:
    here = Path()
    return [
        (name, _model(load_model(ModelInput(preset=name), name, here)[0]))
        for name in sorted(model_presets())
    ]


def _shardings() -> Rows:
    """Policies, then the other names of some."""
    rows = [(name, described(policy)) for name, policy in SHARDING.items()]
    for name, policy in SHARDING_ALIASES.items():
        group = " over the ranks of a node, or plan.shard_group_size" if name in GROUPED else ""
        rows.append((name, f"{policy}{group}"))
    return rows


KINDS: Final[Mapping[str, Callable[[], Rows]]] = {
    "accelerators": lambda: [
        (n, _accelerator(load_accelerator(n))) for n in list_data("accelerators")
    ],
    "nodes": lambda: [(n, _node(load_node(n))) for n in list_data("nodes")],
    "clusters": lambda: [(n, _cluster(load_cluster(n))) for n in list_data("clusters")],
    "models": _models,
    "stacks": lambda: [(n, _stack(load_stack(n))) for n in list_data("stacks")],
    "schedules": lambda: [(n, _first_line(build.__doc__)) for n, build in SCHEDULES.items()],
    "shardings": _shardings,
    "scenarios": lambda: [(n, _scenario(n)) for n in list_scenarios()],
}
"""Kind -> name and facts of everything of that kind."""


_CHECKS: Final[Mapping[str, tuple[frozenset[str], Callable[[Path], str]]]] = {
    "scenarios": (frozenset({"model", "training", "plan"}), _scenario),
    "clusters": (frozenset({"node", "tiers"}), lambda path: _cluster(load_cluster(path))),
    "nodes": (frozenset({"accelerator", "nics"}), lambda path: _node(load_node(path))),
    "accelerators": (
        frozenset({"peak_flops", "architecture"}),
        lambda path: _accelerator(load_accelerator(path)),
    ),
    "stacks": (frozenset({"framework", "gemm_scale"}), lambda path: _stack(load_stack(str(path)))),
}
"""Kind -> keys by which its files are known, and what reads and describes one."""
