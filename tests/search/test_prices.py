"""Prices in columns against those of one scenario at a time."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from simulator.machine import GroupLink
from simulator.plan import Recompute, process_group
from simulator.scenario import Scenario
from simulator.schedule.action import Phase
from simulator.search.enumeration import enumerate_candidates
from simulator.search.prices import Branch, Policy, Prices, stacked_links
from simulator.search.space import RECOMPUTE_MODES, Space
from simulator.step import stage_pricer
from simulator.topology import Topology
from simulator.workload.stage import StageKind

KIND = StageKind(4, has_embedding=True, has_output=False)


@pytest.fixture
def prices(tiny: Scenario) -> Prices:
    candidates = enumerate_candidates(tiny, Space(8, schedules=("1f1b", "zb-h1"))).candidates
    return Prices.of(tiny, 8, candidates)


@pytest.mark.parametrize("has_tp", [False, True])
@pytest.mark.parametrize("mode", range(len(RECOMPUTE_MODES)))
@pytest.mark.parametrize("splits", [False, True])
def test_a_column_is_the_price_of_its_scenario(
    tiny: Scenario, prices: Prices, has_tp: bool, mode: int, splits: bool
) -> None:
    branch = Branch(has_tp, sequence_parallel=has_tp, overlap_tp=False, splits=splits)
    found = prices.pass_seconds(KIND, branch, mode, 0)
    for spot, (tp, micro, _) in enumerate(prices.spots.tolist()):
        if (tp > 1) is not has_tp:
            assert np.isnan(found[:, :, spot]).all()
            continue
        scenario = replace(
            tiny,
            plan=replace(tiny.plan, tp=tp, dp=8 // tp, sequence_parallel=has_tp),
            training=replace(
                tiny.training,
                micro_batch_size=micro,
                recompute=Recompute(RECOMPUTE_MODES[mode]),
            ),
        )
        pricer = stage_pricer(scenario, Topology.of(tiny.cluster), splits_backward=splits)
        for phase in Phase if splits else (Phase.F, Phase.B):
            cost = pricer.cost(KIND, phase)
            own = (cost.compute_s, cost.recompute_s, cost.overhead_s, cost.tp_comm_s)
            assert found[phase, :, spot].tolist() == list(own)


def test_answers_are_kept(prices: Prices) -> None:
    branch = Branch(has_tp=False, sequence_parallel=False, overlap_tp=False, splits=False)
    assert prices.pass_seconds(KIND, branch, 0, 0) is prices.pass_seconds(KIND, branch, 0, 0)
    # Equal policies are one policy, whichever row of candidates they come from.
    assert prices.costs(2, 2, Policy(1, 1)) is prices.costs(2, 2, Policy(1, 1))
    assert prices.costs(2, 2, Policy(1, 1)) is not prices.costs(2, 2, Policy(1, 0))


def test_every_candidate_has_the_spot_of_its_tp_and_microbatch(tiny: Scenario) -> None:
    candidates = enumerate_candidates(tiny, Space(8, max_micro_batch_size=4)).candidates
    prices = Prices.of(tiny, 8, candidates)
    own = prices.spots[prices.spot]
    assert (own[:, 0] == candidates.tp).all()
    assert (own[:, 1] == candidates.micro_batch_size).all()


def test_a_stacked_link_is_a_column_per_link(tiny: Scenario) -> None:
    topology = Topology.of(tiny.cluster)
    links = [
        topology.group_link(process_group(replace(tiny.plan, tp=tp, dp=8 // tp), "tp"), num_ranks=8)
        for tp in (2, 4)
    ]
    stacked = stacked_links(links)
    assert stacked.algorithms == links[0].algorithms
    for field in fields(GroupLink):
        if field.name == "algorithms":
            continue
        own = [float(getattr(link, field.name)) for link in links]
        assert getattr(stacked, field.name).tolist() == own, field.name
