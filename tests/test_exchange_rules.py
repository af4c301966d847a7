"""What plan.exchange may not be combined with is an error with a way out."""

import pytest

from simulator.errors import PlanError, SpecError, TrainsimError
from simulator.montecarlo import Noise, sample_steps
from simulator.search.supported import check_searchable
from simulator.simulate import simulate
from simulator.spec.load import load_scenario, parse_scenario


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (
            ["plan.exchange={policy: local, every: 4, workers: 5}"],
            "5 workers do not divide dp",
        ),
        (
            ["plan.exchange={policy: local, every: 4, workers: 1}"],
            "policy local with 1 worker of dp = 32: there is no other",
        ),
        (["plan.sharding=zero1"], "sharding zero1"),
        (["stragglers=[{rank: 0, speed: 0.5}]"], "stragglers"),
        (
            ["plan.exchange={policy: streaming, every: 4, fragments: 8}"],
            "8 fragments of 24 layers, exchanged once in 4 steps",
        ),
        (
            ["plan.exchange={policy: streaming, every: 4, fragments: 2, overlap_steps: 5}"],
            "overlap_steps 5 is more than every = 4",
        ),
        (
            ["plan.exchange={policy: local, every: 4, by_layer: true}", "plan.pp=2", "plan.dp=16"],
            "by_layer with pp",
        ),
        (["plan.exchange={policy: low_rank, rank: 2000}"], "rank 2000 for matrices of 1024 rows"),
        (["plan.exchange=scalar", "plan.pp=2", "plan.dp=16"], "scalar with pp = 2"),
    ],
)
def test_combinations(overrides: list[str], problem: str) -> None:
    with pytest.raises(PlanError, match=problem):
        load_scenario("bert-large-one-bit", overrides)


@pytest.mark.parametrize(
    ("exchange", "problem"),
    [
        ("{policy: local, every: 4, fragments: 2}", "unknown key 'fragments'"),
        ("{policy: local, every: 4, outer_home: host}", "unknown key 'outer_home'"),
        ("{policy: one_bit, rank: 4}", "unknown key 'rank'"),
        ("{policy: local}", "'every' is missing"),
        ("{policy: top_k, share: 2.0}", "share"),
        ("{policy: local, every: 4, wire: fp6}", "fp6"),
        ("{policy: gossip}", "gossip"),
        ("{policy: local, every: 4, wan: {bandwidth: 1}}", "has no unit"),
    ],
)
def test_keys_of_other_policies_are_unknown(exchange: str, problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        load_scenario("bert-large-one-bit", [f"plan.exchange={exchange}"])


@pytest.mark.parametrize(
    "exchange",
    [
        "one_bit",
        "{policy: streaming, every: 8, workers: 8, fragments: 4, wan: {bandwidth: 1 Gbps}}",
        "{policy: async_local, every: 4}",
        "{policy: parameter_server, servers: 2}",
    ],
)
def test_the_echo_means_the_same(exchange: str) -> None:
    scenario = load_scenario("bert-large-one-bit", [f"plan.exchange={exchange}"])
    again = parse_scenario(scenario.normalised)
    assert again.plan == scenario.plan


def test_every_step_is_no_policy() -> None:
    plain = load_scenario("bert-large-one-bit", ["plan.exchange=null"])
    assert load_scenario("bert-large-one-bit", ["plan.exchange=every_step"]).plan == plain.plan
    assert simulate(plain).pattern is None


def test_a_node_is_a_worker_of_async_local() -> None:
    plan = load_scenario("transnormer-7b-co2").plan
    assert plan.exchange is not None
    assert plan.exchange.workers == 16


def test_search_and_noise_refuse() -> None:
    scenario = load_scenario("bert-large-one-bit")
    with pytest.raises(PlanError, match="one_bit cannot be searched"):
        check_searchable(scenario)
    with pytest.raises(TrainsimError, match="couples steps"):
        sample_steps(scenario, Noise(speed=0.02), samples=4)
