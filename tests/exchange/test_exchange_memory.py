"""What policies keep on every rank, by hand."""

from dataclasses import replace

import pytest

from simulator.machine import MemoryTier
from simulator.simulate import memory_of, simulate
from simulator.spec.load import load_scenario

PARAMETERS = 336.3e6
"""Of BERT-Large with its heads, as the simulator counts them; to 0.5 %."""


def _term(exchange: str, *overrides: str) -> float:
    scenario = load_scenario("bert-large-one-bit", [f"plan.exchange={exchange}", *overrides])
    (rank,) = memory_of(scenario).rank_classes
    assert memory_of(scenario) == simulate(scenario).memory
    return rank.terms["exchange"]


@pytest.mark.parametrize(
    ("exchange", "bytes_each"),
    [
        ("one_bit", 4 + 4 / 32),  # errors of the worker, and of a server's chunk
        ("{policy: top_k, share: 0.01}", 4),
        ("{policy: local, every: 4, workers: 8}", 8),  # outer parameters and Nesterov momentum
        ("{policy: async_local, every: 4, wire: fp16}", 10),  # old ones, momentum, 2 on the way
        ("{policy: streaming, every: 8, workers: 8, fragments: 4, outer_home: host}", 2),
        (  # a fragment every 2 steps, waited for 4 steps later: 3 of 4 are on the device
            "{policy: streaming, every: 8, workers: 8, fragments: 4, overlap_steps: 4, "
            "outer_home: host}",
            6,
        ),
        ("parameter_server", 0),
    ],
)
def test_bytes_per_parameter(exchange: str, bytes_each: float) -> None:
    assert _term(exchange) == pytest.approx(bytes_each * PARAMETERS, rel=0.005)


def test_a_sharded_optimizer_shards_the_outer_one() -> None:
    # 8 workers of 4 ranks with ZeRO-1: 8 bytes of a quarter of the parameters.
    sharded = _term("{policy: local, every: 4, workers: 8}", "plan.sharding=zero1")
    assert sharded == pytest.approx(2 * PARAMETERS, rel=0.005)


def test_a_home_on_the_host_takes_room_there() -> None:
    exchange = "plan.exchange={policy: streaming, every: 8, workers: 8, fragments: 4, outer_home: "
    scenario = load_scenario("bert-large-one-bit", [exchange + "host}"])
    memory = memory_of(scenario)
    (tier,) = memory.tiers
    # 8 bytes of every parameter for each of the 4 ranks of a node.
    assert tier.name == "host"
    assert tier.demand_bytes == pytest.approx(4 * 8 * PARAMETERS, rel=0.005)
    assert memory.rank_classes[0].elsewhere["host"]["exchange"] == tier.demand_bytes / 4
    assert memory.fits
    assert memory_of(load_scenario("bert-large-one-bit", [exchange + "device}"])).tiers == ()
    small = MemoryTier(1e9, 1e9, 1e9)
    node = replace(scenario.cluster.node, host_memory=small)
    short = memory_of(replace(scenario, cluster=replace(scenario.cluster, node=node)))
    assert not short.fits
    assert short.out_of_memory is not None
    assert short.out_of_memory.level == "host"


def test_what_does_not_fit_is_said() -> None:
    assert memory_of(load_scenario("transnormer-7b-co2")).fits
    memory = memory_of(load_scenario("transnormer-7b-co2", ["plan.exchange.wire=fp32"]))
    assert not memory.fits
    assert memory.out_of_memory is not None
    assert memory.out_of_memory.demand_bytes == memory.peak_bytes
    assert memory.out_of_memory.largest_term == "exchange"
