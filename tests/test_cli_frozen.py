"""The command line is an interface: its options change only on purpose, and help is instant."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from simulator.cli import app

HEAVY = {"numpy", "pydantic", "networkx", "simpy", "yaml", "rich"}
WRITTEN = ("--table", "--csv", "--html")
"""Every verb that compares, plans or draws writes these; --csv is another name of --table."""
OPTIONS = {
    "run": {"--set", "--trace", "--html", "--json", "--engine", "--verbose", "-v"},
    "memory": {"--set", "--largest", "--shapes", "--json", "--verbose", "-v"},
    "validate": {"--rows", "--page", "--bar", "--stack", "--json"},
    "list": {"--json"},
    "check": {"--json"},
    "show": {"--nodes", "--traffic", "--html", "--json"},
    "schema": set[str](),
    "calibrate": set[str](),
    "plan": {
        *("--tokens", "--deadline", "--budget", "--devices", "--price", "--power", "--pue"),
        *("--carbon", "--goodput", "--set", *WRITTEN, "--json"),
    },
    "tradeoff": {
        *("--seq-length", "--recompute", "--sharding", "--micro-batch-size", "--same-tokens"),
        *("--recompute-layers", "--set", *WRITTEN, "--json"),
    },
    "hardware": {
        *("--clusters", "--prices", "--devices", "--pue", "--set", *WRITTEN, "--json"),
    },
    "mfu": {
        *("--model", "--tokens-per-s", "--accelerator", "--devices", "--seq-length"),
        *("--precision", "--reported", *WRITTEN, "--json"),
    },
    "schedule": {
        *("--pp", "--microbatches", "--kinds", "--virtual-stages", "--html", "--svg"),
        *("--set", "--table", "--csv", "--json"),
    },
    "collective": {
        *("--cluster", "--ranks", "--stride", "--bytes", "--algorithm", "--compare"),
        *(*WRITTEN, "--json"),
    },
    "contention": {"--set", "--seeds", "--connections", "--priority", "--json"},
    "search": {
        *("--set", "--objective", "--top", "--devices", "--schedule", "--sharding"),
        *("--max-micro-batch", "--recompute-layers", "--headroom"),
        *("--price", "--price-per-device-hour"),
        *("--explain", "--infeasible", *WRITTEN, "--json"),
    },
    "sweep": {"--out", "--workers", "--executor", "--shard", "--address", "--json"},
    "query": {"--table", "--csv", "--json"},
    "samples": {"--set", "--samples", "--noise", "--seed", *WRITTEN, "--json"},
    "scale": {"--devices", "--mode", "--set", "--pays", "--json", *WRITTEN},
    "compare": {"--set", "--vary", "--to", "--json", *WRITTEN},
    "sensitivity": {"--set", "--vary", "--factor", "--lever", "--json", *WRITTEN},
}
ARGUMENTS = {
    "run": ["scenario"],
    "memory": ["scenario"],
    "validate": ["more_rows"],
    "list": ["kind"],
    "check": ["file"],
    "show": ["cluster"],
    "schema": list[str](),
    "calibrate": list[str](),
    "plan": ["scenario"],
    "tradeoff": ["scenario"],
    "hardware": ["scenario"],
    "mfu": list[str](),
    "schedule": ["scenario"],
    "collective": ["kind"],
    "search": ["scenario"],
    "sweep": ["file"],
    "query": ["folder", "sql"],
    "samples": ["scenario"],
    "scale": ["scenario"],
    "compare": ["scenarios"],
    "sensitivity": ["scenario"],
}


COMMANDS = typer.main.get_command(app).commands


CALIBRATE = COMMANDS["calibrate"].commands
CALIBRATE_OPTIONS = {
    "stack": {"--parameter", "--rows", "--source", "--out", "--write", "--json"},
    "leave-one-out": {"--out", "--values", "--json"},
    "accelerator": {"--gemm", "--attention", "--memory", "--out", "--json"},
    "node": {"--out", "--json"},
}


def names(command: str, kind: str) -> list[str]:
    """Spellings of the options of a command, or the names of its arguments."""
    params = [p for p in COMMANDS[command].params if p.param_type_name == kind]
    return [spelling for param in params for spelling in param.opts]


def test_commands_are_frozen() -> None:
    assert COMMANDS.keys() == OPTIONS.keys()


@pytest.mark.parametrize("command", OPTIONS)
def test_options_are_frozen(command: str) -> None:
    """Everything else is --set; a new option is a decision."""
    assert set(names(command, "option")) == OPTIONS[command]


@pytest.mark.parametrize("command", ARGUMENTS)
def test_arguments_are_frozen(command: str) -> None:
    assert names(command, "argument") == ARGUMENTS[command]


def test_calibrate_is_frozen() -> None:
    found = {
        name: {
            spelling
            for param in command.params
            if param.param_type_name == "option"
            for spelling in param.opts
        }
        for name, command in CALIBRATE.items()
    }
    assert found == CALIBRATE_OPTIONS


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    code = f"import sys, simulator.cli; print(sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


def test_the_package_runs_as_a_module(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "simulator", "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=tmp_path,
        env={"PYTHONPATH": root},
    )
    assert done.stdout.count(".") == 2
