"""The largest microbatch that fits, against trying them one by one."""

import pytest

from simulator.errors import PlanError
from simulator.simulate import simulate
from simulator.whatif.largest import largest_micro_batch
from simulator.whatif.scaling import scale
from tests.whatif.made import small


def test_one_more_sequence_does_not_fit() -> None:
    found = largest_micro_batch(small(), 4)
    size = found.training.micro_batch_size
    assert found.training.global_batch_size == 4 * size
    assert simulate(found).memory.fits
    larger = small(
        f"training.micro_batch_size={size + 1}", f"training.global_batch_size={4 * (size + 1)}"
    )
    assert not simulate(larger.scenario()).memory.fits


def test_what_never_fits_says_so() -> None:
    with pytest.raises(PlanError, match="not even with micro_batch_size 1"):
        largest_micro_batch(small("model.num_layers=400"), 4)


def test_sharded_states_leave_room_for_larger_microbatches() -> None:
    """ZeRO's super-linear speed-up: more replicas, less state on each, larger microbatches."""
    (found,) = scale(small("plan.sharding=zero3"), [1, 8, 64], ["largest"])
    sizes = [point.micro_batch_size for point in found.points]
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[0]
