"""``mfu`` and ``schedule`` from end to end."""

import csv
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from simulator.cli import app

LLAMA = ("mfu", "--model", "llama2-7b", "--accelerator", "h100-sxm5-80gb")


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_mfu_shows_every_convention_and_the_dense_peak() -> None:
    result = invoke(*LLAMA, "--tokens-per-s", "9600")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "dense bf16 peak 989.4 TFLOP/s" in result.stdout
    for name in ("palm", "megatron_model", "megatron_hardware", "megatron_causal", "6n", "8n"):
        assert f"\n{name} " in result.stdout
    assert "39.2 %" in result.stdout  # 6 x 6.738 G x 9,600 / 989.4 T
    assert "warning" not in result.stdout
    assert "taken by default: --seq-length, --precision, --devices" in result.stdout


def test_mfu_of_a_scenario_takes_what_it_says() -> None:
    """The tokens per second that ``run`` predicts give back the MFU that it predicts."""
    report = json.loads(invoke("run", "llama2-7b-fsdp", "--json").stdout)
    rate = repr(report["tokens_per_s"])
    data = json.loads(
        invoke("mfu", "--model", "llama2-7b-fsdp", "--tokens-per-s", rate, "--json").stdout
    )
    assert (data["devices"], data["seq_length"], data["precision"]) == (128, 4096, "bf16")
    shares = {row["convention"]: row["utilisation"] for row in data["conventions"]}
    assert shares["palm"] == pytest.approx(report["mfu"], rel=1e-12)


def test_a_name_of_both_means_the_scenario_unless_the_accelerator_is_given() -> None:
    both = ("mfu", "--model", "frontier-175b", "--tokens-per-s", "100k", "--json")
    assert json.loads(invoke(*both).stdout)["devices"] == 1024
    alone = json.loads(invoke(*both, "--accelerator", "mi250x-gcd").stdout)
    assert alone["devices"] == 1
    assert alone["defaults_taken"] == ["--seq-length", "--precision", "--devices"]


def test_mfu_explains_impossible_and_reported_numbers() -> None:
    result = invoke(*LLAMA, "--tokens-per-s", "76.8k", "--reported", "157%")
    assert "warning: " in result.stdout
    assert "is impossible" in result.stdout
    assert "those of 8 devices, not of 1" in result.stdout
    assert "6n, sparse peak" in result.stdout
    nothing = invoke(*LLAMA, "--tokens-per-s", "9600", "--reported", "1%")
    assert "none of these" in nothing.stdout


def test_mfu_writes_csv(tmp_path: Path) -> None:
    file = tmp_path / "mfu.csv"
    assert invoke(*LLAMA, "--tokens-per-s", "9600", "--csv", str(file)).exit_code == 0
    rows = {row["convention"]: row for row in csv.DictReader(file.read_text().splitlines())}
    assert float(rows["6n"]["utilisation"]) == pytest.approx(0.3923, abs=1e-4)


def test_schedule_draws_and_compares(tmp_path: Path) -> None:
    page, table = tmp_path / "grid.html", tmp_path / "grid.csv"
    result = invoke(
        *("schedule", "--pp", "4", "--microbatches", "8", "--kinds", "1f1b,interleaved,zb-h1"),
        *("--html", str(page), "--csv", str(table)),
    )
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [f"wrote {table}", f"wrote {page}"]
    assert "  3 ......F0B0--F1B1--F2B2--" in result.stdout
    assert "27.3 %" in result.stdout
    assert "(p - 1)(F + B - W)" in result.stdout
    assert page.read_text().count("<svg") == 4  # the grids, and their bubbles side by side
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [float(r["bubble_share"]) for r in rows] == pytest.approx([9 / 33, 3 / 19, 3 / 27])


def test_schedule_of_a_scenario_has_its_times(tmp_path: Path) -> None:
    drawing = tmp_path / "grid.svg"
    result = invoke("schedule", "gpt3-175b-a100-64", "--svg", str(drawing), "--json")
    assert result.exit_code == 0
    (row,) = json.loads(result.stdout)
    report = json.loads(invoke("run", "gpt3-175b-a100-64", "--json").stdout)
    assert row["length"] == report["step_time_s"]
    assert row["simulated"] is True
    assert len(row["stage_time"]) == 24
    assert ET.fromstring(drawing.read_text()).tag.endswith("svg")


def test_schedule_of_a_scenario_beside_others() -> None:
    options = ("--kinds", "interleaved,1f1b", "--microbatches", "24,30", "--json")
    rows = json.loads(invoke("schedule", "gpt3-175b-a100-64", *options).stdout)
    found = [(row["schedule"], row["microbatches"]) for row in rows if "bubble_share" in row]
    assert found == [("interleaved", 24), ("1f1b", 24), ("1f1b", 30)]
    assert [row["microbatches"] for row in rows if "reason" in row] == [30]
    assert rows[0]["bubble_share"] < rows[1]["bubble_share"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("mfu", "--model", "llama2-7b", "--tokens-per-s", "1"), "give --accelerator"),
        (("mfu", "--model", "llama-2-7", "--tokens-per-s", "1"), "did you mean"),
        ((*LLAMA[:3], "--accelerator", "h10", "--tokens-per-s", "1"), "at --accelerator"),
        ((*LLAMA, "--tokens-per-s", "fast"), "at --tokens-per-s"),
        ((*LLAMA, "--tokens-per-s", "1", "--precision", "fp4"), "it has fp32"),
        ((*LLAMA, "--tokens-per-s", "1", "--reported", "much"), "at --reported"),
        (("schedule",), "--pp 4"),
        (("schedule", "--pp", "4", "--kinds", "1f1c"), "did you mean 1f1b?"),
        (("schedule", "--pp", "0"), "--pp"),
        (("schedule", "--pp", "4", "--set", "plan.tp=1"), "needs a scenario"),
        (("schedule", "gpt3-175b-a100-64", "--pp", "4"), "--set plan.pp"),
        (("schedule", "--pp", "4", "--microbatches", "8,16", "--svg", "x.svg"), "use --html"),
        (("schedule", "--pp", "4", "--microbatches", "1:100:+1"), "more than 64"),
        (("schedule", "--pp", "100000", "--microbatches", "1000"), "passes"),
    ],
)
def test_wrong_input_is_exit_2_with_place_and_hint(arguments: tuple[str, ...], words: str) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


@pytest.mark.parametrize("chunks", ["3", "2"])
def test_virtual_stages_without_effect_are_refused(chunks: str) -> None:
    options = ("--pp", "4", "--virtual-stages", chunks, "--kinds", "1f1b,zb-h1")
    result = invoke("schedule", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"--virtual-stages {chunks} has no effect on --kinds 1f1b,zb-h1" in result.stderr
    beside = ("--pp", "4", "--virtual-stages", "3", "--kinds", "1f1b,interleaved")
    assert invoke("schedule", *beside).exit_code == 0


def test_a_schedule_alone_is_drawn_in_forwards(tmp_path: Path) -> None:
    file = tmp_path / "grid.html"
    assert invoke("schedule", "--pp", "2", "--html", str(file)).exit_code == 0
    page = file.read_text()
    assert "forward of microbatch 0, stage 0: 0 F to 1 F, takes 1 F" in page
    assert "Times in forwards of a rank, F." in page
    assert " 1 s<" not in page
