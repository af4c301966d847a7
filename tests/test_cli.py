"""The command line: what goes to which stream, exit codes, files, help."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from simulator.cli import app
from simulator.console import DEBUG_VARIABLE
from simulator.published.rows import REQUIRED_COLUMNS
from simulator.published.validate import published_paths
from simulator.report.record import from_json
from simulator.spec.catalogue import KINDS
from simulator.spec.load import find_scenario

REPORT_KEYS = {
    "schema_version",
    "scenario",
    "step_time_s",
    "tokens_per_s",
    "tokens_per_s_per_device",
    "model_flops_per_s_per_device",
    "hardware_flops_per_s_per_device",
    "mfu",
    "hfu",
    "flops_convention",
    "time",
    "memory",
    "devices",
    "assumptions",
    "provenance",
}
SCENARIO = "gpt3-175b-a100-64"


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def subprocess_run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from simulator.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | environment,
        check=False,
    )


def test_run_prints_tables_on_stdout_and_nothing_else() -> None:
    result = invoke("run", SCENARIO)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "step time" in result.stdout
    assert "MFU" in result.stdout
    assert "\x1b" not in result.stdout
    assert all(line == line.rstrip() for line in result.stdout.splitlines())


def test_run_json_has_the_stable_keys_and_reads_back() -> None:
    result = invoke("run", SCENARIO, "--json")
    assert result.exit_code == 0
    data = json.loads(result.stdout)
    assert data.keys() >= REPORT_KEYS
    assert sum(data["time"].values()) == pytest.approx(data["step_time_s"], rel=1e-9)
    assert data["scenario"]["plan"]["tp"] == 8
    report = from_json(result.stdout)
    assert report.devices == 64


def test_run_is_reproducible_to_the_byte() -> None:
    assert invoke("run", SCENARIO, "--json").stdout == invoke("run", SCENARIO, "--json").stdout


def test_set_changes_the_scenario() -> None:
    result = invoke("run", SCENARIO, "--json", "--set", "plan.tp=4", "--set", "plan.dp=2")
    plan = json.loads(result.stdout)["scenario"]["plan"]
    assert (plan["tp"], plan["dp"]) == (4, 2)


@pytest.mark.parametrize("engine", ["auto", "des", "maxplus"])
def test_engines(engine: str) -> None:
    result = invoke("run", "gpt2-xl-one-gpu", "--json", "--engine", engine)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["step_time_s"] > 0


def test_what_does_not_fit_is_reported_and_exits_3() -> None:
    arguments = [SCENARIO, "--set", "training.recompute=none", "--set", "plan.sharding=ddp"]
    result = invoke("run", *arguments, "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["memory"]["fits"] is False
    result = invoke("memory", *arguments)
    assert result.exit_code == 3
    assert "does NOT fit" in result.stdout
    assert "What would help" in result.stdout


def test_memory_shows_terms_that_sum_to_the_peak() -> None:
    result = invoke("memory", SCENARIO, "--json")
    assert result.exit_code == 0
    memory = json.loads(result.stdout)
    assert sum(memory["terms"].values()) == pytest.approx(memory["peak_bytes"], rel=1e-9)
    shown = invoke("memory", SCENARIO).stdout
    assert "activations" in shown
    assert "pipeline" in shown


def test_files_are_written_whole_and_reported_on_stderr(tmp_path: Path) -> None:
    trace, html = tmp_path / "step.json", tmp_path / "step.html"
    result = invoke("run", "gpt2-xl-one-gpu", "--trace", str(trace), "--html", str(html), "--json")
    assert result.exit_code == 0
    json.loads(result.stdout)
    assert json.loads(trace.read_text())["traceEvents"]
    assert "</html>" in html.read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"step.json", "step.html"}
    assert result.stderr.splitlines() == [f"wrote {trace}", f"wrote {html}"]
    plain = tmp_path / "plain"
    plain.write_text("")
    assert html.stat().st_mode == plain.stat().st_mode


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    result = invoke("run", "gpt2-xl-one-gpu", "--html", str(tmp_path / "none" / "x.html"))
    assert result.exit_code == 2
    assert "there is no directory" in result.stderr
    result = invoke("run", "gpt2-xl-one-gpu", "--html", str(tmp_path))
    assert result.exit_code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_list_shows_every_entry(kind: str) -> None:
    entries = json.loads(invoke("list", kind, "--json").stdout)
    shown = invoke("list", kind).stdout
    assert len(entries) >= 5
    assert all(entry["name"] in shown and entry["facts"] for entry in entries)


def test_list_without_a_kind_counts() -> None:
    shown = {line.split()[0]: int(line.split()[1]) for line in invoke("list").stdout.splitlines()}
    assert shown.keys() == KINDS.keys()
    everything = json.loads(invoke("list", "--json").stdout)
    assert {kind: len(entries) for kind, entries in everything.items()} == shown


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("scenarios/gpt3-175b-a100-64.yaml", "scenario"),
        ("hardware/clusters/selene.yaml", "cluster"),
        ("hardware/nodes/dgx-a100.yaml", "node"),
        ("hardware/accelerators/a100-sxm4-80gb.yaml", "accelerator"),
        ("hardware/stacks/megascale.yaml", "stack"),
    ],
)
def test_check_knows_every_kind_of_file(file: str, kind: str) -> None:
    path = Path(__file__).parents[1] / file
    assert invoke("check", str(path)).stdout.startswith(f"ok  {kind}: ")
    assert json.loads(invoke("check", str(path), "--json").stdout)["kind"] == kind


def test_schema_names_the_parts_of_a_scenario() -> None:
    schema = json.loads(invoke("schema").stdout)
    assert {"model", "training", "plan", "cluster", "stack"} <= schema["properties"].keys()
    assert schema["additionalProperties"] is False


def test_validate_accepts_tables_either_way(tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    blank = dict.fromkeys(REQUIRED_COLUMNS, "") | {"id": "a-1", "role": "test"}
    table.write_text(f"{','.join(blank)}\n{','.join(blank.values())}\n")
    for arguments in (["--rows", str(table)], [str(table)]):
        result = invoke("validate", *arguments, "--json")
        assert result.exit_code == 0
        data = json.loads(result.stdout)
        assert [row["status"] for row in data["rows"]] == ["skipped"]
        assert data["sources"]["mine"]["count"] == 1
    shown = invoke("validate", "--rows", str(table), str(table))
    assert "mine" in shown.stdout
    assert "mean absolute error" in shown.stdout


def test_a_bug_is_one_line_and_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division by zero\nsecond line")

    monkeypatch.setattr("simulator.simulate.simulate", broken)
    monkeypatch.delenv(DEBUG_VARIABLE, raising=False)
    result = invoke("run", SCENARIO)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("internal error: ZeroDivisionError: division by zero\n")
    assert f"{DEBUG_VARIABLE}=1" in result.stderr
    assert "Traceback" not in result.stderr
    monkeypatch.setenv(DEBUG_VARIABLE, "1")
    assert isinstance(invoke("run", SCENARIO).exception, ZeroDivisionError)


@pytest.mark.parametrize("command", ["run", "memory", "validate", "list", "check", "schema"])
def test_help_teaches_by_example(command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert f"trainsim {command}" in result.stdout


def test_version() -> None:
    result = invoke("--version")
    assert (result.exit_code, result.stdout.count(".")) == (0, 2)


def test_errors_of_a_real_process_have_no_traceback() -> None:
    done = subprocess_run("run", "no-such-scenario")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    debug = subprocess_run("run", "no-such-scenario", **{DEBUG_VARIABLE: "1"})
    assert "Traceback" in debug.stderr


def test_a_closed_pipe_is_no_bug() -> None:
    command = f"{sys.executable} -c 'from simulator.cli import main; main()' list | head -n 1"
    done = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.startswith("accelerators")
    assert done.stderr == ""


def test_validate_writes_pages_and_refuses_a_wrong_suffix_at_once(tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    blank = dict.fromkeys(REQUIRED_COLUMNS, "") | {"id": "a-1", "role": "test"}
    table.write_text(f"{','.join(blank)}\n{','.join(blank.values())}\n")
    pages = [tmp_path / "a.md", tmp_path / "a.html"]
    options = [word for page in pages for word in ("--page", str(page))]
    result = invoke("validate", "--rows", str(table), *options)
    assert result.exit_code == 0
    assert all("mine" in page.read_text(encoding="utf-8") for page in pages)
    assert result.stderr.splitlines() == [f"wrote {page}" for page in pages]
    refused = invoke("validate", "--page", str(tmp_path / "a.txt"))
    assert refused.exit_code == 2
    assert ".md or .html" in refused.stderr


def test_outputs_replace_neither_scenario_nor_each_other(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(find_scenario("gpt2-xl-one-gpu").read_text())
    for options in (["--trace", str(job)], ["--html", "x.html", "--trace", "x.html"]):
        result = CliRunner().invoke(app, ["run", str(job), *options])
        assert result.exit_code == 2
        assert "would replace" in result.stderr
    assert "preset" in job.read_text()


def test_a_device_is_written_into(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True)
    result = CliRunner().invoke(app, ["run", "gpt2-xl-one-gpu", "--html", str(pipe)])
    assert result.exit_code == 0
    assert "<html" in reader.communicate()[0]
    assert pipe.is_fifo()


def test_a_missed_bar_is_exit_4(tmp_path: Path) -> None:
    rows = str(next(path for path in published_paths() if path.stem == "frontier"))
    assert CliRunner().invoke(app, ["validate", rows, "--bar", "0.5"]).exit_code == 0
    assert CliRunner().invoke(app, ["validate", rows, "--bar", "0.001"]).exit_code == 4
    assert CliRunner().invoke(app, ["validate", rows, "--bar", "nan"]).exit_code == 2


def test_validate_on_another_stack(tmp_path: Path) -> None:
    """Kernels half as fast again make every row of a table slower; an unknown stack is an error."""
    rows = str(next(path for path in published_paths() if path.stem == "kort"))
    slow = tmp_path / "slow.yaml"
    slow.write_text(
        'extends: megatron-lm-2022\ngemm_scale: {value: 1.5, source: "by hand"}\n', encoding="utf-8"
    )

    def bias(*options: str) -> float:
        result = CliRunner().invoke(app, ["validate", rows, "--json", *options])
        return float(json.loads(result.stdout)["overall"]["bias"])

    assert bias("--stack", "megatron-lm-2022") == bias()
    assert bias("--stack", str(slow)) > bias() + 0.2
    refused = CliRunner().invoke(app, ["validate", rows, "--stack", "megatron-lm-2222"])
    assert refused.exit_code == 2
    assert "megatron-lm-2222" in refused.stderr


def test_stdout_that_is_not_utf_8(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "simulator", "run", "gpt2-xl-one-gpu"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
