"""Zeroth-order training in scalars: forwards along random directions, and no backward at all.

A step measures the loss at w + eps z and w - eps z, sends the difference as one byte, and replays
the directions of all workers from their seeds.

Sources: MeZO (Malladi et al. 2023, arXiv 2305.17333), algorithm 1; Just One Byte (Zelikman et al.
2023, arXiv 2306.10015).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from simulator.cost.activation import stage_activation_bytes
from simulator.cost.footprint import largest_parameter
from simulator.cost.output_memory import logits_bytes
from simulator.engine.breakdown import compute_ops
from simulator.engine.timeline import Timeline
from simulator.exchange.kernels import kernel_s
from simulator.exchange.setting import Setting
from simulator.machine import BYTES_PER_ELEMENT
from simulator.numeric import as_float
from simulator.plan import Recompute
from simulator.report.report import FlopsRates, RankMemory
from simulator.scenario import Scenario
from simulator.step import microbatch_shape
from simulator.workload.op import OpPhase

SCALAR_BYTES: Final = 1.0
"""Of one projected gradient. Source: Just One Byte (arXiv 2306.10015), section 3."""
PASSES_OVER_WEIGHTS: Final = 3.0
"""w + eps z, then w - eps z, then back to w: in place. Source: MeZO (arXiv 2305.17333),
algorithm 1; princeton-nlp/MeZO, large_models/trainer.py (``zo_perturb_parameters``)."""

FORWARDS: Final = 2
"""Per direction: at w + eps z and at w - eps z. Source: the same."""
PASSES: Final = 3
"""Forwards whose work a forward and a backward are under the conventions of ``flops.py``."""
WITHOUT_RECOMPUTE: Final[Mapping[str, str]] = {"megatron_hardware": "megatron_model", "8n": "6n"}
"""Convention that counts recomputation -> the same without; nothing is recomputed here."""


@dataclass(frozen=True, slots=True)
class ScalarStep:
    """Where the time of one step goes.

    Attributes:
        forward_s: two forwards per direction and microbatch, by term of time.
        perturb_s: of the weights along own directions.
        replay_s: of the updates along the directions of all workers.
        exchange_s: of the scalars.
        sent_bytes: that leave a node.
    """

    forward_s: Mapping[str, float]
    perturb_s: float
    replay_s: float
    exchange_s: float
    sent_bytes: float

    @property
    def seconds(self) -> float:
        """The whole step."""
        return self.forwards_s + self.kernels_s + self.exchange_s

    @property
    def forwards_s(self) -> float:
        """All terms of the forwards."""
        return sum(self.forward_s.values())

    @property
    def kernels_s(self) -> float:
        """Kernels that change weights."""
        return self.perturb_s + self.replay_s


def forward_s(timeline: Timeline) -> float:
    """Seconds that the first pipeline rank spends in forwards."""
    ops = compute_ops(timeline, 0)
    ops = ops[timeline.graph.phase[ops] == OpPhase.F]
    return float((timeline.end_s[ops] - timeline.start_s[ops]).sum())


def scalar_step(setting: Setting, passes_s: float, weight_bytes: float) -> ScalarStep:
    """One step of a worker.

    Drawing z writes it, adding it reads z and the weight and writes the weight: 4 times the
    weight's bytes per pass over the weights.

    Args:
        setting: the worker.
        passes_s: forwards of its microbatches, once; split as the kernels of a forward are.
        weight_bytes: of one weight, and of one number of a direction.

    Assumes: random numbers are drawn as fast as they are written.
    """
    terms = setting.forward_terms_s
    once = sum(terms.values())
    directions = setting.exchange.perturbations
    workers = setting.between.workers
    one_pass = kernel_s(setting, 4 * weight_bytes * setting.parameters, "add")
    payload = workers * directions * SCALAR_BYTES
    sent = setting.between.collective("all_gather", payload)
    return ScalarStep(
        forward_s={t: FORWARDS * directions * passes_s * s / once for t, s in terms.items()},
        perturb_s=PASSES_OVER_WEIGHTS * directions * one_pass,
        replay_s=workers * directions * one_pass,
        exchange_s=sent.seconds,
        sent_bytes=sent.bytes,
    )


def scalar_memory(scenario: Scenario, worker: RankMemory, parameters: float) -> dict[str, float]:
    """Terms of a rank's memory: weights, one layer's activations, logits, one direction.

    Args:
        scenario: of one worker.
        worker: memory of a rank that would train, for what does not depend on training.
        parameters: of the rank.

    Assumes: a forward without gradients frees what it has read: the widest layer is held alone; a
        direction is drawn one tensor at a time.
    """
    model, stack, shape = scenario.model, scenario.stack, microbatch_shape(scenario)
    weight = BYTES_PER_ELEMENT[scenario.training.precision]
    layer = stage_activation_bytes(model, shape, stack, Recompute("none"), 1, 0)
    # Losses are wanted, not their gradients: logits are held once, in the numbers of the model.
    logits = as_float(logits_bytes(model, shape, stack))
    tensor = as_float(largest_parameter(model, scenario.plan.tp, has_table=True)) * weight
    return {
        "weights": parameters * weight,
        "activations": as_float(layer),
        "logits": logits,
        "buffers": tensor,
        "framework": worker.terms.get("framework", 0.0),
        "communicators": worker.terms.get("communicators", 0.0),
    }


def scalar_flops(rates: Mapping[str, FlopsRates], setting: Setting) -> dict[str, FlopsRates]:
    """Rates of a worker that would train, without its backward.

    Forwards alone run, ``FORWARDS`` per direction: 2 N FLOPs per parameter, token and forward.

    Args:
        rates: by convention, ``hardware`` among them.
        setting: the worker.
    """
    forwards = FORWARDS * setting.exchange.perturbations
    executed = setting.forward_flops / rates["hardware"].flops_per_step
    return {
        name: _scaled(
            rates[WITHOUT_RECOMPUTE.get(name, name)],
            forwards * (executed if name == "hardware" else 1 / PASSES),
        )
        for name in rates
    }


def _scaled(rate: FlopsRates, by: float) -> FlopsRates:
    return FlopsRates(
        rate.flops_per_step * by, rate.flops_per_s_per_device * by, rate.utilisation * by
    )
