"""``trainsim calibrate`` end to end on small tables: what it prints, writes and refuses."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simulator.cli import app
from simulator.published.validate import published_paths
from simulator.spec.stacks import load_stack

KERNELS = Path(__file__).parents[1] / "benchmarks" / "kernels"


def run(*arguments: str):
    return CliRunner().invoke(app, ["calibrate", *arguments])


@pytest.fixture(name="table")
def table_fixture(tmp_path: Path) -> Path:
    """The six calibration rows and two test rows of one source."""
    (path,) = (path for path in published_paths() if path.stem == "repo-internlm-internevo")
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    fitted = [row for row in rows if row["role"] == "calibration"]
    tested = [row for row in rows if row["role"] == "test"][:2]
    target = tmp_path / "mine.csv"
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, reader.fieldnames)
        writer.writeheader()
        writer.writerows([*fitted, *tested])
    return target


def test_a_stack_of_ones_own(table: Path, tmp_path: Path) -> None:
    stack, out = tmp_path / "stack.yaml", tmp_path / "fitted.yaml"
    stack.write_text("extends: internevo\n")
    arguments = ("stack", str(stack), "--parameter", "gemm_scale", "--rows", str(table))
    done = run(*arguments, "--out", str(out), "--json")
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    (fit,) = data["fits"]
    (fitted,) = fit["parameters"]
    errors = fit["errors"]
    assert errors["calibration_fitted"]["compared"] == 6
    assert errors["test_fitted"]["compared"] == 2
    assert {row["fitted_on"] for row in fit["rows"]} == {True}
    # four digits are written
    assert load_stack(str(out)).gemm_scale == pytest.approx(fitted["value"], rel=1e-3)
    # the shipped value was fitted on the same six rows
    assert fitted["value"] == pytest.approx(load_stack("internevo").gemm_scale, rel=0.05)


def test_rows_that_cannot_be_run_are_counted(table: Path) -> None:
    with table.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    rows[0]["gpu"] = "abacus"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, reader.fieldnames)
        writer.writeheader()
        writer.writerows(rows)
    done = run("stack", "internevo", "--rows", str(table), "--json")
    assert done.exit_code == 0, done.output
    skipped = {row["id"]: row["reason"] for row in json.loads(done.stdout)["skipped_rows"]}
    assert "abacus" in skipped[rows[0]["id"]]
    assert "no step time was measured" in skipped.values()  # a row of memory only
    shown = run("stack", "internevo", "--rows", str(table))
    assert f"Not used: {len(skipped)} rows" in shown.stdout


def test_values_are_written_into_a_stack_of_ones_own(table: Path, tmp_path: Path) -> None:
    stack = tmp_path / "stack.yaml"
    stack.write_text("extends: internevo\n")
    arguments = ("stack", str(stack), "--parameter", "gemm_scale", "--rows", str(table))
    done = run(*arguments, "--write", "values")
    assert done.exit_code == 0, done.output
    text = stack.read_text()
    assert f"6 calibration rows of {table}" in text
    assert "  parameters: [gemm_scale]\n  sources: [mine]\n  fitted_rows: 6\n" in text


def test_a_table_of_test_rows_is_refused(table: Path) -> None:
    table.write_text(table.read_text().replace(",calibration,", ",test,"))
    done = run("stack", "internevo", "--rows", str(table))
    assert done.exit_code == 2
    assert "marked test: constants are never fitted on them" in done.stderr
    assert "column role" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("stack", "megascale"), "does not declare what to fit"),
        (("stack", "internevo", "--parameter", "gemmscale"), "unknown parameter 'gemmscale'"),
        (("stack", "all", "--parameter", "gemm_scale"), "takes its parameters"),
        (("stack", "internevo", "--source", "nowhere"), "unknown source 'nowhere'"),
        (("stack", "internevo", "--source", "zb"), "no calibration row of zb runs on stack"),
        (("stack", "internevo", "--rows", "x.csv", "--write", "values"), "shipped tables only"),
        (("stack", "nowhere", "--parameter", "gemm_scale"), "unknown stack 'nowhere'"),
        (("accelerator", "a100-sxm4-80gb"), "nothing was measured"),
        (("accelerator", "a100-sxm4-80gb", "--gemm", "no.csv"), "there is no file"),
        (("node", "dgx-a100", "no.csv"), "there is no file"),
        (("leave-one-out", "--values", "no.csv"), "there is no file 'no.csv'"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], problem: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert problem in done.stderr


def test_an_accelerator(tmp_path: Path) -> None:
    out = tmp_path / "mine.yaml"
    attention = str(KERNELS / "attention.csv")
    done = run("accelerator", "a100-sxm4-80gb", "--attention", attention, "--out", str(out))
    assert done.exit_code == 0, done.output
    assert "held out (5 folds)" in done.stdout
    assert "forward_flops_per_s" in done.stdout
    checked = CliRunner().invoke(app, ["check", str(out)])
    assert checked.stdout.startswith("ok  accelerator")


def test_json_of_sources_left_out_has_plain_numbers(tmp_path: Path) -> None:
    path = tmp_path / "left.csv"
    path.write_text(
        "source,stack,parameter,value\nrepo-internlm-internevo,internevo,gemm_scale,1\n"
    )
    done = run("leave-one-out", "--values", str(path), "--json")
    assert done.exit_code == 0, done.output
    own, whole = json.loads(done.stdout)
    assert (own["source"], whole["source"]) == ("repo-internlm-internevo", "all")
    assert own["mape_left_out"] != own["mape"] > 0
    assert own.keys() == {
        "source", "test_rows", "mape", "bias", "mape_left_out", "bias_left_out",
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["accelerator", "node", "stack"])
def test_a_file_never_extends_itself(kind: str, table: Path, tmp_path: Path) -> None:
    """Neither its own file nor one that it extends in turn is overwritten."""
    base = {"accelerator": "a100-sxm4-80gb", "node": "dgx-a100", "stack": "internevo"}[kind]
    middle, own = tmp_path / "middle.yaml", tmp_path / "own.yaml"
    middle.write_text(f"extends: {base}\n")
    own.write_text("extends: middle.yaml\n")
    rest = {
        "accelerator": ("--gemm", "unread.csv"),
        "node": ("unread.txt",),
        "stack": ("--parameter", "gemm_scale", "--rows", str(table)),
    }[kind]
    for out in (own, middle, tmp_path / "x" / ".." / "own.yaml"):
        done = run(kind, str(own), *rest, "--out", str(out))
        assert done.exit_code == 2
        assert "--out is the file it would extend" in done.stderr
        assert "another name" in done.stderr
    assert own.read_text() == "extends: middle.yaml\n"


def test_measurements_are_not_overwritten(tmp_path: Path) -> None:
    gemm = tmp_path / "gemm.csv"
    gemm.write_text("m,n,k,time_us\n1,2,3,4\n")
    done = run("accelerator", "a100-sxm4-80gb", "--gemm", str(gemm), "--out", str(gemm))
    assert done.exit_code == 2
    assert "measurements it reads" in done.stderr
    assert gemm.read_text().startswith("m,n,k")


def test_why_no_row_can_be_used(table: Path, tmp_path: Path) -> None:
    table.write_text(table.read_text().replace(",A100,", ",Z900,"))
    stack = tmp_path / "stack.yaml"
    stack.write_text("extends: internevo\n")
    done = run("stack", str(stack), "--parameter", "gemm_scale", "--rows", str(table))
    assert done.exit_code == 2
    assert "none of the " in done.stderr
    assert "calibration rows can be used: " in done.stderr
    assert "Z900" in done.stderr.upper()


def test_a_stack_of_ones_own_needs_rows(tmp_path: Path) -> None:
    stack = tmp_path / "stack.yaml"
    stack.write_text("extends: internevo\n")
    done = run("stack", str(stack), "--parameter", "gemm_scale")
    assert done.exit_code == 2
    assert "a stack of your own needs rows" in done.stderr
    assert "--rows FILE.csv" in done.stderr


def test_rows_that_were_entered_twice_count_once(table: Path) -> None:
    lines = table.read_text().splitlines(keepends=True)
    twice = next(line for line in lines if ",calibration," in line)
    own_id, _, rest = twice.partition(",")
    table.write_text("".join([*lines, f"again,{rest}"]))
    done = run("stack", "internevo", "--rows", str(table), "--json")
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    assert data["repeated_rows"] == [
        {"source": "mine", "row_id": "again", "first_source": "mine", "first_id": own_id}
    ]
    assert "again" not in {row["id"] for row in data["fits"][0]["rows"]}
    shown = run("stack", "internevo", "--rows", str(table), "--rows", str(table))
    assert "Counted once" in shown.stdout


@pytest.mark.parametrize(
    "arguments",
    [("leave-one-out", "--values"), ("accelerator", "a100-sxm4-80gb", "--gemm")],
)
def test_files_that_are_no_text(arguments: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "bin.csv"
    path.write_bytes(b"m,n\xff\xfe")
    done = run(*arguments, str(path))
    assert done.exit_code == 2
    assert f"'{path}' is not UTF-8 text (byte 3)" in done.stderr


def test_times_in_another_unit_are_pointed_at(tmp_path: Path) -> None:
    path = tmp_path / "attention.csv"
    with (KERNELS / "attention.csv").open(newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    for factor, told in ((1.0, False), (1e3, True)):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(
                {**row, "time_us": str(factor * float(row["time_us"]))} for row in rows
            )
        done = run("accelerator", "a100-sxm4-80gb", "--attention", str(path))
        assert done.exit_code == 0, done.output
        assert ("times differ from the base by a factor of" in done.stderr) == told
        assert ("time_us is in microseconds" in done.stderr) == told


GEMM = "m,n,k,time_us\n4096,4096,4096,250\n"
ATTENTION = "kernel,head_dim,batch,heads,tokens,time_us\nflash2,128,1,8,4096,900\n"
MEMORY = "kernel,bytes,time_us\nadd,1e9,700\ncopy,1e9,700\n"


@pytest.mark.parametrize(
    ("option", "text", "number"),
    # Two kinds of memory-bound kernels, each with a fraction, and one launch: 3 constants.
    [("--gemm", GEMM, 11), ("--attention", ATTENTION, 5), ("--memory", MEMORY, 2 + 2)],
)
def test_smallest_accelerator_files_are_those_of_the_help(
    tmp_path: Path, option: str, text: str, number: int
) -> None:
    table = tmp_path / "few.csv"
    table.write_text(text)
    refused = run("accelerator", "h100-sxm5-80gb", option, str(table))
    assert f"measure at least {number} shapes" in refused.output
    shown = " ".join(run("accelerator", "--help").output.split())
    said = "2 rows more than" if option == "--memory" else f"{number} shapes"
    assert said in shown


@pytest.mark.parametrize(
    ("kinds", "sizes", "number"),
    [
        (["all_gather"], [8], 10),
        (["all_gather", "all_reduce", "all_to_all"], [2, 4, 8], 28),
    ],
)
def test_smallest_node_files_are_those_of_the_help(
    tmp_path: Path, kinds: list[str], sizes: list[int], number: int
) -> None:
    table = tmp_path / "few.csv"
    lines = [f"{kind},{size},1048576,50" for kind in kinds for size in sizes]
    table.write_text("\n".join(["kind,ranks,bytes,time_us", *lines]) + "\n")
    refused = run("node", "dgx-h100", str(table))
    assert f"measure at least {number} shapes" in refused.output
    shown = " ".join(run("node", "--help").output.split())
    assert f"{number} for " in shown
