"""Every command of docs/whatif.md runs, and prints what the page shows."""

from pathlib import Path

import pytest

from docs import console
from docs.generate import WHATIF, prepare
from simulator.whatif.hardware import HARDWARE

PAGE = WHATIF.read_text(encoding="utf-8")
EXAMPLES = console.examples(PAGE)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.command[:40])
def test_command_prints_what_is_shown(example: console.Example, tmp_path: Path) -> None:
    prepare(tmp_path, PAGE)
    done = console.run(example.command, tmp_path)
    assert done.exit_code == example.exit_code, "\n".join(done.output)
    missing = console.missing_line(example.shown, done.output)
    assert missing is None, "the page shows other output: python -m docs.generate"


def test_every_command_and_every_lever_is_there() -> None:
    assert {e.command.split()[1] for e in EXAMPLES} == {"scale", "compare", "sensitivity"}
    assert [name for name in HARDWARE if f"`{name}`" not in PAGE] == []
