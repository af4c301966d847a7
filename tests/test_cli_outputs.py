"""The files that all verbs write alike: tables as CSV and Parquet, plots as one page."""

from __future__ import annotations

import builtins
import csv
import json
import math
import re
import sys
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree as ET

import duckdb
import pytest
from typer.testing import CliRunner, Result

from simulator.cli import app
from simulator.report.svg import text_width

ONE = ("gpt2-xl-one-gpu", "--set", "training.micro_batch_size=1")
QUICK = ("--max-micro-batch", "1", "--sharding", "zero1", "--schedule", "1f1b")
VERBS: dict[str, tuple[str, ...]] = {
    "search": (*ONE, *QUICK, "--devices", "4", "--devices", "8", "--explain", "--infeasible"),
    "scale": (*ONE, "--devices", "1:8:x2,3"),
    "compare": (*ONE, "--vary", "training.micro_batch_size=1,4,5"),
    "sensitivity": (*ONE, "--vary", "training.micro_batch_size=2,3"),
    "plan": (*ONE, "--tokens", "1B", "--price", "2", "--devices", "1,2,3,4", "--deadline", "3d"),
    "tradeoff": (*ONE, "--recompute", "none,full", "--micro-batch-size", "1,2,4"),
    "hardware": (*ONE, "--clusters", "dgx-a100-cluster,dgx-h100-superpod"),
    "mfu": ("--model", "llama2-7b", "--accelerator", "h100-sxm5-80gb", "--tokens-per-s", "9600"),
    "schedule": ("--pp", "4", "--microbatches", "4,8", "--kinds", "1f1b,interleaved,zb-h1"),
    "samples": (*ONE, "--noise", "speed=0.02", "--samples", "30"),
}
EDGE = 1.0
"""User units by which rounding may push words over the edge."""


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Result]]:
    """The folder of every verb's files, and how it ended."""
    done: dict[str, tuple[Path, Result]] = {}
    for verb, options in VERBS.items():
        folder = tmp_path_factory.mktemp(verb)
        files = [f"{folder}/rows.csv", f"{folder}/rows.parquet", f"{folder}/page.html"]
        tables = ("--table", files[0], "--table", files[1], "--html", files[2])
        done[verb] = folder, invoke(verb, *options, *tables, "--json")
    return done


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_writes_tables_and_a_page_beside_its_json(
    verb: str, written: dict[str, tuple[Path, Result]]
) -> None:
    folder, result = written[verb]
    assert result.exit_code == 0, result.output
    json.loads(result.stdout)
    names = ("rows.csv", "rows.parquet", "page.html")
    assert result.stderr.splitlines() == [f"wrote {folder / name}" for name in names]
    assert {path.name for path in folder.iterdir()} == set(names)


@pytest.mark.parametrize("verb", ["run", *VERBS])
@pytest.mark.parametrize("name", ["page.pdf", "page", ".html"])
def test_a_page_has_the_name_of_one(verb: str, name: str, tmp_path: Path) -> None:
    result = invoke(verb, *VERBS.get(verb, ONE), "--html", str(tmp_path / name))
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"'{name}' does not end in .html or .htm\n  at --html\n\nhint: " in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_drawing_has_the_name_of_one(tmp_path: Path) -> None:
    schedule = ("schedule", "--pp", "4", "--svg")
    result = invoke(*schedule, str(tmp_path / "drawing.png"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'drawing.png' does not end in .svg\n  at --svg\n\nhint: name it" in result.stderr
    assert not list(tmp_path.iterdir())
    assert invoke(*schedule, str(tmp_path / "drawing.SVG")).exit_code == 0


@pytest.mark.parametrize("verb", VERBS)
def test_csv_and_parquet_say_the_same(verb: str, written: dict[str, tuple[Path, Result]]) -> None:
    folder, _ = written[verb]
    rows = list(csv.DictReader((folder / "rows.csv").read_text().splitlines()))
    found = duckdb.execute(f"SELECT * FROM '{folder}/rows.parquet'")
    columns = [column[0] for column in found.description or ()]
    cells = found.fetchall()
    assert list(rows[0]) == columns
    assert all(re.fullmatch(r"\w+", name) for name in columns)
    assert len(rows) == len(cells)
    for row, values in zip(rows, cells, strict=True):
        for name, value in zip(columns, values, strict=True):
            if isinstance(value, float):
                assert float(row[name]) == value
            else:
                assert row[name] == ("" if value is None else str(value))


@pytest.mark.parametrize("verb", VERBS)
def test_a_page_stands_alone_and_tells_those_who_do_not_see_it(
    verb: str, written: dict[str, tuple[Path, Result]]
) -> None:
    page = (written[verb][0] / "page.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert re.findall(r"<script|https?://|<link|@import|src=", page) == []
    assert "prefers-color-scheme: dark" in page
    assert "<table>" in page
    drawings = [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]
    assert drawings
    for drawing in drawings:
        assert drawing.findtext("title") == drawing.get("aria-label")
        used = {name for e in drawing.iter() for name in (e.get("class") or "").split()}
        # Words on a colour are light unless a rule of their own says otherwise.
        used = {name for name in used if not name.startswith("on-")}
        assert [name for name in used if f".{name}" not in page] == []


@pytest.mark.parametrize("verb", VERBS)
def test_words_of_drawings_are_inside_and_apart(
    verb: str, written: dict[str, tuple[Path, Result]]
) -> None:
    page = (written[verb][0] / "page.html").read_text()
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        drawing = ET.fromstring(svg)
        _, _, width, height = map(float, (drawing.get("viewBox") or "").split())
        boxes = [box_of(word) for word in drawing.iter("text")]
        for words, left, right, middle in boxes:
            assert left >= -EDGE, words
            assert right <= width + EDGE, words
            assert 0 <= middle <= height, words
        for (a, left, right, middle), (b, other_left, other_right, other) in combinations(boxes, 2):
            apart = right <= other_left or other_right <= left or abs(middle - other) >= 9
            assert apart, f"'{a}' and '{b}' overlap"


def box_of(word: ET.Element) -> tuple[str, float, float, float]:
    """Words, left and right end, height of their middle."""
    words, x, y = word.text or "", float(word.get("x") or 0), float(word.get("y") or 0)
    width = text_width(words) * (10 / 12 if "on" in (word.get("class") or "").split() else 1)
    left = {"start": x, "middle": x - width / 2, "end": x - width}[word.get("text-anchor") or ""]
    return words, left, left + width, y


def test_the_older_name_of_the_option_works(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    assert invoke("mfu", *VERBS["mfu"], "--csv", str(file)).exit_code == 0
    assert file.read_text().startswith("convention,")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--table", "rows.xlsx"), "'rows.xlsx' does not end in .csv or .parquet"),
        (("--html", "rows.parquet"), "does not end in .html or .htm"),
        (("--table", "a.csv", "--table", "a.csv"), "would replace"),
    ],
)
def test_a_wrong_name_is_refused_before_anything_is_simulated(
    verb: str, options: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("simulator.spec.load.load_scenario", never)
    monkeypatch.setattr("simulator.spec.load.scenario_source", never)
    result = invoke(verb, *VERBS[verb], *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


def test_without_parquet_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: object, **options: object) -> object:
        if name == "duckdb":
            raise ModuleNotFoundError("No module named 'duckdb'", name=name)
        return real(name, *arguments, **options)

    monkeypatch.delitem(sys.modules, "simulator.sweep.parquet", raising=False)
    monkeypatch.delitem(sys.modules, "duckdb")
    monkeypatch.setattr(builtins, "__import__", without)
    result = invoke("mfu", *VERBS["mfu"], "--table", "rows.parquet")
    assert result.exit_code == 2
    assert "Parquet needs the package 'duckdb', which is not installed" in result.stderr
    assert "pip install 'trainsim[sweep]'" in result.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_the_options_and_an_example_with_one(verb: str) -> None:
    shown = invoke(verb, "--help").stdout
    assert re.search(r"--table, ?--csv +FILE", shown)
    assert re.search(r"--html +FILE", shown)
    example = shown[shown.index("Examples:") :]
    assert "--table " in example or "--html " in example


def test_search_lists_the_best_and_the_front_with_settings_as_columns(
    written: dict[str, tuple[Path, Result]],
) -> None:
    folder, result = written["search"]
    data = json.loads(result.stdout)
    rows = duckdb.execute(
        "SELECT place, step_time_s, plan_tp, training_recompute_mode "
        f"FROM '{folder}/rows.parquet' WHERE list = 'best' ORDER BY place"
    ).fetchall()
    settings = [found["settings"] for found in data["best"]]
    assert rows == [
        (place, found["step_time_s"], one["plan.tp"], one["training.recompute"])
        for place, (found, one) in enumerate(zip(data["best"], settings, strict=True), 1)
    ]


def test_samples_are_a_row_each(written: dict[str, tuple[Path, Result]]) -> None:
    folder, result = written["samples"]
    times = json.loads(result.stdout)["sampled_step_time_s"]
    rows = duckdb.execute(f"SELECT * FROM '{folder}/rows.parquet' ORDER BY sample").fetchall()
    assert rows == list(enumerate(times))
    assert all(math.isfinite(time_s) for _, time_s in rows)
