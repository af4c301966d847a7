from __future__ import annotations

import pytest

from simulator.errors import UnknownNameError
from simulator.planning.variant import Job, attempt, nodes_assignment, nodes_for, predict
from simulator.simulate import simulate

JOB = Job("gpt2-xl-one-gpu", ("training.micro_batch_size=1",))


def test_a_prediction_is_that_of_the_report() -> None:
    scenario = JOB.load()
    found, report = predict(scenario), simulate(scenario, levers=False)
    training = scenario.training
    assert found.step_time_s == report.step_time_s
    assert found.peak_bytes == report.memory.peak_bytes
    assert found.fits is report.memory.fits
    assert found.tokens_per_step == training.global_batch_size * training.seq_length
    assert found.tokens_per_s == pytest.approx(found.tokens_per_step / found.step_time_s)


def test_later_assignments_win() -> None:
    assert JOB.load().training.micro_batch_size == 1
    assert JOB.load("training.micro_batch_size=2").training.micro_batch_size == 2


def test_what_cannot_run_gives_its_reason() -> None:
    found, reason = attempt(JOB, ["plan.tp=7"])
    assert found is None
    assert "7" in reason
    found, reason = attempt(JOB, [])
    assert found == predict(JOB.load())
    assert not reason


def test_a_misspelt_name_is_an_error_of_all_variants() -> None:
    with pytest.raises(UnknownNameError):
        attempt(JOB, ["plan.sharding=zero9"])


def test_nodes_hold_the_devices() -> None:
    scenario = Job("gpt3-175b-a100-64").load()
    assert scenario.cluster.node.num_devices == 8
    assert [nodes_for(scenario.cluster, devices) for devices in (1, 8, 9, 64)] == [1, 1, 2, 8]
    assert nodes_assignment(scenario, 20) == "cluster.nodes=3"
