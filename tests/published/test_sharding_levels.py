"""Published comparisons of sharding policies: ZeRO++ on DGX-2, three levels on Frontier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pytest

from simulator.cost.collective import collective_s
from simulator.report.report import Report
from simulator.simulate import simulate
from simulator.spec.load import load_scenario
from simulator.step import build_step

RATIO: Final = 0.15
"""Bar of the published ratios; the network of either machine is known to about 10 %."""


def runs(
    scenario: str, policies: Sequence[str], overrides: Sequence[str] = ()
) -> Mapping[str, Report]:
    return {
        policy: simulate(load_scenario(scenario, [*overrides, f"plan.sharding={policy}"]))
        for policy in policies
    }


def test_the_log_of_zeropp() -> None:
    """DeepSpeed, docs/_tutorials/zeropp.md: 9,955.9 ms and 3,680.6 ms; 8.09 and 10.02 GB.

    The adapter is an independent figure (see the scenario); step times come out 11 % and 15 % long
    with it.
    """
    found = runs("gpt-18b-zeropp", ["zero3", "zero++"])
    ratio = found["zero3"].step_time_s / found["zero++"].step_time_s
    assert ratio == pytest.approx(9.9559 / 3.6806, rel=RATIO)
    for policy, seconds in (("zero3", 9.9559), ("zero++", 3.6806)):
        assert found[policy].step_time_s == pytest.approx(seconds, rel=0.2)
    # The second copy over 16 ranks takes 2 Psi / 16; 1.93 GB were measured.
    added = found["zero++"].memory.peak_bytes - found["zero3"].memory.peak_bytes
    assert added == pytest.approx(2 * 18.4e9 / 16, rel=0.03)
    assert added == pytest.approx((10.02 - 8.09) * 1e9, rel=0.25)


def test_hidden_communication_brackets_the_log() -> None:
    """With all of it hidden ZeRO-3 takes 2 % less than measured, and the ratio is 3.1."""
    found = runs("gpt-18b-zeropp", ["zero3", "zero++"], ["plan.overlap.dp=true"])
    hidden = found["zero3"].step_time_s / found["zero++"].step_time_s
    exposed = runs("gpt-18b-zeropp", ["zero3", "zero++"])
    assert exposed["zero3"].step_time_s / exposed["zero++"].step_time_s < 2.70 < hidden
    assert found["zero3"].step_time_s == pytest.approx(9.9559, rel=0.05)


def test_each_part_of_zeropp_saves_its_share() -> None:
    """qwZ halves two of three volumes, hpZ drops one, qgZ quarters one (arXiv 2306.10209)."""
    found = runs("gpt-18b-zeropp", ["zero3", "zero3-qwz", "zero3-hpz", "zero3-qgz", "zero++"])
    seconds = {policy: report.step_time_s for policy, report in found.items()}
    parts = [seconds[f"zero3-{part}"] for part in ("qwz", "hpz", "qgz")]
    assert seconds["zero++"] < min(parts)
    assert max(parts) < seconds["zero3"]


FIGURES: Final = {
    # adapters, tokens per GPU: ZeRO-3, ZeRO++
    (1, 1024): (11, 22),
    (1, 2048): (20, 38),
    (4, 1024): (23, 36),
    (4, 2048): (36, 50),
}
"""TFLOP/s per GPU of 384 V100: deepspeedai/DeepSpeed, blogs/zeropp, eval1.png and eval2.png.

ZeRO-3 is that of the 91B and 49B models, ZeRO++ that of 138B; within each the figure names no
dependence on the model.
"""


def large(adapters: int, tokens: int) -> Mapping[str, float]:
    """Step times of 138B parameters, as 76 layers of 12,288: the dimensions are not published."""
    shape = (
        "model.num_layers=76",
        "model.hidden_size=12288",
        "model.num_attention_heads=96",
        f"model.max_position_embeddings={tokens}",
        f"training.seq_length={tokens}",
        "training.global_batch_size=384",
        "plan.dp=384",
        "cluster.num_nodes.value=24",
        f"cluster.node.nics.count.value={adapters}",
    )
    found = runs("gpt-18b-zeropp", ["zero3", "zero++"], shape)
    return {policy: report.step_time_s for policy, report in found.items()}


def test_zeropp_gains_more_where_the_network_is_slow() -> None:
    """Its gain at 100 and at 400 Gb/s, and its speed at 100 against that of ZeRO-3 at 400."""
    steps = {case: large(*case) for case in FIGURES}
    for case, (zero3, zeropp) in FIGURES.items():
        gain = steps[case]["zero3"] / steps[case]["zero++"]
        assert gain == pytest.approx(zeropp / zero3, rel=RATIO), case
    for tokens in (1024, 2048):
        slow, fast = (1, tokens), (4, tokens)
        published = FIGURES[slow][1] / FIGURES[fast][0]
        found = steps[fast]["zero3"] / steps[slow]["zero++"]
        assert found == pytest.approx(published, rel=RATIO)


def three_levels(nodes: int, overrides: Sequence[str] = ()) -> Mapping[str, float]:
    places = [f"cluster.num_nodes.value={nodes}", f"plan.dp={8 * nodes}", *overrides]
    found = runs("gpt-20b-three-level", ["zero3", "zero++", "zero-topo"], places)
    return {policy: report.step_time_s for policy, report in found.items()}


def test_one_ring_and_one_adapter_would_explain_three_levels_on_frontier() -> None:
    """Xu et al. 2025 (arXiv 2501.04266): 1 : 1.405 : 2.398 at 384 dies.

    An explanation, no prediction: ring and adapter were chosen among others beside these ratios.
    What the shipped Frontier predicts is below.
    """
    seconds = three_levels(48)
    assert seconds["zero3"] / seconds["zero++"] == pytest.approx(1.405, rel=RATIO)
    assert seconds["zero3"] / seconds["zero-topo"] == pytest.approx(2.398, rel=RATIO)


def test_three_levels_keep_their_speed_to_384_dies() -> None:
    """Scaling efficiency 0.94, from one node group of 64 dies, at the same batch."""
    efficiency = three_levels(8)["zero-topo"] / (6 * three_levels(48)["zero-topo"])
    assert efficiency == pytest.approx(0.94, abs=0.03)


def shipped(nodes: int) -> Mapping[str, float]:
    return three_levels(nodes, [f"cluster={{preset: frontier, nodes: {nodes}}}"])


def test_what_rccl_needs_on_2048_dies_predicts_three_levels() -> None:
    """1.66 and 2.18 of 1.405 and 2.398: the second within 15 %, the first MISSED, 18 % too large.

    The network of the shipped Frontier rests on another paper: PCCL gathers at least 6 times as
    fast as RCCL on 2,048 dies (arXiv 2504.18658v1, abstract), but no faster than four adapters of
    25 GB/s. That the lower end is met, and at 1 GiB, is assumed; these ratios had been seen under
    other fractions before (0.167, and 0.21, which meets both). Batch and microbatch are
    assumed. With 0.8 of all adapters, as before, the ratios are 1.16 and 1.29.
    """
    seconds = shipped(48)
    assert seconds["zero3"] / seconds["zero-topo"] == pytest.approx(2.398, rel=RATIO)
    assert seconds["zero3"] / seconds["zero++"] == pytest.approx(1.66, abs=0.02)


def test_three_levels_scale_on_the_shipped_frontier() -> None:
    efficiency = shipped(8)["zero-topo"] / (6 * shipped(48)["zero-topo"])
    assert efficiency == pytest.approx(0.94, abs=0.03)


def test_rccl_on_2048_dies_is_as_slow_as_its_rival_implies() -> None:
    """1 GiB through 100 GB/s takes 10.7 ms; six times that is 64.4 ms, which is met within 1 %."""
    over = [
        "cluster={preset: frontier, nodes: 256}",
        "plan.dp=2048",
        "plan.sharding=zero3",
        "training.global_batch_size=16384",
    ]
    link = build_step(load_scenario("gpt-20b-three-level", over)).costs.links.shard
    seconds = collective_s("all_gather", 2.0**30, link)
    assert seconds == pytest.approx(6 * 2**30 / 100e9, rel=0.01)
