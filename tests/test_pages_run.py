"""Every command of the pages under docs/ that show commands runs, and prints what is shown."""

from pathlib import Path

import pytest

from docs import console
from docs.generate import (
    FINE_TUNING,
    NETWORK,
    OFFLOAD,
    QUESTIONS,
    SEARCH,
    SHARDING,
    WHATIF,
    prepare,
)
from simulator.search.objective import OBJECTIVES
from simulator.sharding import SHARDING as POLICIES
from simulator.whatif.hardware import HARDWARE

EXAMPLES = [
    pytest.param(path, example, id=f"{path.stem}: {example.command[:40]}")
    for path in (WHATIF, QUESTIONS, SEARCH, SHARDING, FINE_TUNING, OFFLOAD, NETWORK)
    for example in console.examples(path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(("page", "example"), EXAMPLES)
def test_command_prints_what_is_shown(page: Path, example: console.Example, tmp_path: Path) -> None:
    prepare(tmp_path, page.read_text(encoding="utf-8"))
    done = console.run(example.command, tmp_path)
    assert done.exit_code == example.exit_code, "\n".join(done.output)
    missing = console.missing_line(example.shown, done.output)
    assert missing is None, "the page shows other output: python -m docs.generate"


def test_every_what_if_command_and_every_lever_is_there() -> None:
    page = WHATIF.read_text(encoding="utf-8")
    commands = {example.command.split()[1] for example in console.examples(page)}
    assert commands == {"scale", "compare", "sensitivity"}
    assert [name for name in HARDWARE if f"`{name}`" not in page] == []


def test_one_command_for_each_question() -> None:
    page = QUESTIONS.read_text(encoding="utf-8")
    assert page.count("\n## ") == len(console.examples(page)) == 14


def test_the_page_of_search_knows_every_objective_and_its_python_runs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = SEARCH.read_text(encoding="utf-8")
    assert [name for name in OBJECTIVES if f"`{name}`" not in page] == []
    for code in console.blocks(page, "python"):
        exec(compile(code, "docs/search.md", "exec"), {})
    assert "pp=" in capsys.readouterr().out


def test_the_page_of_sharding_knows_every_policy() -> None:
    page = SHARDING.read_text(encoding="utf-8")
    assert [name for name in POLICIES if f"| `{name}`" not in page] == []
