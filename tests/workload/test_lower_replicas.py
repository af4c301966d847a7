"""Replicas of a shard that exchange their gradients after the backward."""

import json

import pytest

from simulator.api import load_scenario, simulate
from simulator.errors import PlanError
from simulator.scenario import Scenario
from simulator.search.supported import check_searchable
from simulator.spec.load import parse_scenario

WAIT = "plan.overlap={dp: true, replicas: false}"
BESIDE = "plan.overlap={dp: true}"
JOB = ["plan.sharding=zero3", "plan.shard_group_size=8", "cluster.num_nodes.value=16"]


def job(*changes: str) -> Scenario:
    return load_scenario("llama2-7b-fsdp", [*JOB, *changes])


@pytest.fixture(scope="module")
def names() -> dict[str, list[str]]:
    """Names of the classes of ops, with and without waiting."""
    found: dict[str, list[str]] = {}
    for how in (WAIT, BESIDE):
        timeline = simulate(job(how)).timeline
        assert timeline is not None
        found[how] = list(timeline.graph.class_names)
    return found


def test_one_exchange_of_the_shard(names: dict[str, list[str]]) -> None:
    """The shard of one of 8: an eighth of the gradients of the whole model."""
    (row,) = (name for name in names[WAIT] if name.startswith("exchange"))
    gradients = [float(name.split()[1]) for name in names[WAIT] if name.startswith("reduce")]
    scenario = job(WAIT)
    per_parameter = scenario.training.optimizer.gradient_reduce_bytes
    assert float(row.split()[1]) * 8 / per_parameter == pytest.approx(6.74e9, rel=0.01)
    assert max(gradients) * 10 < float(row.split()[1]) * 8  # buckets are layers
    assert not any(name.startswith("exchange") for name in names[BESIDE])


def test_waiting_costs_the_exchange_and_no_more() -> None:
    """Beside compute it is hidden; after it, it takes its own time, less what buckets waited for.

    By hand: 6.74 G * 4 B / 8 over 400 Gb/s per GPU at 0.93 takes 0.07 s or so.
    """
    beside, waiting = simulate(job(BESIDE)), simulate(job(WAIT))
    lost = waiting.step_time_s - beside.step_time_s
    assert 0.0 < lost == pytest.approx(waiting.time["dp_comm"] - beside.time["dp_comm"], rel=0.05)


def test_one_replica_waits_for_nobody() -> None:
    whole = ["plan.shard_group_size=null"]
    assert simulate(job(WAIT, *whole)).step_time_s == simulate(job(BESIDE, *whole)).step_time_s


def test_both_executors_agree() -> None:
    scenario = job(WAIT)
    exact, fast = (simulate(scenario, engine=engine).step_time_s for engine in ("des", "maxplus"))
    assert fast == pytest.approx(exact, rel=1e-9)


def test_what_is_written_back_reads_as_the_same() -> None:
    scenario = job(WAIT)
    again = parse_scenario(json.loads(json.dumps(scenario.normalised)))
    assert again.plan == scenario.plan
    assert "replicas" not in str(job(BESIDE).normalised["plan"])


@pytest.mark.parametrize("change", ["plan.sharding=zeropp", "training.gradient_release=layerwise"])
def test_what_it_is_not_modelled_with(change: str) -> None:
    with pytest.raises(PlanError, match=r"together with overlap.replicas: false is not modelled"):
        job(WAIT, change)


def test_a_search_refuses_it() -> None:
    with pytest.raises(PlanError, match="cannot be searched over yet"):
        check_searchable(job(WAIT))
