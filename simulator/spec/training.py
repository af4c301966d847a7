"""From the ``training`` of a scenario file to its ``TrainingConfig``."""

from __future__ import annotations

from simulator.batch_policy import AutoFit
from simulator.model import TransformerConfig
from simulator.plan import Recompute, TrainingConfig
from simulator.spec.batch import batch_sizes
from simulator.spec.fine_tuning import fine_tuning_of
from simulator.spec.optimizers import optimizer_config
from simulator.spec.scenario import TrainingSpec
from simulator.stack import Stack


def training_config(
    spec: TrainingSpec, model: TransformerConfig, stack: Stack, dp: int
) -> tuple[TrainingConfig, AutoFit | None]:
    """The training, with a microbatch that is provisional where it is to be fitted.

    Args:
        spec: as written.
        model: whose matrices adapters stand on.
        stack: gives the gradients' types.
        dp: data-parallel degree, for batches that follow from it.

    Raises:
        TrainsimError: if keys contradict one another, or a name is unknown.
    """
    global_batch_size, micro_batch_size, auto_fit = batch_sizes(spec, dp)
    training = TrainingConfig(
        global_batch_size=global_batch_size,
        micro_batch_size=micro_batch_size,
        seq_length=spec.seq_length,
        precision=spec.precision,
        optimizer=optimizer_config(spec.optimizer, spec.precision, stack, "training.optimizer"),
        recompute=Recompute(
            spec.recompute.mode, spec.recompute.num_layers, spec.recompute.keeps_qkv
        ),
        fine_tuning=fine_tuning_of(spec.fine_tuning, model),
        gradient_release=spec.gradient_release,
        activation_keep_ratio=spec.activation_keep_ratio,
        capacity_factor=spec.capacity_factor,
    )
    return training, auto_fit
