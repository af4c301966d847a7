"""``plan``, ``tradeoff`` and ``hardware`` from end to end."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from simulator.cli import app
from simulator.planning.budget import SECONDS_PER_DAY

SCENARIO = "llama2-7b-fsdp"
UNPRICED = "frontier-22b"
"""On accelerators that hardware/prices.yaml does not list."""


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_plan_answers_with_formulas_and_sources() -> None:
    result = invoke("plan", SCENARIO, "--tokens", "2T", "--deadline", "120d", "--price", "2.5")
    assert (result.exit_code, result.stderr) == (0, "")
    for word in ("smallest", "cheapest", "fastest", "90 % range", "goodput 1", "PUE 1.1"):
        assert word in result.stdout
    assert "catalogue, rated maximum: a100-sxm4-80gb 400 W" in " ".join(result.stdout.split())
    assert "price: given" in result.stdout
    assert "arXiv 2302.13971" in result.stdout


def test_plan_json_repeats_what_run_says() -> None:
    options = ("--tokens", "2T", "--devices", "64,128", "--price", "2", "--pue", "1.2")
    result = invoke("plan", SCENARIO, *options, "--carbon", "0.4", "--power", "900 W", "--json")
    assert result.exit_code == 0
    data = json.loads(result.stdout)
    step_s = json.loads(invoke("run", SCENARIO, "--json").stdout)["step_time_s"]
    option = data["options"][1]
    assert option["prediction"]["step_time_s"] == step_s
    # 2e12 / (256 x 4,096) = 1,907,349 steps.
    cost = option["cost"]
    assert cost["steps"] == 1_907_349
    hours = 128 * 1_907_349 * step_s / 3600
    assert cost["usd"] == pytest.approx(2 * hours)
    assert cost["energy_mwh"] == pytest.approx(hours * 900 * 1.2 / 1e6)
    assert cost["carbon_t"] == pytest.approx(hours * 900 * 1.2 / 1e6 * 0.4)
    assert option["cost_low"]["usd"] < cost["usd"] < option["cost_high"]["usd"]
    assert {figure["name"] for figure in option["figures"]} >= {"days", "dollars", "MWh"}
    assert data["cheapest"] == 64
    assert data["rates"]["power_w"] == {"value": 900.0, "source": "given"}


def test_plan_repeats_its_goal_as_people_write_it() -> None:
    options = ("--tokens", "2e12", "--devices", "128", "--deadline", "1h")
    lines = invoke("plan", SCENARIO, *options).stdout.splitlines()
    assert lines[0].startswith("2T tokens, within 1 h, goodput 1, ")


def test_a_doubled_goodput_halves_the_days() -> None:
    def days(goodput: str) -> float:
        options = ("--tokens", "1T", "--devices", "128", "--goodput", goodput, "--json")
        data = json.loads(invoke("plan", SCENARIO, *options).stdout)
        return data["options"][0]["cost"]["time_s"] / SECONDS_PER_DAY

    assert days("0.4") == pytest.approx(2 * days("0.8"))


def test_plan_without_a_price_says_so() -> None:
    result = invoke("plan", UNPRICED, "--tokens", "1T", "--devices", "16")
    assert result.exit_code == 0
    assert "no price: give --price" in result.stdout
    assert "device-hours" in result.stdout


def test_plan_takes_the_shipped_price_with_its_source() -> None:
    cluster = "cluster={preset: dgx-h100-superpod, nodes: 16}"
    result = invoke("plan", SCENARIO, "--tokens", "1T", "--devices", "128", "--set", cluster)
    assert "Amazon EC2" in result.stdout


def test_plan_writes_csv(tmp_path: Path) -> None:
    file = tmp_path / "plan.csv"
    result = invoke("plan", SCENARIO, "--tokens", "1T", "--devices", "64,96", "--csv", str(file))
    assert result.exit_code == 0
    first, second = csv.DictReader(file.read_text().splitlines())
    assert float(first["cost_device_hours"]) > 0
    assert (second["devices"], second["cost_device_hours"]) == ("96", "")
    assert "not divisible" in second["reason"]


def test_tradeoff_takes_one_of_two_ways_to_vary_recomputation() -> None:
    result = invoke("tradeoff", SCENARIO, "--recompute", "none", "--recompute-layers")
    assert result.exit_code == 2
    assert "leave one of both out" in result.stderr


def test_tradeoff_table_json_and_csv(tmp_path: Path) -> None:
    file = tmp_path / "points.csv"
    axes = ("--seq-length", "4k:8k:x2", "--recompute", "none,full", "--sharding", "zero1,zero3")
    result = invoke("tradeoff", SCENARIO, *axes, "--csv", str(file))
    assert (result.exit_code, result.stderr) == (0, f"wrote {file}\n")
    assert "too large" in result.stdout
    assert "*" in result.stdout
    points = json.loads(invoke("tradeoff", SCENARIO, *axes, "--json").stdout)
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert len(points) == len(rows) == 8
    shown = [float(row["prediction_step_time_s"]) for row in rows]
    assert shown == [point["prediction"]["step_time_s"] for point in points]


def test_hardware_table_and_json(tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text('usd_per_device_hour:\n  h100-sxm5-80gb: {value: 3, source: "offer, 2026"}\n')
    arguments = [
        *("hardware", SCENARIO, "--clusters", "dgx-a100-cluster,dgx-h100-superpod"),
        *("--prices", str(prices), "--prices", "dgx-a100-cluster=1.5"),
    ]
    result = invoke(*arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "$/M tokens" in result.stdout
    assert "offer, 2026" in result.stdout
    machines = json.loads(invoke(*arguments, "--json").stdout)["machines"]
    assert {m["cluster"]: m["price"]["value"] for m in machines} == {
        "dgx-a100-cluster": 1.5,
        "dgx-h100-superpod": 3.0,
    }
    dollars = [m["usd_per_million_tokens"] for m in machines]
    assert dollars == sorted(dollars)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("plan", SCENARIO, "--tokens", "2x"), "at --tokens"),
        (("plan", SCENARIO, "--tokens", "2T", "--deadline", "60"), "at --deadline"),
        (("plan", SCENARIO, "--tokens", "2T", "--deadline", "60"), "for example '60d'"),
        (("plan", SCENARIO, "--tokens", "2T", "--devices", "8:a"), "at --devices"),
        (("plan", UNPRICED, "--tokens", "2T", "--budget", "1M"), "give --price"),
        (("plan", SCENARIO, "--tokens", "2T", "--power", "900"), "at --power"),
        (("plan", SCENARIO, "--tokens", "2T", "--goodput", "2"), "at --goodput"),
        (("plan", SCENARIO, "--tokens", "2T", "--pue", "0.9"), "at --pue"),
        (("plan", SCENARIO, "--tokens", "2T", "--carbon", "-1"), "at --carbon"),
        (("plan", SCENARIO, "--tokens", "2T", "--carbon", "nan"), "at --carbon"),
        (("plan", SCENARIO, "--tokens", "2T", "--pue", "nan"), "nan is not between 1 and 10"),
        (("plan", SCENARIO, "--tokens", "2T", "--pue", "inf"), "at --pue\n\nhint: "),
        (("plan", SCENARIO, "--tokens", "2T", "--goodput", "nan"), "at --goodput\n\nhint: "),
        (("plan", SCENARIO, "--tokens", "2T", "--power", "-900 W"), "at --power\n\nhint: "),
        (("hardware", SCENARIO, "--clusters", "selene", "--pue", "inf"), "at --pue\n\nhint: "),
        (("tradeoff", SCENARIO, "--recompute", "fully"), "did you mean full?"),
        (("tradeoff", SCENARIO, "--sharding", "zero4"), "at --sharding"),
        (("tradeoff", SCENARIO, "--seq-length", "8k:4k:x2"), "ends before it begins"),
        (("hardware", SCENARIO, "--clusters", "dgx-a100"), "did you mean dgx-a100"),
        (("hardware", SCENARIO, "--clusters", "selene", "--prices", "b200=2"), "at --prices"),
        (("hardware", SCENARIO, "--clusters", "selene", "--devices", "0"), "--devices"),
    ],
)
def test_wrong_input_is_exit_2_with_place_and_hint(arguments: tuple[str, ...], words: str) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


@pytest.mark.parametrize("command", ["plan", "tradeoff", "hardware", "mfu", "schedule"])
def test_help_teaches_by_example(command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert f"trainsim {command}" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "drawings", "marks"),
    [
        (("plan", "--tokens", "1T", "--price", "2", "--devices", "32,64,96"), 3, 6),
        (("tradeoff", "--seq-length", "4k,8k", "--recompute", "none,full"), 2, 4),
        (("hardware", "--clusters", "dgx-a100-cluster", "--prices", "dgx-a100-cluster=2"), 3, 0),
    ],
)
def test_drawings_hold_a_mark_per_prediction(
    arguments: tuple[str, ...], drawings: int, marks: int, tmp_path: Path
) -> None:
    file = tmp_path / "page.html"
    command, *options = arguments
    assert invoke(command, SCENARIO, *options, "--html", str(file)).exit_code == 0
    page = file.read_text()
    assert page.count("<svg") == drawings
    assert page.count("<circle") == marks


FP8 = "training.precision=fp8"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("plan", "gpt3-175b-a100-64", "--tokens", "1T", "--devices", "3,5"), "multiples of 64"),
        (("tradeoff", "gpt2-xl-one-gpu", "--micro-batch-size", "5,7"), "not divisible"),
        (
            ("hardware", "llama3-405b-16384", "--clusters", "selene", "--set", FP8),
            "selene: ",
        ),
    ],
    ids=lambda value: value[0],
)
def test_rules_that_leave_nothing_to_run_exit_2(arguments: tuple[str, ...], words: str) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


LARGE = ("--set", "training.seq_length=16384")
"""More than the scenario's devices hold."""


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", SCENARIO, "--tokens", "1T", "--devices", "128", *LARGE),
        ("plan", SCENARIO, "--tokens", "1T", "--devices", "128", "--deadline", "1h"),
        ("plan", SCENARIO, "--tokens", "1T", "--devices", "128", "--budget", "1", "--price", "2"),
        ("tradeoff", SCENARIO, *LARGE),
        ("hardware", SCENARIO, "--clusters", "selene", *LARGE),
    ],
)
def test_nothing_that_can_be_met_is_shown_and_exits_3(arguments: tuple[str, ...]) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, result.stderr) == (3, "")
    assert "MFU" in result.stdout


def test_the_page_names_a_limit_only_where_there_is_one(tmp_path: Path) -> None:
    file = tmp_path / "plan.html"
    plan = ("plan", SCENARIO, "--tokens", "1T", "--html", str(file))
    assert invoke(*plan, "--devices", "64,128").exit_code == 0
    assert "what is allowed" not in file.read_text()
    assert "Days by factors." not in file.read_text()
    assert invoke(*plan, "--devices", "8,128", "--deadline", "900d").exit_code == 0
    assert "Dashed: what is allowed. Days by factors." in file.read_text()
