"""Max-min fair rates: by hand, by certificate, against an independent linear program."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from simulator.fabric.fair import Incidence, Loads, fair_rates, few_fair_rates
from simulator.fabric.sharing import FEW, Sharing
from simulator.numeric import FloatArray

NUM_LINKS = 6
CLOSE = 1e-7
"""Of a rate; the linear program is solved to 1e-9 and its levels add up over a few rounds."""


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Loads], FloatArray, FloatArray, FloatArray]:
    """Flows, room, weights and limits."""
    count = draw(st.integers(1, 8))
    link = st.integers(0, NUM_LINKS - 1)
    share = st.sampled_from([1.0, 1.0, 0.5, 2.0])
    flows = [
        list(draw(st.dictionaries(link, share, min_size=1, max_size=4)).items())
        for _ in range(count)
    ]
    number = st.sampled_from([1.0, 2.0, 3.0, 5.0, 7.5, 10.0])
    room = np.array(draw(st.lists(number, min_size=NUM_LINKS, max_size=NUM_LINKS)))
    weight = np.array(
        draw(st.lists(st.sampled_from([1.0, 2.0, 0.5]), min_size=count, max_size=count))
    )
    limits = st.sampled_from([np.inf, np.inf, 0.7, 2.0])
    limit = np.array(draw(st.lists(limits, min_size=count, max_size=count)))
    return flows, room, weight, limit


def loads_of(flows: list[Loads], rate: FloatArray) -> FloatArray:
    loads = np.zeros(NUM_LINKS)
    for loaded, one in zip(flows, rate, strict=True):
        for link, share in loaded:
            loads[link] += share * one
    return loads


def by_linear_programs(
    flows: list[Loads], room: FloatArray, weight: FloatArray, limit: FloatArray
) -> FloatArray:
    """Lexicographic maximisation: raise the level of all, then fix whoever cannot rise further."""
    count = len(flows)
    matrix = np.zeros((NUM_LINKS, count + 1))  # The last variable is the level.
    for flow, loads in enumerate(flows):
        for link, share in loads:
            matrix[link, flow] += share
    fixed: dict[int, float] = {}

    def most(variable: int, floor: float) -> float:
        """The largest value of a variable, with every free flow at the level or above."""
        free = [flow for flow in range(count) if flow not in fixed]
        above = np.zeros((len(free), count + 1))
        above[range(len(free)), free] = -1.0
        above[:, count] = weight[free]
        bounds = [
            (fixed[flow], fixed[flow]) if flow in fixed else (0.0, min(limit[flow], 1e3))
            for flow in range(count)
        ]
        done = linprog(
            -np.eye(count + 1)[variable],
            A_ub=np.vstack([matrix, above]),
            b_ub=np.concatenate([room * (1 + 1e-11), np.zeros(len(free))]),
            bounds=[*bounds, (floor, 1e3)],
        )
        assert done.success, done.message
        return float(done.x[variable])

    while len(fixed) < count:
        level = most(count, 0.0)
        free = [flow for flow in range(count) if flow not in fixed]
        tight = [f for f in free if most(f, level * (1 - 1e-10)) <= weight[f] * level * (1 + 1e-7)]
        assert tight
        fixed |= {flow: weight[flow] * level for flow in tight}
    return np.array([fixed[flow] for flow in range(count)])


def rates_of(case: tuple[list[Loads], FloatArray, FloatArray, FloatArray]) -> FloatArray:
    flows, room, weight, limit = case
    return fair_rates(Incidence.of(flows), room, weight, limit).rate


def test_three_flows_by_hand() -> None:
    """Links of 10 and 4; A on both, B on the first, C on the second.

    The second fills at 4 / 2 = 2: A and C get 2; B gets 10 - 2 = 8.
    """
    flows: list[Loads] = [[(0, 1.0), (1, 1.0)], [(0, 1.0)], [(1, 1.0)]]
    found = fair_rates(Incidence.of(flows), np.array([10.0, 4.0]), np.ones(3), np.full(3, np.inf))
    assert found.rate.tolist() == [2.0, 8.0, 2.0]
    assert found.rounds == 2  # the second link, then what is left of the first
    assert found.entries == 4 + 1


def test_weights_limits_and_shares_by_hand() -> None:
    """A link of 12: weights 1 and 2; the second cannot take more than 3; the third loads it twice.

    All grow until level 1.5, where the second has its 3: 12 - 3 = 9 remain for 1 + 2 times the
    level, so 3 for the first and third, which loads the link by 6.
    """
    flows: list[Loads] = [[(0, 1.0)], [(0, 1.0)], [(0, 2.0)]]
    weight, limit = np.array([1.0, 2.0, 1.0]), np.array([np.inf, 3.0, np.inf])
    found = fair_rates(Incidence.of(flows), np.array([12.0]), weight, limit)
    assert found.rate.tolist() == [3.0, 3.0, 3.0]


def test_a_flow_without_links_takes_its_limit() -> None:
    found = fair_rates(Incidence.of([[], []]), np.ones(1), np.ones(2), np.array([np.inf, 5.0]))
    assert found.rate.tolist() == [np.inf, 5.0]
    assert few_fair_rates({7: []}, {}, {7: 1.0}, {7: 5.0}) == {7: 5.0}


@settings(deadline=None)
@given(cases())
def test_no_link_is_above_its_capacity(
    case: tuple[list[Loads], FloatArray, FloatArray, FloatArray],
) -> None:
    assert np.all(loads_of(case[0], rates_of(case)) <= case[1] * (1 + CLOSE))


@settings(deadline=None)
@given(cases())
def test_every_flow_has_a_full_link_on_which_it_is_a_largest(
    case: tuple[list[Loads], FloatArray, FloatArray, FloatArray],
) -> None:
    """The certificate of max-min fairness; with it no link on a flow's way is left idle, either."""
    flows, room, weight, limit = case
    rate = rates_of(case)
    full = loads_of(flows, rate) >= room * (1 - CLOSE)
    for flow, loads in enumerate(flows):
        if rate[flow] >= limit[flow] * (1 - CLOSE):
            continue
        level = rate[flow] / weight[flow]
        assert any(
            full[link]
            and all(
                rate[other] / weight[other] <= level * (1 + CLOSE)
                for other, others in enumerate(flows)
                if link in dict(others)
            )
            for link, _ in loads
        )


@settings(deadline=None, max_examples=40)
@given(cases())
def test_a_linear_program_finds_the_same_rates(
    case: tuple[list[Loads], FloatArray, FloatArray, FloatArray],
) -> None:
    # 1e-5: levels of the programs add their tolerances of 1e-7 over up to 8 rounds.
    assert rates_of(case) == pytest.approx(by_linear_programs(*case), rel=1e-5)


@settings(deadline=None)
@given(cases())
def test_few_flows_get_the_rates_of_many(
    case: tuple[list[Loads], FloatArray, FloatArray, FloatArray],
) -> None:
    flows, room, weight, limit = case
    few = few_fair_rates(
        dict(enumerate(flows)),
        dict(enumerate(room.tolist())),
        dict(enumerate(weight.tolist())),
        dict(enumerate(limit.tolist())),
    )
    assert [few[i] for i in range(len(flows))] == pytest.approx(rates_of(case).tolist(), rel=1e-9)


@settings(deadline=None)
@given(cases(), st.data())
def test_rates_kept_up_to_date_are_those_computed_anew(
    case: tuple[list[Loads], FloatArray, FloatArray, FloatArray], data: st.DataObject
) -> None:
    flows, room, weight, limit = case
    sharing = Sharing(room)
    under_way: list[int] = []
    for flow in data.draw(st.permutations(range(len(flows)))):
        sharing.add(flow, flows[flow], weight=weight[flow], limit=limit[flow])
        under_way.append(flow)
        if data.draw(st.booleans()):
            sharing.settle()
        if len(under_way) > 1 and data.draw(st.booleans()):
            gone = data.draw(st.sampled_from(under_way))
            sharing.remove(gone)
            under_way.remove(gone)
        sharing.settle()
        anew = fair_rates(
            Incidence.of([flows[i] for i in under_way]), room, weight[under_way], limit[under_way]
        )
        kept = [sharing.rate(i) for i in under_way]
        assert kept == pytest.approx(anew.rate.tolist(), rel=1e-8)


@pytest.mark.parametrize("count", [20, 3 * FEW])
def test_priorities_are_strict(count: int) -> None:
    """A link of 9: those that go first share it up to their limit of 0.1, the others the rest."""
    sharing = Sharing(np.array([9.0]))
    for flow in range(count):
        sharing.add(flow, [(0, 1.0)], priority=flow % 2, limit=0.1 if flow % 2 == 0 else np.inf)
    sharing.settle()
    rest = (9.0 - count / 2 * 0.1) / (count / 2)
    for flow in range(count):
        assert sharing.rate(flow) == pytest.approx(rest if flow % 2 else 0.1)
    for flow in range(1, count, 2):
        sharing.remove(flow)
    sharing.settle()
    sharing.add(count, [(0, 1.0)], priority=-1)  # before all of them, and nothing bounds it
    changed = sharing.settle()
    assert sharing.rate(count) == 9.0
    assert all(sharing.rate(flow) == 0.0 for flow in range(0, count, 2))
    assert len(changed) == count // 2 + 1


def test_many_changes_at_once_are_solved_as_a_whole() -> None:
    rng = np.random.default_rng(0)
    room = rng.uniform(1, 10, 40)
    flows: list[Loads] = [
        [(int(link), 1.0) for link in rng.choice(40, 4, replace=False)] for _ in range(5 * FEW)
    ]
    sharing = Sharing(room)
    for flow, loads in enumerate(flows):
        sharing.add(flow, loads)
    sharing.settle()
    assert sharing.work.whole == 1
    for gone in range(0, len(flows), 2):
        sharing.remove(gone)
        if gone % 3 == 0:
            sharing.settle()
    sharing.settle()
    kept = flows[1::2]
    anew = fair_rates(Incidence.of(kept), room, np.ones(len(kept)), np.full(len(kept), np.inf)).rate
    assert [sharing.rate(i) for i in range(1, len(flows), 2)] == pytest.approx(anew, rel=1e-8)


@settings(deadline=None)
@given(cases(), st.data())
def test_priorities_kept_up_to_date_are_classes_solved_one_after_the_other(
    case: tuple[list[Loads], FloatArray, FloatArray, FloatArray], data: st.DataObject
) -> None:
    flows, room, weight, limit = case
    count = len(flows)
    priority = np.array(data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)))
    sharing = Sharing(room)
    under_way: list[int] = []
    for flow in data.draw(st.permutations(range(count))):
        own = {"weight": weight[flow], "limit": limit[flow], "priority": int(priority[flow])}
        sharing.add(flow, flows[flow], **own)
        under_way.append(flow)
        sharing.settle()
        if len(under_way) > 1 and data.draw(st.booleans()):
            gone = data.draw(st.sampled_from(under_way))
            sharing.remove(gone)
            under_way.remove(gone)
            sharing.settle()
    left = room.copy()
    for one in range(3):
        among = [flow for flow in under_way if priority[flow] == one]
        loads = [flows[flow] for flow in among]
        rate = fair_rates(Incidence.of(loads), left, weight[among], limit[among]).rate
        # Absolute: what others leave of a full link is rounding of its capacity of up to 10.
        assert [sharing.rate(f) for f in among] == pytest.approx(rate.tolist(), rel=1e-7, abs=1e-7)
        left = np.maximum(left - loads_of(loads, rate), 0.0)
