"""Every command of the README runs, and prints what the README shows."""

import re
from pathlib import Path

import pytest

from docs import console
from docs.generate import README, ROOT, prepare

PAGE = README.read_text(encoding="utf-8")
EXAMPLES = console.examples(PAGE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("readme")
    prepare(place, PAGE)
    return place


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.command[:60])
def test_command_prints_what_is_shown(example: console.Example, folder: Path) -> None:
    assert example.command.startswith("trainsim ")
    done = console.run(example.command, folder)
    assert done.exit_code == example.exit_code, "\n".join(done.output)
    if example.shown:
        missing = console.missing_line(example.shown, done.output)
        assert missing is None, "the README shows other output: python -m docs.generate"


def test_files_that_commands_write_are_there(folder: Path) -> None:
    for example in EXAMPLES:
        names = re.findall(r"(?:--html|--trace|>) (\S+)", example.command)
        console.run(example.command, folder) if names else None
        assert [name for name in names if not (folder / name).stat().st_size] == []


def test_every_command_is_shown() -> None:
    used = {example.command.split()[1] for example in EXAMPLES}
    assert used >= {"run", "memory", "validate", "check"}
    assert all(f"trainsim {name}" in PAGE for name in ("list", "schema"))


def test_the_python_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = console.blocks(PAGE, "python")
    exec(compile(code, "README.md", "exec"), {})
    step_time_s, mfu, peak_bytes = map(float, capsys.readouterr().out.split())
    assert step_time_s > 0
    assert 0 < mfu < 1
    assert peak_bytes > 1e9


def test_set_up_commands_are_those_of_ci_and_name_shipped_things() -> None:
    run, test = (block.strip() for block in console.blocks(PAGE, "bash"))
    assert test in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    scenario = run.split()[-1]
    assert (ROOT / scenario).is_file()
    assert f"$ trainsim run {scenario}\n" in PAGE


def test_it_stays_short() -> None:
    assert len(PAGE.splitlines()) < 250
