"""What cannot be searched is an error, not a wrong answer."""

import pytest

from simulator.errors import PlanError
from simulator.search.supported import check_searchable
from simulator.spec.load import load_scenario


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["training.fine_tuning=lora"], "adapters"),
        (["training.optimizer=apollo"], "optimizer apollo"),
        (["training.activation_keep_ratio=0.3"], "sampled"),
        (["training.gradient_release=layerwise", "training.global_batch_size=8"], "layer by layer"),
        (["training.global_batch_size=auto_fit", "training.micro_batch_size=auto_fit"], "follows"),
    ],
)
def test_what_is_not_searched(overrides: list[str], problem: str) -> None:
    scenario = load_scenario("gpt2-xl-one-gpu", ["training.micro_batch_size=8", *overrides])
    with pytest.raises(PlanError, match=problem):
        check_searchable(scenario)


def test_a_held_batch_is() -> None:
    check_searchable(load_scenario("gpt2-xl-one-gpu", ["training.micro_batch_size=auto_fit"]))
