from pathlib import Path

import pytest

from simulator.errors import TrainsimError
from simulator.spec.sweep import given_value, load_sweep

GOOD = """
scenario: gpt2-xl-one-gpu
axes: {training.micro_batch_size: [1, 2]}
derive: {training.global_batch_size: training.micro_batch_size * 4}
constraints: ["training.micro_batch_size > 1"]
metrics: [mfu]
"""


def loaded(folder: Path, text: str):
    path = folder / "plans.yaml"
    path.write_text(text, encoding="utf-8")
    return load_sweep(path)


def test_a_whole_file(tmp_path: Path) -> None:
    sweep = loaded(tmp_path, GOOD)
    assert sweep.name == "plans"
    assert sweep.base["name"] == "gpt2-xl-one-gpu"
    assert sweep.axes == {"training.micro_batch_size": (1, 2)}
    assert sweep.derive["training.global_batch_size"].names == ("training.micro_batch_size",)
    assert [one.text for one in sweep.constraints] == ["training.micro_batch_size > 1"]
    assert sweep.metrics == ("mfu",)


def test_a_scenario_lies_beside_the_sweep_or_in_it(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("model: gpt2-xl\n", encoding="utf-8")
    sweep = loaded(tmp_path, GOOD.replace("gpt2-xl-one-gpu", "job.yaml"))
    assert sweep.base == {"name": "job", "model": "gpt2-xl"}
    assert sweep.base_dir == tmp_path
    inside = loaded(tmp_path, GOOD.replace("gpt2-xl-one-gpu", "{model: gpt2-xl}"))
    assert inside.base == {"name": "plans", "model": "gpt2-xl"}


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("axes:", "axis:", "did you mean 'axes'"),
        ("metrics:", "metric:", "did you mean 'metrics'"),
        ("[1, 2]", "[]", r"'training.micro_batch_size' holds no values\n  at .*: axes.training"),
        ("[1, 2]", "[2, 1, 2]", "holds 2 twice"),
        ("{training.micro_batch_size: [1, 2]}", "{}", r"'axes' holds no values\n  at .*: axes"),
        ("{training.micro", "{training..micro", "not the path of a value"),
        ("gpt2-xl-one-gpu", "gpt2-xl-two-gpus", "no shipped scenario"),
        ("size * 4", "size ** 4", "derive.training.global_batch_size"),
        ("size > 1", "size > print(1)", r"constraints\[0\]"),
        ("derive: {training.global", "derive: {training.micro", "is an axis and derived"),
    ],
)
def test_mistakes_are_told_with_their_place(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    assert before in GOOD
    with pytest.raises(TrainsimError) as caught:
        loaded(tmp_path, GOOD.replace(before, after))
    import re

    assert re.search(message, str(caught.value)), str(caught.value)


def test_values_of_a_scenario() -> None:
    data = {"plan": {"tp": 8}, "training": {"recompute": "full"}, "stack": {"preset": "ideal"}}
    assert given_value(data, "plan.tp") == 8
    assert given_value(data, "plan.pp") == 1  # its default
    assert given_value(data, "training.recompute.mode") == "full"
    assert given_value({}, "training.recompute.mode") == "none"
    assert given_value({}, "training.micro_batch_size") == 1
    for path in ("plan.dp", "plan", "plan.tp.x", "training.recompute.num_layers", "what"):
        with pytest.raises(TrainsimError, match="has no value here"):
            given_value(data, path)
