"""Zeroth-order training in scalars: forwards along random directions, and no backward at all.

A step measures the loss at w + eps z and w - eps z, sends the difference as one byte, and replays
the directions of all workers from their seeds.

Sources: MeZO (Malladi et al. 2023, arXiv 2305.17333), algorithm 1; Just One Byte (Zelikman et al.
2023, arXiv 2306.10015).
"""

from __future__ import annotations

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
from simulator.report.report import RankMemory
from simulator.scenario import Scenario
from simulator.step import microbatch_shape
from simulator.workload.op import OpPhase

SCALAR_BYTES: Final = 1.0
"""Of one projected gradient. Source: Just One Byte (arXiv 2306.10015), section 3."""
PASSES_OVER_WEIGHTS: Final = 3.0
"""w + eps z, then w - eps z, then back to w: in place. Source: MeZO (arXiv 2305.17333),
algorithm 1; princeton-nlp/MeZO, large_models/trainer.py (``zo_perturb_parameters``)."""


@dataclass(frozen=True, slots=True)
class ScalarStep:
    """Where the time of one step goes.

    Attributes:
        forward_s: two forwards per direction and microbatch.
        perturb_s: of the weights along own directions.
        replay_s: of the updates along the directions of all workers.
        exchange_s: of the scalars.
        sent_bytes: that leave a rank.
    """

    forward_s: float
    perturb_s: float
    replay_s: float
    exchange_s: float
    sent_bytes: float

    @property
    def seconds(self) -> float:
        """The whole step."""
        return self.forward_s + self.perturb_s + self.replay_s + self.exchange_s


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
        passes_s: forwards of its microbatches, once.
        weight_bytes: of one weight, and of one number of a direction.

    Assumes: random numbers are drawn as fast as they are written.
    """
    directions = setting.exchange.perturbations
    workers = setting.between.workers
    one_pass = kernel_s(setting, 4 * weight_bytes * setting.parameters, "add")
    payload = workers * directions * SCALAR_BYTES
    sent = setting.between.collective("all_gather", payload)
    return ScalarStep(
        forward_s=2 * directions * passes_s,
        perturb_s=PASSES_OVER_WEIGHTS * directions * one_pass,
        replay_s=workers * directions * one_pass,
        exchange_s=sent.seconds,
        sent_bytes=directions * SCALAR_BYTES * (workers - 1),
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
