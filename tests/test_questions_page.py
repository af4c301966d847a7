"""Every command of docs/questions.md runs, and prints what the page shows."""

from pathlib import Path

import pytest

from docs import console
from docs.generate import QUESTIONS, prepare

PAGE = QUESTIONS.read_text(encoding="utf-8")
EXAMPLES = console.examples(PAGE)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.command[:40])
def test_command_prints_what_is_shown(example: console.Example, tmp_path: Path) -> None:
    prepare(tmp_path, PAGE)
    done = console.run(example.command, tmp_path)
    assert done.exit_code == example.exit_code, "\n".join(done.output)
    missing = console.missing_line(example.shown, done.output)
    assert missing is None, "the page shows other output: python -m docs.generate"


def test_one_command_for_each_question() -> None:
    assert PAGE.count("\n## ") == len(EXAMPLES) == 13
