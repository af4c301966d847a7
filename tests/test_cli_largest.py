"""``trainsim memory --largest`` and ``auto_fit`` on the command line."""

import json

import pytest
from typer.testing import CliRunner

from simulator.cli import app
from simulator.console import BAD_INPUT, DOES_NOT_FIT

RUN = CliRunner()


def test_the_deepest_model_as_text() -> None:
    done = RUN.invoke(app, ["memory", "zero-100b", "--largest"])
    assert done.exit_code == 0
    assert done.stdout.startswith("largest model: ")
    assert "limited by: " in done.stdout
    assert "does NOT fit" in done.stdout


def test_the_deepest_model_as_data() -> None:
    done = RUN.invoke(app, ["memory", "gpt2-xl-one-gpu", "--largest", "--json"])
    record = json.loads(done.stdout)
    assert record["largest"]["fits"] is True
    assert record["too_large"]["fits"] is False
    assert record["largest"]["num_parameters"] < record["too_large"]["num_parameters"]
    assert sum(record["largest"]["terms_bytes"].values()) == pytest.approx(
        record["largest"]["peak_bytes"]
    )


def test_shapes_by_name() -> None:
    wanted = ["memory", "llama2-7b-fsdp", "--largest", "--shapes", "llama2-7b, llama2-70b"]
    done = RUN.invoke(app, wanted)
    assert "llama2-7b with 32 layers" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--shapes", "llama2-7b"], BAD_INPUT, "without --largest"),
        (["--largest", "--shapes", "llama2-8b"], BAD_INPUT, "did you mean"),
        (
            ["--set", "training.micro_batch_size=auto_fit", "--set", "model.num_layers=4000"],
            DOES_NOT_FIT,
            "not even micro_batch_size 1 fits",
        ),
        (["--set", "training.micro_batch_size=fit"], BAD_INPUT, "micro_batch_size"),
    ],
)
def test_what_is_wrong(arguments: list[str], code: int, message: str) -> None:
    done = RUN.invoke(app, ["memory", "gpt2-xl-one-gpu", *arguments])
    assert done.exit_code == code
    assert message in done.output


@pytest.mark.parametrize("verb", ["run", "memory", "check"])
def test_a_fitted_microbatch_in_every_verb(verb: str) -> None:
    name = "llama2-7b-lora" if verb != "check" else "scenarios/llama2-7b-lora.yaml"
    done = RUN.invoke(app, [verb, name])
    assert done.exit_code == 0, done.output


def test_compare_fits_each() -> None:
    done = RUN.invoke(
        app, ["compare", "llama2-7b-lora", "--vary", "training.fine_tuning.method=lora,qlora"]
    )
    assert done.exit_code == 0, done.output
    assert "method=qlora" in done.stdout
