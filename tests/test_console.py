"""What all commands share: progress on terminals alone."""

import io
import subprocess
import sys

import pytest
import typer

from simulator import console


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device"), "error: No space left on device\n"),
        (OSError(13, "Permission denied", "a.csv"), "error: Permission denied: 'a.csv'\n"),
        (OSError("no answer"), "error: no answer\n"),
        (TimeoutError(), "error: TimeoutError\n"),
    ],
)
def test_an_os_error_says_what_is_known(
    error: OSError, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    @console.guarded
    def fail() -> None:
        raise error

    with pytest.raises(typer.Exit) as ended:
        fail()
    assert ended.value.exit_code == console.BAD_INPUT
    assert capsys.readouterr().err == words


def test_ctrl_c_while_modules_are_imported_is_no_traceback() -> None:
    script = (
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'typer':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from simulator.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress() as shown:
        shown("plans", 1, 2)
    assert capsys.readouterr() == ("", "")


def test_progress_shows_counts_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with console.progress() as shown:
        shown("plans [of all]", 0, 40)
        shown("plans [of all]", 30, 40)
    drawn = terminal.getvalue()
    assert "plans [of all]" in drawn
    assert "30/40" in drawn
    assert drawn.endswith("\x1b[1A\x1b[2K")  # the line is wiped


def test_work_without_a_count_says_what_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with console.busy("Simulating 64 devices"):
        pass
    assert "Simulating 64 devices" in terminal.getvalue()
    assert "0:00:00" in terminal.getvalue()
