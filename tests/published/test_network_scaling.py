"""What the network takes, as published: pods, tensor parallelism across nodes, oversubscription.

No constant is fitted on any of these figures.
"""

from functools import cache
from typing import Final

import pytest

from simulator.api import load_scenario, simulate
from simulator.published.mapping import Case, map_row
from simulator.published.rows import read_rows
from simulator.published.validate import published_paths

pytestmark = pytest.mark.published

ONE_POD: Final = ("plan.dp=256", "training.micro_batch_size=8")
"""The same job: a replica of the model takes its share of the batch at once, as on two pods."""

HALF_THE_JOB: Final = ("plan.dp=256", "training.global_batch_size=1024")


@cache
def palm_s(*changes: str) -> float:
    return simulate(load_scenario("palm-540b-exchange-after-backward", changes)).step_time_s


def two_pods(*changes: str) -> float:
    """Time of the job on one pod over that on two."""
    return palm_s(*changes, *ONE_POD) / palm_s(*changes)


def test_palm_on_two_pods() -> None:
    """PaLM, section 4: 1.95 times the throughput of one pod, because the exchange overlaps nothing.

    By hand: 1.41 GB at 52.7 Gb/s take 0.21 s of a step of 15.75 s, and one pod saves 0.1 % of the
    job by doing the gathers and the optimizer for twice the batch: 2 (1 - 0.0136) 0.998 = 1.969.
    The paper does not say whether one pod did the whole batch or half of it; with half of it, which
    was compared first, the gain is 1.973. Exactly 1.95 needs 0.4 s, half of the burst's rate.
    """
    assert two_pods() == pytest.approx(1.95, abs=0.02)
    half = 2.0 * palm_s(*HALF_THE_JOB) / palm_s()
    assert half == pytest.approx(1.973, abs=0.003)


def test_palm_with_an_exchange_beside_the_backward() -> None:
    """What the paper leaves to future work: at least 1.99."""
    assert two_pods("plan.overlap={dp: true}") >= 1.99


@cache
def row_tflops(source: str, row_id: str) -> tuple[float, float]:
    """TFLOP/s per device of a published row, as the source counts: predicted and measured."""
    (path,) = (path for path in published_paths() if path.stem == source)
    (row,) = (row for row in read_rows(path) if row.row_id == row_id)
    case = map_row(row)
    assert isinstance(case, Case)
    report = simulate(case.scenario)
    predicted = report.flops["megatron_hardware"].flops_per_s_per_device / 1e12
    return predicted, row.number("tflops_per_gpu") or 0.0


@pytest.mark.parametrize(
    ("inside", "across", "published"),
    [("dlperf-11", "dlperf-13", 4.3), ("dlperf-12", "dlperf-14", 4.7)],
    ids=["OneFlow", "Megatron-LM"],
)
def test_tensor_parallelism_from_8_to_16_ranks(inside: str, across: str, published: float) -> None:
    """V100 nodes with one NIC of 100 Gb/s: per GPU, 16 ranks on two of them against 8 on one.

    Within 25 %: models and batch differ between the rows, and the fraction of the NIC was fitted on
    reductions of gradients.
    """
    (ours_in, theirs_in), (ours_out, theirs_out) = (
        row_tflops("repo-oneflow-inc-dlperf", row) for row in (inside, across)
    )
    assert theirs_in / theirs_out == pytest.approx(published, abs=0.05)
    assert ours_in / ours_out == pytest.approx(theirs_in / theirs_out, rel=0.25)


ZERO_40B: Final = {
    "model": "{num_layers: 50, hidden_size: 8192, ffn_hidden_size: 32768, "
    "num_attention_heads: 64, vocab_size: 50257, max_position_embeddings: 1024}",
    "training.global_batch_size": "4",
    "training.micro_batch_size": "4",
    "plan.dp": "1",
    "plan.sharding": "ddp",
    "stack": "megatron-lm-2019",
}


def zero_40b_tflops(ranks: int, nics: int | None) -> float:
    """40B with tensor parallelism alone, on as many DGX-2 as it takes, of so many NICs each."""
    nodes = ranks // 16
    cluster = f"{{preset: dgx-2-cluster, nodes: {nodes}}}"
    if nics is not None:
        cluster = (
            f"{{extends: dgx-2-cluster, name: fewer-nics, num_nodes: {{value: {nodes}, source: t}},"
            "node: {name: fewer-nics, extends: dgx-2, nics: "
            f"{{count: {{value: {nics}, source: t}}, bandwidth: {{value: 12.5 GB/s, source: t}}, "
            "attach: {value: cpu, source: t}}}}"
        )
    settings = {**ZERO_40B, "plan.tp": str(ranks), "cluster": cluster}
    report = simulate(load_scenario("zero-100b", [f"{k}={v}" for k, v in settings.items()]))
    return report.flops["megatron_hardware"].flops_per_s_per_device / 1e12


def test_40b_across_two_dgx2_is_a_known_gap() -> None:
    """ZeRO (arXiv 1910.02054), section 1: 5 TFLOP/s per GPU, under 5 % of the peak: 6 times less.

    Two nodes that use all of their 8 NICs lose a third. Even one of them leaves 9 TFLOP/s, a loss
    of 4: 5 TFLOP/s are 6 GB/s between the nodes, half of one NIC. The paper's larger models, on
    more nodes, show 17 to 30 GB/s per node. No calibration row tells why, so nothing is set by it.
    """
    inside = zero_40b_tflops(16, None)
    assert inside / zero_40b_tflops(32, None) == pytest.approx(1.55, abs=0.1)
    assert inside / zero_40b_tflops(32, 1) == pytest.approx(4.25, abs=0.3)
    assert zero_40b_tflops(32, 1) < 0.1 * 125


OVERSUBSCRIBED: Final = 4
"""Nodes under one switch, of the 32 of the job."""


def dp_comm_s(oversubscription: float) -> float:
    """Exposed reduction of gradients when the tier above 4 nodes has fewer uplinks."""
    tiers = (
        f"[{{name: leaf, nodes_per_group: {OVERSUBSCRIBED}, oversubscription: 1, hop: 0.5 us, "
        "source: t}, {name: spine, nodes_per_group: 32, "
        f"oversubscription: {oversubscription}, hop: 0.5 us, source: t}}]"
    )
    changes = [
        f"cluster={{extends: clos-a100-12288, name: t, num_nodes: {{value: 32, source: t}}, "
        f"tiers: {tiers}}}",
        "training.global_batch_size=256",
        "plan.dp=4",
        "plan.axis_order=[tp, pp, cp, dp]",
        "plan.overlap={tp: true, pp: true, dp: false}",
    ]
    return simulate(load_scenario("megascale-175b-12288", changes)).time["dp_comm"]


def test_oversubscription_slows_data_parallelism() -> None:
    """MegaScale's job on 256 GPUs, replicas of 8 nodes: every hop of a reduction leaves its leaf.

    By hand: four ranks, 8 nodes apart, all 4 nodes of a leaf send to others. The first pipeline
    rank reduces 11.37 GB of gradients and gathers 5.69 GB of weights, 3 / 4 of which leave at 23.5
    GB/s: 0.544 s; the table that both ends of the pipeline hold, 0.393 GB, another 0.017 s. Every
    unit of oversubscription adds those 0.561 s.
    """
    full, half, quarter = map(dp_comm_s, (1, 2, 4))
    assert half - full == pytest.approx(0.561, rel=0.01)
    assert quarter - half == pytest.approx(2 * (half - full), rel=1e-3)


STEPS: Final = (
    "parallel block",
    "sliding window",
    "TP overlap",
    "PP overlap",
    "DP overlap",
    "operators",
    "misc",
    "LAMB, batch x 3",
)


@cache
def ablation() -> tuple[tuple[float, float], ...]:
    """MFU of the nine steps, predicted and published: as long as the source's, its own MFU."""
    (path,) = (path for path in published_paths() if path.stem == "megascale3")
    found: list[tuple[float, float]] = []
    for row in read_rows(path):
        case = map_row(row)
        assert isinstance(case, Case)
        published, seconds = row.number("mfu_pct"), row.number("step_time_s")
        assert published is not None
        assert seconds is not None
        found.append((published * seconds / simulate(case.scenario).step_time_s, published))
    return tuple(found)


@pytest.mark.parametrize(
    ("step", "name"),
    list(enumerate(STEPS, start=1)),
)
def test_megascale_ablation(step: int, name: str) -> None:
    """MegaScale, table 3: every step within 1.5 points of MFU, and of the right sign."""
    (ours_before, theirs_before), (ours, theirs) = ablation()[step - 1], ablation()[step]
    gain = ours - ours_before
    assert gain > 0, name
    assert gain == pytest.approx(theirs - theirs_before, abs=1.5), name


def test_megascale_ablation_from_end_to_end() -> None:
    """MISSED: 17.6 points published, 14.3 predicted, where 3 points are the bar.

    The baseline is too fast by some two points, the end too slow by one and a half.
    """
    (ours_first, theirs_first), *_, (ours_last, theirs_last) = ablation()
    assert theirs_last - theirs_first == pytest.approx(17.6)
    assert ours_last - ours_first == pytest.approx(14.3, abs=0.1)
