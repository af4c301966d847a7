"""A scenario as data in which nothing is left to defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING

from simulator.machine import Cluster
from simulator.model import TransformerConfig
from simulator.plan import ParallelismPlan, TrainingConfig
from simulator.spec.exchange import exchange_data
from simulator.spec.experts import EXPERT_FIELDS
from simulator.spec.fine_tuning import training_data
from simulator.spec.offload import offload_data
from simulator.spec.scenario import ScenarioSpec
from simulator.spec.tp_overlap import tp_overlap_data

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def normalised_scenario(
    spec: ScenarioSpec,
    model: TransformerConfig,
    training: TrainingConfig,
    plan: ParallelismPlan,
    cluster: Cluster,
) -> dict[str, object]:
    """The scenario as data in which nothing is left to defaults; parses to the same scenario."""
    without = () if model.num_experts else (*EXPERT_FIELDS, "capacity_factor")
    nodes = {"nodes": cluster.num_nodes} if "preset" in spec.cluster else {}
    optional = ("offload", "exchange", "tp_overlap")
    plan_data = _as_data(plan, without=optional if model.num_experts else ("etp", *optional))
    offload = {"offload": offload_data(plan.offload)} if plan.offload else {}
    exchange = {"exchange": exchange_data(plan.exchange)} if plan.exchange else {}
    chunked = {"tp_overlap": tp_overlap_data(plan.tp_overlap)} if plan.tp_overlap else {}
    overlap = {axis: plan_data.pop(f"overlap_{axis}") for axis in ("dp", "tp", "pp", "replicas")}
    if plan.overlap_replicas:
        del overlap["replicas"]
    lists = {
        "axis_order": list(plan.axis_order),
        "layers_per_stage": plan.layers_per_stage and list(plan.layers_per_stage),
    }
    return {
        "name": spec.name,
        "model": _as_data(model, without=without),
        "training": training_data(training, _as_data(training, without=without)),
        "plan": {
            **plan_data,
            **lists,
            "sharding": plan.sharding.name,
            "overlap": overlap,
            "bucket_bytes": f"{plan.bucket_bytes:.17g} B",
            **offload,
            **exchange,
            **chunked,
        },
        "cluster": {**spec.cluster, **nodes},
        "stack": spec.stack,
        "stragglers": [straggler.model_dump() for straggler in spec.stragglers],
    }


def _as_data(section: DataclassInstance, without: Sequence[str] = ()) -> dict[str, object]:
    """Its fields as data; as ``dataclasses.asdict``, without copies of what cannot change."""
    names = (field.name for field in fields(section) if field.name not in without)
    values = ((name, getattr(section, name)) for name in names)
    return {
        name: _as_data(value) if is_dataclass(value) and not isinstance(value, type) else value
        for name, value in values
    }
