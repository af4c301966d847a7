import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simpy import Environment, Event

from simulator.engine.resource import FairShare

ROUNDING = 1e-9
"""The fluid reference below accumulates its rounding over up to 24 steps of up to 10 s."""

seconds = st.floats(1e-3, 10.0)


def serve(flows: list[tuple[float, float]]) -> list[float]:
    """End of every flow (arrival, demand) on one resource."""
    env = Environment()
    share = FairShare(env)
    ends = [0.0] * len(flows)

    def flow(number: int, arrival_s: float, demand_s: float):
        yield env.timeout(arrival_s)
        yield share.serve(demand_s)
        ends[number] = env.now

    for number, (arrival_s, demand_s) in enumerate(flows):
        env.process(flow(number, arrival_s, demand_s))
    env.run()
    return ends


def fluid(flows: list[tuple[float, float]]) -> list[float]:
    """The same by stepping from one change to the next with all remaining demands in hand."""
    left = [demand_s for _, demand_s in flows]
    ends = [0.0] * len(flows)
    now = 0.0
    waiting = set(range(len(flows)))
    present: set[int] = set()
    while waiting or present:
        arrival_s = min((flows[f][0] for f in waiting), default=np.inf)
        finish_s = min((now + left[f] * len(present) for f in present), default=np.inf)
        then = min(arrival_s, finish_s)
        for f in present:
            left[f] -= (then - now) / len(present)
        now = then
        if finish_s <= arrival_s:
            done = min(present, key=lambda f: left[f])
            present.remove(done)
            ends[done] = now
        else:
            arrived = {f for f in waiting if flows[f][0] <= now}
            waiting -= arrived
            present |= arrived
    return ends


@pytest.mark.parametrize("k", [1, 2, 7])
def test_equal_flows_begun_together_end_together(k: int) -> None:
    # k flows of 3 s at a rate of 1/k each: all end at 3 k.
    assert serve([(0.0, 3.0)] * k) == [3.0 * k] * k


def test_staggered_flows_by_hand() -> None:
    # A (4 s) alone 0-1: 3 left. B (1 s) comes at 1, C (1 s) at 2. 1-2: A 2.5, B 0.5 left.
    # Thirds from 2: B needs 1.5 s, until 3.5: A 2, C 0.5 left. Halves: C until 4.5, A 1.5 left.
    # A alone until 6 = 4 + 1 + 1: no time is lost.
    assert serve([(0.0, 4.0), (1.0, 1.0), (2.0, 1.0)]) == pytest.approx([6.0, 3.5, 4.5], rel=1e-15)


def test_a_flow_that_ends_as_another_comes_is_not_delayed() -> None:
    assert serve([(1.0, 1.0), (0.0, 1.0)]) == [2.0, 1.0]


def test_an_idle_resource_starts_afresh_to_the_last_bit() -> None:
    # With 0.3 s of virtual time left over, rounding would give 5.6000000000000005.
    assert serve([(0.0, 0.3), (1.7, 3.9)]) == [0.3, 1.7 + 3.9]


def test_rounding_never_asks_for_a_negative_delay() -> None:
    # Three flows end at 91 + 3 * 0.3, where 91.9 - 91 rounds to more than 0.9.
    ends = serve([(91.0, 0.3)] * 3 + [(91.9, 1.0)])
    assert ends == pytest.approx([91.9, 91.9, 91.9, 92.9], rel=1e-15)


def test_a_flow_without_demand_ends_at_once() -> None:
    assert serve([(0.0, 2.0), (1.0, 0.0)]) == [2.0, 1.0]


@given(st.lists(seconds, min_size=1, max_size=12))
@settings(deadline=None)
def test_work_is_conserved(demands: list[float]) -> None:
    ends = serve([(0.0, demand_s) for demand_s in demands])
    assert max(ends) == pytest.approx(sum(demands), rel=ROUNDING)
    assert np.argsort(ends, kind="stable").tolist() == np.argsort(demands, kind="stable").tolist()


@given(st.lists(st.tuples(seconds, seconds), min_size=1, max_size=12))
@settings(deadline=None)
def test_follows_the_fluid_model(flows: list[tuple[float, float]]) -> None:
    assert serve(flows) == pytest.approx(fluid(flows), rel=ROUNDING)


def test_flows_cost_a_constant_number_of_events() -> None:
    # A timer per flow and change would make this some 200 events per flow.
    env = Environment()
    share = FairShare(env)
    flows = 200
    done: list[Event] = [share.serve(1.0 + number / flows) for number in range(flows)]
    events = 0
    while not all(event.processed for event in done):
        env.step()
        events += 1
    assert events <= 3 * flows  # the timer set on arrival, the timer of the end, the event itself
