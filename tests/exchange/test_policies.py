"""What policies exchange and how long that takes, worked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulator.cost.collective import collective_s
from simulator.exchange.kernels import kernel_s
from simulator.exchange.policies import POLICIES
from simulator.exchange.program import InnerStep, Program
from simulator.exchange.scalar import scalar_step
from simulator.exchange.setting import Setting, inner_scenario, setting_of
from simulator.exchange_policy import SiteLink
from simulator.numeric import as_float
from simulator.report.report import Report
from simulator.simulate import simulate
from simulator.spec.load import load_scenario

STEP = InnerStep.of_compute(1.0, 24)


def _setting(exchange: str, *overrides: str) -> Setting:
    scenario = load_scenario("bert-large-one-bit", [f"plan.exchange={exchange}", *overrides])
    return setting_of(scenario, STEP)


def _program(setting: Setting) -> Program:
    return POLICIES[setting.exchange.policy].program(setting)


def test_a_worker_is_its_share_of_ranks_and_batch() -> None:
    scenario = load_scenario(
        "bert-large-one-bit", ["plan.exchange={policy: local, every: 4, workers: 8}"]
    )
    inner = inner_scenario(scenario)
    assert (inner.plan.dp, inner.training.global_batch_size) == (4, 64)
    assert inner.plan.exchange is None


def test_sites_exchange_at_the_bandwidth_of_the_wan() -> None:
    # 2 sites of 16 ranks: 2 (2 - 1) / 2 = 1 times 2 bytes of every parameter at 1e9 B/s, after
    # 2 (2 - 1) messages of 30 ms; then it is gathered inside the site.
    setting = _setting(
        "{policy: local, every: 4, workers: 2, wan: {bandwidth: 1 GB/s, latency: 30 ms}}"
    )
    (transfer,) = _program(setting).transfers
    payload = 2 * setting.parameters
    inside = as_float(collective_s("all_gather", payload, setting.between.inside))
    assert transfer.link_s == pytest.approx(0.06 + payload / 1e9 + inside)
    assert transfer.sent_bytes == pytest.approx(payload)
    assert transfer.step == 3


def test_four_sites_send_one_and_a_half_times() -> None:
    setting = _setting("{policy: local, every: 4, workers: 4, wan: {bandwidth: 1 GB/s}}")
    (transfer,) = _program(setting).transfers
    assert transfer.sent_bytes == pytest.approx(1.5 * 2 * setting.parameters)


def test_nodes_exchange_the_model_once_through_their_nics() -> None:
    # 8 nodes of 4: every rank reduces a quarter with 7 others, at a quarter of the NIC.
    setting = _setting("{policy: async_local, every: 4, wire: fp16}")
    (transfer,) = _program(setting).transfers
    payload = 2 * setting.parameters
    wire_s = 2 * 7 / 8 * payload / 0.5125e9
    inside_s = 3 / 4 * payload / 3.36e9
    # Latencies of both are below a millisecond or two.
    assert transfer.link_s == pytest.approx(wire_s + inside_s, abs=3e-3)
    assert transfer.overlap_steps == 4


def test_fragments_are_strided_and_spread_over_the_period() -> None:
    program = _program(_setting("{policy: streaming, every: 100, fragments: 8, workers: 8}"))
    assert [t.step for t in program.transfers] == [11, 24, 36, 49, 61, 74, 86, 99]
    assert program.transfers[1].layers == (1, 9, 17)
    layers = sorted(layer for t in program.transfers for layer in t.layers)
    assert layers == list(range(24))


def test_fewer_bits_take_less_wire() -> None:
    wide, narrow = (
        _program(_setting(f"{{policy: local, every: 4, workers: 32, wire: {wire}}}")).transfers[0]
        for wire in ("fp32", "fp4")
    )
    assert wide.sent_bytes == pytest.approx(8 * narrow.sent_bytes)


def test_signs_take_an_eighth_of_a_byte_each() -> None:
    # 32 ranks, 4 per node, X / 8 bytes each. All-to-all: 28 / 32 of it leave the node, from 4
    # ranks; ring: 31 / 32, once.
    setting = _setting("one_bit")
    (transfer,) = _program(setting).transfers
    packed = setting.parameters / 8
    wire_s = packed * (4 * 28 / 32 + 31 / 32) / 0.5125e9
    # 31 start-ups of 60 us each way, and 11 us per rank.
    assert transfer.link_s == pytest.approx(wire_s, abs=6e-3)
    assert transfer.sent_bytes == pytest.approx(packed * (4 * 28 / 32 + 31 / 32))


def test_kernels_move_their_bytes_at_the_speed_of_a_copy() -> None:
    setting = _setting("one_bit")
    accelerator = setting.between.context.accelerator
    rate = 0.80 * accelerator.memory_bandwidth_bytes_per_s
    assert kernel_s(setting, 9e9) == pytest.approx(9e9 / rate, rel=1e-3)
    (transfer,) = _program(setting).transfers
    # 20 of the momentum, 12 + 4 + 21 + 21 + 8 + 12 + 21 + 1.5 of packing.
    assert transfer.before_s == pytest.approx(120.5 * setting.parameters / rate, rel=1e-3)
    # 34.125 as a server, 100.5 / 32 on its chunk, 38.375 to unpack.
    after = 34.125 + 100.5 / 32 + 38.375
    assert transfer.after_s == pytest.approx(after * setting.parameters / rate, rel=1e-3)


def test_the_largest_elements_come_from_all_workers() -> None:
    # 1 % of the elements with 4 bytes and a place of 4, from 32 ranks: the ring carries 31 of 32.
    setting = _setting("{policy: top_k, share: 0.01}")
    (transfer,) = _program(setting).transfers
    assert transfer.sent_bytes == pytest.approx(31 * 0.01 * 8 * setting.parameters)


@pytest.mark.parametrize(("servers", "expected"), [(1, 33.0), (4, 9.0), (16, 5.0), (64, 5.0)])
def test_servers_share_what_comes_in(servers: int, expected: float) -> None:
    # In: 32 times 4 bytes over the servers, or what the 4 ranks of a node send; out: once.
    setting = _setting(f"{{policy: parameter_server, servers: {servers}}}")
    (transfer,) = _program(setting).transfers
    seconds = expected * 4 * setting.parameters / 0.5125e9
    assert transfer.link_s == pytest.approx(seconds, rel=1e-3)
    assert transfer.sent_bytes == pytest.approx(4 * 4 * setting.parameters)


def test_servers_update_instead_of_workers() -> None:
    served = simulate(load_scenario("bert-large-one-bit", ["plan.exchange=parameter_server"]))
    alone = simulate(load_scenario("bert-large-one-bit", ["plan.exchange=every_step"]))
    assert alone.time["optimizer"] > 0.0
    assert served.time["optimizer"] == 0.0
    assert served.pattern is not None
    (before,), (rank,) = alone.memory.rank_classes, served.memory.rank_classes
    # Adam's moments and fp32 weights: 12 bytes per parameter.
    states = before.terms["optimizer"] + before.terms["master_weights"]
    assert states == pytest.approx(12 * 336.3e6, rel=0.005)
    # A worker of one rank has no communicator either.
    gone = states + before.terms["communicators"]
    assert rank.peak_bytes == pytest.approx(before.peak_bytes - gone, rel=1e-9)


def test_a_server_over_a_wan() -> None:
    setting = _setting("{policy: parameter_server, wan: {bandwidth: 1 GB/s, latency: 1 s}}")
    assert setting.between.wan == SiteLink(1e9, 1.0)
    (transfer,) = _program(setting).transfers
    assert transfer.link_s == pytest.approx(2.0 + 33 * 4 * setting.parameters / 1e9)
    assert transfer.sent_bytes == pytest.approx(4 * setting.parameters)


def test_states_at_home_on_the_host_are_copied_both_ways() -> None:
    # 8 bytes of every parameter of a fragment of 6 of 24 layers come before it is sent, and go
    # after the outer step.
    fragment = "{policy: streaming, every: 8, workers: 8, fragments: 4, outer_home: %s}"
    host, device = (_setting(fragment % home) for home in ("host", "device"))
    copied_s = 8 * host.parameters / 4 / host.host_bytes_per_s
    for at_home, near in zip(_program(host).transfers, _program(device).transfers, strict=True):
        assert at_home.before_s - near.before_s == pytest.approx(copied_s)
        assert at_home.after_s - near.after_s == pytest.approx(copied_s)
    assert 1e9 < host.host_bytes_per_s < 32e9  # PCIe 3, 16 lanes


def test_scalars_cost_forwards_and_replays() -> None:
    setting = _setting("{policy: scalar, perturbations: 2}")
    step = scalar_step(setting, 0.1, 2.0)
    one_pass = kernel_s(setting, 8 * setting.parameters, "add")
    assert step.forwards_s == pytest.approx(0.4)  # 2 directions, 2 forwards each
    assert step.perturb_s == pytest.approx(3 * 2 * one_pass)
    assert step.replay_s == pytest.approx(32 * 2 * one_pass)
    # The ring carries 31 of 32 workers' two bytes through the NIC of a node, once.
    assert step.sent_bytes == pytest.approx(2 * 31)
    alone = replace(setting, exchange=replace(setting.exchange, perturbations=1))
    assert scalar_step(alone, 0.1, 2.0).seconds < step.seconds


def _scalar(*overrides: str) -> Report:
    return simulate(load_scenario("opt-30b-mezo", ["model=opt-13b", *overrides]))


def test_scalars_count_forwards_alone() -> None:
    report = _scalar()
    tokens, parameters = 512, 12.85e9
    # Two forwards of 2 N each; no convention counts a backward, nor one that runs again.
    expected = 2 * 2 * parameters * tokens
    assert report.flops["6n"].flops_per_step == pytest.approx(expected, rel=0.01)
    assert report.flops["8n"] == report.flops["6n"]
    assert report.flops["megatron_hardware"] == report.flops["megatron_model"]
    assert report.flops["hardware"].flops_per_step == pytest.approx(expected, rel=0.03)
    assert report.mfu == pytest.approx(report.hfu, rel=0.02)


def test_forwards_across_tensor_parallel_ranks_wait_for_them() -> None:
    alone, split = _scalar(), _scalar("plan.tp=4", "plan.dp=1")
    assert alone.time["tp_comm"] == 0.0
    assert split.time["tp_comm"] > 0.0
    assert sum(split.time.values()) == pytest.approx(split.step_time_s)


def test_scalars_inside_a_node_send_nothing() -> None:
    inside = _scalar("plan.dp=8", "training.global_batch_size=8")
    assert inside.pattern is not None
    assert inside.pattern.workers == 8
    assert inside.pattern.sent_bytes == 0.0
