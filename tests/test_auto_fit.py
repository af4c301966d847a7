"""The largest microbatch that fits, against trying them one by one."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.auto_fit import fit_batch
from simulator.errors import NothingFitsError, PlanError, ScheduleError
from simulator.plan import num_microbatches
from simulator.scenario import Scenario, check
from simulator.simulate import memory_of, simulate
from simulator.spec.load import load_scenario, parse_scenario
from simulator.whatif.scaling import scale
from simulator.whatif.sensitivity import sensitivity
from tests.whatif.made import small

GROWS = ("training.global_batch_size=auto_fit", "training.micro_batch_size=auto_fit")
HELD = ("training.global_batch_size=256", "training.micro_batch_size=auto_fit")


def test_one_more_sequence_does_not_fit() -> None:
    found = small(*GROWS, "training.num_microbatches=2").scenario()
    size = found.training.micro_batch_size
    assert found.training.global_batch_size == 4 * 2 * size
    assert simulate(found).memory.fits
    larger = small(
        f"training.micro_batch_size={size + 1}", f"training.global_batch_size={8 * (size + 1)}"
    )
    assert not simulate(larger.scenario()).memory.fits


def test_a_held_batch_is_divided() -> None:
    """256 sequences on 4 replicas: the microbatch divides 64, and its double does not fit."""
    found = small(*HELD).scenario()
    size = found.training.micro_batch_size
    assert found.training.global_batch_size == 256
    assert 64 % size == 0
    assert simulate(found).memory.fits
    doubled = small("training.global_batch_size=256", f"training.micro_batch_size={2 * size}")
    assert not simulate(doubled.scenario()).memory.fits


def test_a_batch_that_fits_whole_is_one_microbatch() -> None:
    found = small("training.global_batch_size=8", "training.micro_batch_size=auto_fit").scenario()
    assert found.training.micro_batch_size == 2
    assert "no larger one divides" in found.assumptions[-1].source


def test_steps_and_a_share_of_the_memory() -> None:
    largest = small(*GROWS).scenario().training.micro_batch_size
    in_fours = small(*GROWS, "training.auto_fit.multiple_of=4").scenario().training
    assert in_fours.micro_batch_size == largest // 4 * 4
    less = small(*GROWS, "training.auto_fit.memory_share=0.8").scenario()
    memory = memory_of(less)
    assert memory.peak_bytes <= 0.8 * memory.capacity_bytes
    assert less.training.micro_batch_size < largest


def test_the_choice_is_among_the_assumptions_and_in_the_echo() -> None:
    report = simulate(small(*GROWS).scenario())
    size = small(*GROWS).scenario().training.micro_batch_size
    (note,) = (n for n in report.assumptions if n.name == "training.micro_batch_size")
    assert note.value == str(size)
    assert note.source.startswith(f"auto_fit: the largest that fits, {size + 1} needs ")
    again = parse_scenario(report.scenario)
    assert again.training.micro_batch_size == size
    assert again.auto_fit is None


def test_what_never_fits_says_so() -> None:
    with pytest.raises(NothingFitsError, match="not even micro_batch_size 1 fits: it needs"):
        small(*GROWS, "model.num_layers=400").scenario()


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["training.num_microbatches=2"], "beside global_batch_size"),
        (["training.auto_fit.multiple_of=2"], "no meaning with micro_batch_size"),
        ([*HELD, "training.auto_fit.multiple_of=3"], "no micro_batch_size that is a multiple of 3"),
    ],
)
def test_keys_that_contradict(overrides: list[str], problem: str) -> None:
    with pytest.raises(PlanError, match=problem):
        small(*overrides).scenario()


def test_a_given_microbatch_and_a_batch_that_follows() -> None:
    found = small(
        "training.global_batch_size=auto_fit",
        "training.micro_batch_size=2",
        "training.num_microbatches=3",
    ).scenario()
    assert found.training.global_batch_size == 4 * 3 * 2
    assert found.auto_fit is None


def test_microbatches_that_a_schedule_cannot_run_are_passed_over() -> None:
    """Interleaved stages need a multiple of pp = 8 microbatches: with 64 sequences 1, 2, 4, 8."""
    found = load_scenario(
        "gpt3-175b-a100-64",
        ["training.micro_batch_size=auto_fit", "training.recompute=full", "cluster.nodes=8"],
    )
    assert num_microbatches(found.training, found.plan) % found.plan.pp == 0


def test_sharded_states_leave_room_for_larger_microbatches() -> None:
    """ZeRO's super-linear speed-up: more replicas, less state on each, larger microbatches."""
    (found,) = scale(small("plan.sharding=zero3"), [1, 8, 64], ["largest"])
    sizes = [point.micro_batch_size for point in found.points]
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[0]


def test_sensitivity_fits_the_batch_again() -> None:
    """Twice the memory holds more sequences, which is what it is bought for."""
    found = sensitivity(small(*GROWS), factors=[2.0], levers=["memory_size"])
    (bar,) = found.bars
    assert bar.effects[0].report.memory.peak_bytes > found.base.memory.capacity_bytes


@settings(deadline=None, max_examples=15)
@given(
    layers=st.sampled_from([4, 12, 24]),
    recompute=st.sampled_from(["none", "full"]),
    sharding=st.sampled_from(["ddp", "zero2", "zero3"]),
    growing=st.booleans(),
)
def test_what_is_chosen_fits_and_the_next_does_not(
    layers: int, recompute: str, sharding: str, growing: bool
) -> None:
    """The next: one more sequence, or the next divisor of a replica's batch."""
    batch = GROWS if growing else HELD
    found = small(
        *batch,
        f"model.num_layers={layers}",
        f"training.recompute={recompute}",
        f"plan.sharding={sharding}",
    ).scenario()
    assert memory_of(found).fits
    size = found.training.micro_batch_size
    larger = size + 1 if growing else next((d for d in range(size + 1, 65) if 64 % d == 0), 0)
    if larger:
        batch_size = 4 * larger if growing else 256
        assert not memory_of(_sized(found, batch_size, larger)).fits
    assert fit_batch(found).training == found.training


def _sized(scenario: Scenario, batch: int, size: int) -> Scenario:
    training = replace(scenario.training, global_batch_size=batch, micro_batch_size=size)
    other = replace(scenario, training=training)
    try:
        check(other)
    except (PlanError, ScheduleError) as error:
        raise AssertionError("a larger microbatch keeps the rules here") from error
    return other
