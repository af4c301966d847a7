"""What a published run is, as far as results are grouped by it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from simulator.model import num_parameters
from simulator.plan import num_microbatches
from simulator.scenario import Scenario
from simulator.spec.experts import EXPERT_FIELDS

T = TypeVar("T")
Level = int | float | str
"""One value of a factor."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a step computes and on what. Runs of the same work differ in how it is done only.

    Attributes:
        shape: layers, hidden, feed-forward, heads, groups, head size, vocabulary, gated or not.
        conditions: state of the machine, where its source says that others do not compare.
    """

    shape: tuple[int, ...]
    accelerator: str
    num_devices: int
    global_batch_size: int
    seq_length: int
    conditions: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Work of a run, the factors that its error may depend on, and which runs repeat it.

    Attributes:
        configuration: the same for runs that repeat one another; each run its own otherwise.
    """

    work: Work
    factors: Mapping[str, Level]
    configuration: str


def facts_of(scenario: Scenario, configuration: str, conditions: str = "") -> Facts:
    """Facts of a run as it is simulated, assumptions included."""
    return Facts(_work(scenario, conditions), _factors(scenario), configuration)


def by_work(items: Iterable[tuple[str, Facts, T]]) -> dict[tuple[str, Work], dict[str, list[T]]]:
    """What is known of runs, by source and work, then by configuration: in order of appearance.

    Args:
        items: source, facts and anything else of every run.
    """
    groups: dict[tuple[str, Work], dict[str, list[T]]] = {}
    for source, facts, item in items:
        group = groups.setdefault((source, facts.work), {})
        group.setdefault(facts.configuration, []).append(item)
    return groups


def _work(scenario: Scenario, conditions: str) -> Work:
    model, training = scenario.model, scenario.training
    return Work(
        (
            model.num_layers,
            model.hidden_size,
            model.ffn_hidden_size,
            model.num_attention_heads,
            model.num_query_groups,
            model.head_dim,
            model.vocab_size,
            int(model.gated_mlp),
            *(getattr(model, name) for name in EXPERT_FIELDS),
        ),
        scenario.cluster.node.accelerator.name,
        scenario.plan.num_devices,
        training.global_batch_size,
        training.seq_length,
        conditions,
    )


def _factors(scenario: Scenario) -> dict[str, Level]:
    model, plan, training = scenario.model, scenario.plan, scenario.training
    return {
        "tp": plan.tp,
        "pp": plan.pp,
        "dp": plan.dp,
        "ep": plan.ep,
        "etp": plan.expert_tp if model.num_experts else 1,
        "virtual stages": plan.virtual_stages,
        "schedule": plan.schedule if plan.pp > 1 else "-",
        "sharding": plan.sharding.name,
        "sequence parallel": "on" if plan.sequence_parallel else "off",
        "microbatch": training.micro_batch_size,
        "microbatches": num_microbatches(training, plan),
        "recompute": training.recompute.mode,
        "sequence length": training.seq_length,
        "parameters, billion": float(f"{num_parameters(model) / 1e9:.2g}"),
        "devices": plan.num_devices,
        "attention": scenario.stack.attention,
        "accelerator": scenario.cluster.node.accelerator.name,
        "precision": training.precision,
        "hidden, aligned to": power_of_two_in(model.hidden_size),
        "head size": model.head_dim,
        "head size, aligned to": power_of_two_in(model.head_dim),
        "stack": scenario.stack.name,
    }


def power_of_two_in(size: int) -> int:
    """Largest power of two, up to 512, that divides a size: matrix tiles are 64 to 256 wide."""
    return min(size & -size, 512)
