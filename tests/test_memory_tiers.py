from __future__ import annotations

import pytest
from typer.testing import CliRunner

from simulator.cli import app
from simulator.report.record import from_json, to_json
from simulator.report.report import Report
from simulator.report.text import to_text
from simulator.simulate import memory_of, simulate
from simulator.spec.load import load_scenario

RUN = CliRunner()
TOO_MUCH = (
    "model.num_layers=400",
    "training.recompute=full",
    "plan.offload.weights=host",
    "plan.offload.optimizer=host",
)


@pytest.fixture(scope="module")
def report() -> Report:
    return simulate(load_scenario("zero-infinity-1t-512"), levers=False)


def test_nvme_of_a_node_holds_twenty_bytes_per_parameter(report: Report) -> None:
    nvme = {tier.name: tier for tier in report.memory.tiers}["nvme"]
    # 1.008e12 parameters, each tensor-parallel rank with its own biases, over 32 nodes.
    assert nvme.demand_bytes == pytest.approx(20 * 1.008e12 / 32, rel=0.001)
    # fp16 weights 2, gradients in fp16 and fp32 6, moments 8, master weights 4.
    per_weight = {term: size / nvme.terms["weights"] * 2 for term, size in nvme.terms.items()}
    assert per_weight == pytest.approx(
        {"weights": 2, "gradients": 6, "optimizer": 8, "master_weights": 4}
    )


def test_host_memory_holds_checkpoints_and_buffers(report: Report) -> None:
    host = {tier.name: tier for tier in report.memory.tiers}["host"]
    # 2 bytes x 20 x 1024 tokens x 25600, cut over 4 ranks, of 128 layers and 16 ranks.
    assert host.terms["activations"] == pytest.approx(2 * 20 * 1024 * 25600 / 4 * 128 * 16)
    # Four buffers of 1 GB a rank and what passes between NVMe and the device.
    assert host.terms["pinned"] > 16 * 4e9
    assert set(host.terms) == {"activations", "pinned"}


def test_the_device_holds_no_states(report: Report) -> None:
    terms = report.memory.rank_classes[0].terms
    assert [terms[s] for s in ("weights", "gradients", "optimizer", "master_weights")] == [0] * 4


def test_levels_survive_json(report: Report) -> None:
    assert from_json(to_json(report)).memory.tiers == report.memory.tiers
    assert to_json(from_json(to_json(report))) == to_json(report)


def test_the_report_shows_levels_and_terms(report: Report) -> None:
    text = to_text(report)
    assert "Memory of a node" in text
    assert "NVMe" in text
    assert "exposed host and NVMe copies" in text
    assert sum(report.time.values()) == pytest.approx(report.step_time_s)


def test_what_is_too_much_for_host_memory_does_not_fit() -> None:
    memory = memory_of(load_scenario("fuyou-13b-rtx4090", TOO_MUCH))
    assert memory.peak_bytes < memory.capacity_bytes
    assert not memory.fits
    assert memory.out_of_memory is not None
    assert memory.out_of_memory.level == "host"
    assert memory.out_of_memory.largest_term == "optimizer"
    assert memory.out_of_memory.demand_bytes > memory.out_of_memory.capacity_bytes == 768e9


@pytest.mark.parametrize("command", ["run", "memory"])
def test_commands_name_the_level_and_exit_with_3(command: str) -> None:
    settings = [word for change in TOO_MUCH for word in ("--set", change)]
    result = RUN.invoke(app, [command, "fuyou-13b-rtx4090", *settings])
    assert result.exit_code == 3
    assert "host memory of a node" in result.output


def test_without_offload_a_report_has_neither_levels_nor_their_terms() -> None:
    report = simulate(load_scenario("gpt2-xl-one-gpu"))
    assert report.memory.tiers == ()
    assert "per_node" not in to_json(report)
    assert "offload" not in to_json(report)
