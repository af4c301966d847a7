"""The command ``search``, as a user runs it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simulator.cli import app

SCENARIO = """
name: small
model: {num_layers: 8, hidden_size: 1024, num_attention_heads: 16, ffn_hidden_size: 4096,
        vocab_size: 50304, max_position_embeddings: 1024}
training: {global_batch_size: 16, seq_length: 1024}
plan: {tp: 2, dp: 4}
cluster: {preset: selene, nodes: 1}
stack: megatron-lm-2022
"""
QUICK = ("--max-micro-batch", "1", "--sharding", "zero1", "--schedule", "1f1b")


@pytest.fixture
def small(tmp_path: Path) -> str:
    file = tmp_path / "small.yaml"
    file.write_text(SCENARIO)
    return str(file)


def test_search_prints_the_best_plans_and_how_to_run_them(small: str) -> None:
    result = CliRunner().invoke(app, ["search", small, *QUICK, "--explain", "--infeasible"])
    assert result.exit_code == 0, result.output
    for text in ("proven", "plans evaluated", "Front of time", "runner-up", "--set 'plan.tp="):
        assert text in result.output


def test_search_gives_json_whose_winner_runs_in_the_time_found(small: str) -> None:
    result = CliRunner().invoke(app, ["search", small, *QUICK, "--top", "2", "--json"])
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    best = data["best"][0]
    assert len(data["best"]) == 2
    sets = [
        part
        for key, value in best["settings"].items()
        for part in ("--set", f"{key}={json.dumps(value)}")
    ]
    ran = CliRunner().invoke(app, ["run", small, *sets, "--json"])
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["step_time_s"] == best["step_time_s"]


def test_numbers_of_devices_are_ranges_and_may_be_repeated(small: str) -> None:
    options = ("--devices", "2:4:x2", "--devices", "4,8", "--json")
    result = CliRunner().invoke(app, ["search", small, *QUICK, *options])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert {one["devices"] for one in (*found["best"], *found["front"])} == {2, 4, 8}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--devices", "8192"], "1024 nodes asked of cluster 'selene', which has 560"),
        (["--devices", "7"], "no combination keeps the rules\n  4"),
        (["--devices", "2:8"], "'2:8' is no range"),
        (["--schedule", "zb"], "unknown schedule 'zb'"),
        (["--objective", "cost_per_token"], "needs a price"),
        (["--price", "inf"], "at --price\n\nhint: "),
    ],
)
def test_wrong_input_is_refused_with_a_hint(small: str, options: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["search", small, *QUICK, *options])
    assert result.exit_code == 2
    assert message in result.output
    assert "hint:" in result.output


def test_help_has_examples() -> None:
    result = CliRunner().invoke(app, ["search", "--help"])
    assert result.exit_code == 0
    assert "trainsim search gpt3-175b-a100-64" in result.output


def test_a_plan_of_its_own_that_cannot_run_is_no_obstacle(tmp_path: Path) -> None:
    file = tmp_path / "uneven.yaml"
    file.write_text(SCENARIO.replace("global_batch_size: 16", "global_batch_size: 6"))
    assert CliRunner().invoke(app, ["run", str(file)]).exit_code == 2
    result = CliRunner().invoke(app, ["search", str(file), *QUICK, "--json"])
    assert result.exit_code == 0, result.output
    best = json.loads(result.stdout)["best"][0]
    assert (best["devices"], 6 % best["settings"]["plan.dp"]) == (8, 0)


def test_what_is_wrong_beside_the_plan_is_said(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(SCENARIO.replace("num_attention_heads: 16", "num_attention_heads: 0"))
    result = CliRunner().invoke(app, ["search", str(file), *QUICK])
    assert result.exit_code == 2
    assert "num_attention_heads" in result.output


@pytest.mark.parametrize(
    ("name", "message"),
    [("there/x.csv", "there is no directory"), ("folder.csv", "is a directory")],
)
def test_files_that_cannot_be_written_are_refused_first(
    small: str, tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "folder.csv").mkdir()
    result = CliRunner().invoke(app, ["search", small, *QUICK, "--table", str(tmp_path / name)])
    assert result.exit_code == 2
    assert message in result.output
    assert "plans evaluated" not in result.output


def test_the_cluster_grows_with_the_devices_and_the_plan_says_so(small: str) -> None:
    result = CliRunner().invoke(app, ["search", small, *QUICK, "--devices", "16", "--json"])
    assert result.exit_code == 0, result.output
    best = json.loads(result.stdout)["best"][0]
    assert best["settings"]["cluster.nodes"] == 2
    shown = CliRunner().invoke(app, ["search", small, *QUICK, "--devices", "16"]).stdout
    *_, options = shown.partition("To run the best one, add:")
    sets = shlex.split(options.replace("\n", " "))
    ran = CliRunner().invoke(app, ["run", small, *sets, "--json"])
    assert json.loads(ran.stdout)["step_time_s"] == best["step_time_s"]


def test_nothing_that_fits_exits_3_and_says_why(small: str) -> None:
    large = ("--set", "model.hidden_size=65536")
    result = CliRunner().invoke(app, ["search", small, *QUICK, *large])
    assert (result.exit_code, result.stdout) == (3, "")
    assert "plans fits: the smallest needs" in result.stderr
    assert "needs more than 85.0 GB of memory" in result.stderr


def test_the_same_plan_twice_is_no_plan_that_cannot_run(small: str) -> None:
    options = (*QUICK, "--infeasible")
    data = json.loads(CliRunner().invoke(app, ["search", small, *options, "--json"]).stdout)
    counts = data["counts"]
    # tp 8, pp 1, dp 1 alone leaves the switches of the other two axes without effect.
    assert counts["same"] > 0
    assert not [one for one in data["infeasible"] if "effect" in one["reason"]]
    by_rule = sum(one["count"] for one in data["infeasible"]) - counts["by_memory"]
    assert counts["by_rule"] == by_rule
    shown = CliRunner().invoke(app, ["search", small, *options]).stdout
    assert f"{counts['same']:,} combinations are the same plan as another" in shown
