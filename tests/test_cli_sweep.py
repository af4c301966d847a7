"""``trainsim sweep``, ``query`` and ``samples`` from end to end."""

import csv
import json
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner, Result

from docs import console
from docs.generate import ROOT, prepare
from simulator.cli import app
from simulator.cli_sweep import Executor
from simulator.sweep import executors
from simulator.sweep.executors import EXECUTORS

SWEEP = """
scenario: gpt3-175b-a100-64
axes: {plan.tp: [4, 8], training.micro_batch_size: [1, 2, 3]}
derive: {plan.dp: devices // (plan.tp * plan.pp)}
"""


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("sweep")
    (place / "plans.yaml").write_text(SWEEP, encoding="utf-8")
    arguments = ["sweep", str(place / "plans.yaml"), "--out", str(place / "rows")]
    result = invoke(*arguments, "--executor", "thread", "--workers", "1")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    assert "6 points: 6 simulated, 0 there before" in result.stdout
    return place


def test_a_second_run_finds_everything_there(folder: Path) -> None:
    arguments = ["sweep", str(folder / "plans.yaml"), "--out", str(folder / "rows"), "--json"]
    result = invoke(*arguments, "--executor", "thread")
    data = json.loads(result.stdout)
    assert (data["points"], data["evaluated"], data["lost_batches"]) == (6, 0, 0)
    # 64 sequences over 1 or 2 replicas in microbatches of 3 is no whole number.
    assert data["statuses"] == {"ok": 2, "does not fit": 2, "infeasible": 2}


def test_the_rows_answer_sql(folder: Path, tmp_path: Path) -> None:
    sql = "SELECT tp, micro_batch_size, step_time_s, mfu FROM rows WHERE status = 'ok' ORDER BY 3"
    result = invoke("query", str(folder / "rows"), sql)
    assert result.exit_code == 0, result.stderr
    header, first, *_ = result.stdout.splitlines()
    assert header.split() == ["tp", "micro_batch_size", "step_time_s", "mfu"]
    rows = json.loads(invoke("query", str(folder / "rows"), sql, "--json").stdout)
    assert [(row["tp"], row["micro_batch_size"]) for row in rows] == [(8, 2), (8, 1)]
    assert float(first.split()[2]) == pytest.approx(rows[0]["step_time_s"], rel=1e-5)
    run = json.loads(invoke("run", "gpt3-175b-a100-64", "--json").stdout)
    assert rows[1]["step_time_s"] == run["step_time_s"]
    table = tmp_path / "rows.csv"
    assert invoke("query", str(folder / "rows"), sql, "--csv", str(table)).exit_code == 0
    with table.open(newline="") as file:
        assert [float(row["mfu"]) for row in csv.DictReader(file)] == [r["mfu"] for r in rows]
    parquet = tmp_path / "rows.parquet"
    assert invoke("query", str(folder / "rows"), sql, "--table", str(parquet)).exit_code == 0
    found = duckdb.execute(f"SELECT mfu FROM '{parquet}'").fetchall()
    assert [mfu for (mfu,) in found] == [r["mfu"] for r in rows]


def test_without_sql_every_row_is_shown(folder: Path) -> None:
    result = invoke("query", str(folder / "rows"))
    assert len(result.stdout.splitlines()) >= 7
    assert result.stdout.split()[:3] == ["tp", "micro_batch_size", "dp"]


def test_queries_of_any_type_can_be_json(folder: Path) -> None:
    sql = "SELECT DATE '2026-01-02' AS day, 1.5::DECIMAL(4, 2) AS price, [1, 2] AS both"
    result = invoke("query", str(folder / "rows"), sql, "--json")
    assert json.loads(result.stdout) == [{"day": "2026-01-02", "price": 1.5, "both": [1, 2]}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep", "none.yaml", "--out", "x"], "there is no file 'none.yaml'"),
        (["sweep", "{plans}", "--out", "{rows}", "--shard", "3/2"], "is not a shard"),
        (["query", "nowhere"], "'nowhere' holds no sweep"),
        (["query", "{rows}", "SELECT what FROM rows"], "DESCRIBE rows"),
        (["query", "{rows}", ""], "the query is empty\n  at SQL\n\nhint: "),
        (["query", "{rows}", " ;; "], "the query is empty"),
        (["samples", "gpt2-xl-one-gpu"], "no noise is given"),
        (["samples", "gpt2-xl-one-gpu", "--noise", "sped=1"], "did you mean speed"),
        (["samples", "gpt2-xl-one-gpu", "--noise", "speed=x"], "'x' is not a number"),
        (["samples", "gpt2-xl-one-gpu", "--noise", "speed=2"], "not between 0 and 1"),
        (["samples", "gpt2-xl-one-gpu", "--noise", "speed=nan"], "not between 0 and 1"),
        (["samples", "gpt2-xl-one-gpu", "--noise", "link=0.1", "--samples", "0"], "0 samples"),
    ],
)
def test_mistakes_exit_2(folder: Path, arguments: list[str], message: str) -> None:
    places = {"{plans}": str(folder / "plans.yaml"), "{rows}": str(folder / "rows")}
    result = invoke(*(places.get(argument, argument) for argument in arguments))
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_a_shard_says_which_points_are_its_own(folder: Path, tmp_path: Path) -> None:
    command = ("sweep", str(folder / "plans.yaml"), "--out", str(tmp_path / "rows"))
    options = ("--executor", "thread", "--workers", "1", "--shard")
    first = json.loads(invoke(*command, *options, "1/2", "--json").stdout)
    own = 6 - first["points"]
    lines = invoke(*command, *options, "2/2").stdout.splitlines()
    assert lines[0] == f"{own} of 6 points are of shard 2/2: {own} simulated, 0 there before"
    assert lines[1] == "6 rows of all shards are there now:"


def test_combinations_that_constraints_leave_out_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "few.yaml"
    file.write_text(f"{SWEEP}constraints: [plan.tp == 8, training.micro_batch_size < 3]\n")
    command = ("sweep", str(file), "--out", str(tmp_path / "rows"), "--executor", "thread")
    # 2 x 3 combinations, of which (8, 1) and (8, 2) keep both constraints.
    lines = invoke(*command).stdout.splitlines()
    assert lines[0] == "4 of 6 combinations left out by the constraints"
    assert lines[1] == "2 points: 2 simulated, 0 there before"
    data = json.loads(invoke(*command, "--json").stdout)
    assert (data["combinations"], data["rejected"], data["shard"]) == (6, 4, "1/1")


def test_constraints_that_leave_nothing_are_an_error(tmp_path: Path) -> None:
    file = tmp_path / "none.yaml"
    file.write_text(f"{SWEEP}constraints: [plan.tp > 8]\n")
    result = invoke("sweep", str(file), "--out", str(tmp_path / "rows"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "the constraints reject all 6 combinations of axis values\n" in result.stderr
    assert f"at {file}: constraints\n\nhint: " in result.stderr
    assert not (tmp_path / "rows").exists()


@pytest.mark.parametrize("executor", ["dask", "ray"])
def test_a_dead_scheduler_is_named_and_leaves_no_directory(
    executor: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "_CONNECT_S", 0.2)
    arguments = ["sweep", str(folder / "plans.yaml"), "--out", str(tmp_path / "rows")]
    result = invoke(*arguments, "--executor", executor, "--address", "127.0.0.1:1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no scheduler answers at '127.0.0.1:1': " in result.stderr
    assert "at --address\n\nhint: " in result.stderr
    assert not (tmp_path / "rows").exists()


def test_an_address_needs_an_executor_that_takes_one(folder: Path, tmp_path: Path) -> None:
    arguments = ["sweep", str(folder / "plans.yaml"), "--out", str(tmp_path / "rows")]
    result = invoke(*arguments, "--address", "127.0.0.1:1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--executor process takes no --address\n  at --address\n\nhint: " in result.stderr
    assert not (tmp_path / "rows").exists()


def test_samples_show_percentiles() -> None:
    arguments = ["samples", "gpt3-175b-a100-64", "--samples", "20", "--noise", "speed=0.02"]
    result = invoke(*arguments, "--seed", "7")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "20 steps, noise speed 0.02, seed 7" in result.stdout
    assert [word for word in ("without noise", "5 %", "50 %", "95 %") if word in result.stdout]
    data = json.loads(invoke(*arguments, "--seed", "7", "--json").stdout)
    times = data["step_time_s"]
    assert times["noise_free"] < times["p5"] < times["p50"] < times["p95"]
    assert len(data["sampled_step_time_s"]) == 20
    assert data == json.loads(invoke(*arguments, "--seed", "7", "--json").stdout)
    assert data != json.loads(invoke(*arguments, "--seed", "8", "--json").stdout)


def test_every_executor_is_an_option() -> None:
    assert {executor.value for executor in Executor} == EXECUTORS.keys()


@pytest.mark.parametrize("command", ["sweep", "query", "samples"])
def test_help_has_examples(command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert f"trainsim {command} " in result.stdout.partition("Examples:")[2]


PAGE = (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8")


def test_the_page_shows_what_commands_print(tmp_path: Path) -> None:
    prepare(tmp_path, PAGE)
    for example in console.examples(PAGE):
        done = console.run(example.command, tmp_path)
        assert done.exit_code == example.exit_code, "\n".join(done.output)
        assert console.missing_line(example.shown, done.output) is None, example.command
