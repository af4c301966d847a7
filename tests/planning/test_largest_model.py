"""The largest model that fits, against the memory report itself."""

from dataclasses import replace
from pathlib import Path

import pytest

from simulator.errors import PlanError
from simulator.planning.largest_model import deepest_model, largest_of
from simulator.scenario import Scenario
from simulator.simulate import memory_of
from simulator.spec.load import scenario_source
from simulator.spec.models import ModelInput, load_model


def small(*overrides: str) -> Scenario:
    """GPT-2 XL on 4 devices of one node."""
    return scenario_source("gpt2-xl-one-gpu", ["plan.dp=4", *overrides]).scenario(fit=False)


def test_one_more_layer_does_not_fit() -> None:
    scenario = small()
    found = deepest_model(scenario)
    assert found.largest is not None
    assert found.too_large is not None
    layers = found.largest.model.num_layers
    assert found.too_large.model.num_layers == layers + 1
    for count, fits in ((layers, True), (layers + 1, False)):
        deeper = replace(scenario, model=replace(scenario.model, num_layers=count))
        assert memory_of(deeper).fits is fits
    assert "pipeline rank 0, most of it" in found.limit


def test_layers_grow_by_stages() -> None:
    found = deepest_model(small("plan.dp=1", "plan.pp=4", "model.num_layers=48"))
    assert found.largest is not None
    assert found.largest.model.num_layers % 4 == 0
    assert found.varied.startswith("layers, in steps of 4")


def test_sharding_holds_larger_models() -> None:
    sizes = [
        found.largest.parameters
        for policy in ("ddp", "zero1", "zero2", "zero3")
        if (found := deepest_model(small(f"plan.sharding={policy}"))).largest is not None
    ]
    assert sizes == sorted(set(sizes))


def test_a_fitted_microbatch_shrinks_to_one() -> None:
    """auto_fit gives way: the largest model has one sequence per microbatch."""
    fitted = deepest_model(
        small("training.global_batch_size=auto_fit", "training.micro_batch_size=auto_fit")
    )
    given = deepest_model(small("training.global_batch_size=4", "training.micro_batch_size=1"))
    assert fitted.largest is not None
    assert given.largest is not None
    assert fitted.largest.model == given.largest.model
    assert fitted.largest.micro_batch_size == 1


def test_a_share_of_the_memory() -> None:
    batch = ("training.global_batch_size=auto_fit", "training.micro_batch_size=auto_fit")
    found = deepest_model(small(*batch, "training.auto_fit.memory_share=0.5"))
    assert found.largest is not None
    memory = found.largest.memory
    assert memory.peak_bytes <= 0.5 * memory.capacity_bytes


def test_the_largest_of_some_shapes() -> None:
    names = ("llama2-70b", "llama2-7b", "llama2-13b", "gpt3-175b")
    shapes = [load_model(ModelInput(preset=name), "test", Path())[0] for name in names]
    scenario = scenario_source("llama2-7b-fsdp").scenario()
    found = largest_of(scenario, shapes)
    assert found.largest is not None
    assert found.too_large is not None
    assert (found.largest.model.name, found.too_large.model.name) == ("llama2-7b", "llama2-13b")
    assert [name for name, _ in found.left_out] == ["gpt3-175b"]  # 2,048 positions, 4,096 tokens


def test_nothing_fits() -> None:
    found = deepest_model(small("training.micro_batch_size=512", "training.global_batch_size=2048"))
    assert found.largest is None
    assert found.too_large is not None


def test_a_split_that_is_given_cannot_grow() -> None:
    with pytest.raises(PlanError, match="fixes the number of layers"):
        deepest_model(small("plan.layers_per_stage=[48]"))
