"""Observations made of a small scenario, with times that the simulator itself gives."""

from dataclasses import replace

import pytest

from simulator.calibrate.observations import Observation
from simulator.calibrate.predict import step_times_s
from simulator.simulate import setting_of
from simulator.spec.load import load_scenario


def observation(index, *, source="table", truth=1.0, role="calibration", factor=1.0, **scalars):
    """A run of a small model with some micro-batch size, measured with other scalars."""
    size = (1, 2, 4)[index % 3]
    scenario = load_scenario(
        "llama2-7b-fsdp",
        [
            "model.num_layers=2",
            f"training.micro_batch_size={size}",
            f"training.seq_length={(1024, 2048)[index // 3 % 2]}",
            f"training.global_batch_size={128 * size}",
        ],
    )
    measured = replace(scenario, stack=replace(scenario.stack, gemm_scale=truth, **scalars))
    seconds = float(step_times_s(measured, {})[0]) * factor
    return Observation(source, f"row-{index}", role, scenario, setting_of(scenario), seconds, 1.0)


@pytest.fixture(name="observation")
def observation_fixture():
    return observation
