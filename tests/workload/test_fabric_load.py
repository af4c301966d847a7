from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.fabric.fair import Incidence, fair_rates
from simulator.workload.fabric_load import fabric_load
from simulator.workload.op import Flow


def test_links_that_all_flows_at_once_leave_room_on_are_left_out() -> None:
    # Link 7 is asked for 0.5 + 0.5, which it has; link 9 for 0.5 + 0.75.
    found = fabric_load({0: [{0: ((7, 0.5), (9, 0.5))}], 1: [{0: ((7, 0.5), (9, 0.75))}]})
    assert found.links == (9,)
    assert found.asked == (1.25,)
    assert found.only(((7, 0.5), (9, 0.75))) == ((0, 0.75),)


def test_what_a_device_does_one_after_another_is_not_asked_at_once() -> None:
    # One stream of device 5: 0.75 and then 0.5. Never more than 1 at a time.
    after_another = {0: [{5: ((3, 0.75),)}, {5: ((3, 0.5), (4, 0.1))}]}
    assert fabric_load(after_another).links == ()
    assert fabric_load({**after_another, 1: [{5: ((3, 0.5),)}]}).asked == (1.25,)


def test_devices_of_a_stream_may_be_at_different_messages() -> None:
    """In step no more than 0.75 is asked; out of step device 0 takes 0.75 while 1 takes 0.5."""
    found = fabric_load({0: [{0: ((3, 0.75),), 1: ()}, {0: (), 1: ((3, 0.5),)}]})
    assert found.links == (3,)
    assert found.asked == (0.75,)


def test_of_links_only_those_stay_that_can_fill_first() -> None:
    # Of link 1 both flows take as much as of link 2 or less; link 3 is more than 2 for one of them.
    flows: list[Flow] = [((1, 0.6), (2, 0.9), (3, 0.8)), ((1, 0.6), (2, 0.6), (3, 0.7))]
    found = fabric_load({0: [dict(enumerate(flows))]})
    assert found.links == (2, 3)
    assert found.num_full == 3


@given(
    st.lists(
        st.dictionaries(st.integers(0, 6), st.sampled_from([0.25, 0.5, 1.0, 2.0]), min_size=1),
        min_size=1,
        max_size=6,
    )
)
@settings(deadline=None)
def test_rates_are_the_same_without_the_links_that_are_left_out(
    loads: list[dict[int, float]],
) -> None:
    flows: list[Flow] = [tuple(sorted(own.items())) for own in loads]
    found = fabric_load({0: [dict(enumerate(flows))]})

    def rates(chosen: list[Flow], links: int) -> list[float]:
        ones = np.ones(len(chosen))
        return fair_rates(Incidence.of(chosen), np.ones(links), ones, ones).rate.tolist()

    kept = [found.only(flow) for flow in flows]
    assert rates(kept, len(found.links)) == pytest.approx(rates(flows, 7))
