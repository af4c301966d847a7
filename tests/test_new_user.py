"""What people type who have not used the program before: one clear error, exit code 2."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from simulator.cli import app

MACHINE = "extends: selene\nnum_nodes: {value: 4, source: test}\n"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("run cluster.yaml", "describes a machine or a stack, not a scenario"),
        ("contention cluster.yaml", "'cluster: {preset: cluster.yaml}'"),
        ("run clusters.yaml", "did you mean cluster.yaml"),
        ("run nowhere/x.yaml", "there is no directory 'nowhere' either"),
        ("show words.yaml", "'just words' is not a mapping"),
        ("show list.yaml", "[a, null] is not a mapping"),
        (f"show {'x' * 300}", "unknown cluster"),
        ("show selene --nodes 561", "at --nodes"),
        ("show latin.yaml", "is not UTF-8"),
        ("show .", "unknown cluster '.'"),
        ("show ./", "is a directory"),
        ("collective all_reduce --cluster selene --ranks 99999999", "need 12,500,000 nodes"),
        ("collective all_reduce --cluster selene --stride 999", "8 ranks, 999 apart"),
        ("collective all_reduce --cluster selene --bytes 1e400B", "no size of 1 byte to 1 EiB"),
        ("collective all_reduce --cluster selene --bytes 0", "no size of 1 byte to 1 EiB"),
        ("collective all_reduce --cluster selene --bytes -1GiB", "no size of 1 byte to 1 EiB"),
    ],
)
def test_wrong_input(
    command: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cluster.yaml").write_text(MACHINE)
    Path("words.yaml").write_text("just words")
    Path("list.yaml").write_text("[a, null]")
    Path("latin.yaml").write_bytes(b"name: \xe9")
    refused = CliRunner().invoke(app, command.split())
    assert refused.exit_code == 2
    assert words in refused.stderr
    assert "Traceback" not in refused.stderr


def test_algorithms_are_named_in_any_case() -> None:
    shown = CliRunner().invoke(
        app, ["collective", "all_reduce", "--cluster", "selene", "--algorithm", "RING"]
    )
    assert shown.exit_code == 0
    assert "ring forced" in shown.output
