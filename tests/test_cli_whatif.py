"""``scale``, ``compare`` and ``sensitivity`` from the command line: streams, files, exit codes."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from simulator.cli import app

SMALL = ("gpt2-xl-one-gpu", "--set", "training.micro_batch_size=1")
SCALE = ("scale", *SMALL, "--devices", "1:8:x2,3")
COMPARE = ("compare", *SMALL, "--vary", "training.micro_batch_size=1,4,5")
SENSITIVITY = ("sensitivity", *SMALL, "--vary", "training.micro_batch_size=2,3")


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_scale_prints_a_table_per_curve() -> None:
    result = invoke(*SCALE)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert "Weak scaling: sequences per replica held" in lines
    assert "Strong scaling: global batch held" in lines
    assert sum(line.startswith("Pays ") for line in lines) == 2
    head = [line for line in lines if line.startswith("devices")][-1]
    assert all(words in head for words in ("efficiency", "marginal", "optimizer", "eaten by"))
    left_out = lines[lines.index("Left out") + 1]
    assert left_out.startswith("3 ")
    assert "global_batch_size 32 is not divisible by dp * micro_batch_size = 3 * 1" in left_out
    assert all(len(line) <= 120 and line == line.rstrip() for line in lines)


def test_scale_stops_where_it_does_not_pay() -> None:
    shown = invoke(*SCALE, "--mode", "strong", "--pays", "0.9").stdout
    data = json.loads(invoke(*SCALE, "--mode", "strong", "--pays", "0.9", "--json").stdout)
    (curve,) = data["curves"]
    stops, pays = curve["stops_at_devices"], curve["pays_to_devices"]
    assert f"Pays up to {pays} devices: up to {stops}, each one added brings" in shown
    marginal = {p["devices"]: p["marginal_efficiency"] for p in curve["points"]}
    assert marginal[stops] < 0.9
    assert data["scenario"] == "gpt2-xl-one-gpu"


def test_scale_with_the_largest_batch() -> None:
    result = invoke(*SCALE, "--mode", "largest", "--set", "plan.sharding=zero3")
    assert result.exit_code == 0
    assert "Largest microbatch that fits: number of microbatches held" in result.stdout


def test_compare_explains_every_difference() -> None:
    result = invoke(*COMPARE)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "Longer than micro_batch_size=1, seconds a step" in result.stdout
    assert "More memory than micro_batch_size=1, GB on the worst rank" in result.stdout
    assert "Cannot be run\nmicro_batch_size=5" in result.stdout
    data = json.loads(invoke(*COMPARE, "--to", "best", "--json").stdout)
    assert data["reference"] == "micro_batch_size=4"
    one, four = data["candidates"]
    longer = one["step_time_s"] - four["step_time_s"]
    assert sum(one["time_difference_s"].values()) == pytest.approx(longer)
    assert set(four["time_difference_s"].values()) == {0.0}


def test_compare_of_different_work_is_per_token() -> None:
    result = invoke("compare", "gpt2-xl-one-gpu", "llama2-7b-fsdp")
    assert result.exit_code == 0
    assert "Longer than gpt2-xl-one-gpu, device-seconds per million tokens" in result.stdout
    assert "llama2-7b-fsdp: +" in result.stdout


def test_compare_of_a_scenario_with_itself_finds_nothing() -> None:
    result = invoke("compare", "gpt2-xl-one-gpu", "gpt2-xl-one-gpu")
    assert "gpt2-xl-one-gpu (2): as fast as gpt2-xl-one-gpu" in result.stdout


def test_sensitivity_prints_a_tornado() -> None:
    result = invoke(*SENSITIVITY)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("lever"))
    assert lines[first + 1].startswith("peak FLOP/s of the accelerator")
    assert "#" in result.stdout or "█" in result.stdout
    assert "Cannot be run\ntraining.micro_batch_size 3" in result.stdout
    assert all(len(line) <= 120 for line in lines)


def test_sensitivity_takes_levers_and_factors() -> None:
    result = invoke(*SENSITIVITY, "--lever", "nic_bandwidth", "--factor", "4", "--json")
    data = json.loads(result.stdout)
    settings = {bar["lever"]: [s["setting"] for s in bar["settings"]] for bar in data["levers"]}
    assert settings == {"nic_bandwidth": ["x4"], "training.micro_batch_size": ["2"]}


def test_what_lacks_memory_says_how_much() -> None:
    shown = invoke("sensitivity", "gpt2-xl-one-gpu", "--lever", "memory_size").stdout
    assert "lacks " in shown


@pytest.mark.parametrize(
    ("arguments", "outputs"),
    [
        (SCALE, ("a.csv", "b.html")),
        (COMPARE, ("a.csv", "b.html")),
        (SENSITIVITY, ("a.csv", "b.html")),
    ],
    ids=lambda value: value[0],
)
def test_files_are_written_whole_and_reported_on_stderr(
    arguments: tuple[str, ...], outputs: tuple[str, ...], tmp_path: Path
) -> None:
    options = [
        word for name in outputs for word in (f"--{name.rpartition('.')[2]}", str(tmp_path / name))
    ]
    result = invoke(*arguments, *options, "--json")
    assert result.exit_code == 0
    json.loads(result.stdout)
    assert result.stderr.splitlines() == [f"wrote {tmp_path / name}" for name in outputs]
    assert {path.name for path in tmp_path.iterdir()} == set(outputs)
    lines = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text())))
    assert all(float(line["step_time_s"]) > 0 for line in lines if not line.get("reason"))
    assert len(lines) >= 2
    if "b.html" in outputs:
        assert "</svg>" in (tmp_path / "b.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("scale", "gpt2-xl-one-gpu", "--devices", "1:x"), "128:4096:x2"),
        (("scale", "gpt2-xl-on-gpu", "--devices", "1"), "gpt2-xl-one-gpu"),
        ((*SCALE, "--html", "out.csv"), "does not end in .html or .htm"),
        ((*SCALE, "--csv", "a.csv", "--table", "a.csv"), "would replace"),
        ((*COMPARE, "--csv", "a.json"), "does not end in .csv"),
        (("compare", "gpt2-xl-one-gpu", "--vary", "plan.tp"), "--vary plan.sharding=zero1,zero3"),
        (("compare", "gpt2-xl-one-gpu", "--vary", "plan.pt=1,2"), "did you mean"),
        ((*SENSITIVITY, "--lever", "nic"), "nic_bandwidth"),
        ((*SENSITIVITY, "--factor", "0"), "not between 0.001 and 1000"),
        ((*SENSITIVITY, "--factor", "1e-300"), "at --factor\n\nhint: "),
        ((*SCALE, "--pays", "nan"), "at --pays\n\nhint: "),
        ((*SCALE, "--pays", "-1"), "at --pays\n\nhint: "),
    ],
)
def test_bad_input_exits_2_with_a_hint(arguments: tuple[str, ...], words: str) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


@pytest.mark.parametrize("command", ["scale", "compare", "sensitivity"])
def test_help_has_examples_that_run_and_says_what_is_held(command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert f"trainsim {command} " in result.stdout
    assert f"\n  {command}" in invoke("--help").stdout


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("scale", "gpt3-175b-a100-64", "--devices", "3,5"), "take multiples of 64"),
        (("compare", "gpt3-175b-a100-64", "--vary", "plan.tp=5,7"), "tp may be 1, 2, 3, 4, 6, 8"),
    ],
)
def test_rules_that_leave_nothing_to_run_exit_2(arguments: tuple[str, ...], hint: str) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert hint in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("scale", "gpt2-xl-one-gpu", "--devices", "1"),
        ("compare", "gpt2-xl-one-gpu"),
    ],
)
def test_nothing_that_fits_is_shown_and_exits_3(arguments: tuple[str, ...]) -> None:
    result = invoke(*arguments, "--set", "training.micro_batch_size=32")
    assert (result.exit_code, result.stderr) == (3, "")
    assert re.search("does not fit: 136.9 GB|136.9 GB +reference, does NOT fit", result.stdout)


def test_a_best_that_does_not_fit_is_no_reference() -> None:
    setting = ("--set", "training.micro_batch_size=32", "--to", "best")
    result = invoke("compare", "gpt2-xl-one-gpu", *setting)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "none of 1 candidates fits: the smallest needs 136.9 GB" in result.stderr


def test_different_peaks_are_named_below_mfu(tmp_path: Path) -> None:
    vary = ("--vary", "training.precision=bf16,fp8")
    page = tmp_path / "compare.html"
    small = ("--set", "plan.dp=1", "--set", "training.global_batch_size=16")
    result = invoke("compare", "llama3-405b-16384", *small, *vary, "--html", str(page))
    told = "MFU counts against the dense peak of each: 989.4 TFLOP/s bf16, 1,979.0 TFLOP/s fp8."
    assert told in result.stdout.splitlines()
    assert told in page.read_text()
    assert "MFU counts" not in invoke(*COMPARE).stdout
