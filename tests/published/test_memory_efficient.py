"""Published memory and speed of memory-efficient optimizers and fine-tuning; nothing is fitted.

APOLLO: Zhu et al. 2024 (arXiv 2412.05270), figure 1, its bars read to half a gigabyte and 0.1k
tokens/s. Runtime dissection: Zhang et al. 2023 (arXiv 2311.03687).
"""

from __future__ import annotations

from functools import cache
from itertools import combinations

import pytest

from simulator.report.report import Report
from simulator.simulate import simulate
from simulator.spec.load import load_scenario

pytestmark = pytest.mark.published

ADAMW_BF16 = "training.optimizer={name: adamw, state_bytes: 4, master_bytes: 0}"
"""All in bf16: 2 moments of 2 bytes, no master weights, as the scripts of GaLore and APOLLO."""
ONE_SEQUENCE = (
    "training.micro_batch_size=1",
    "plan.dp=1",
    "stack.bf16_gradient_copy=false",
)
LAYERWISE = "training.gradient_release=layerwise"
NVLINK = "cluster={preset: dgx-a100-cluster, nodes: 1}"


@cache
def apollo(*overrides: str) -> Report:
    return simulate(load_scenario("apollo-7b-8xa100", overrides), levers=False)


@pytest.mark.parametrize(
    ("overrides", "published_gb"),
    [
        ((ADAMW_BF16,), 58.0),
        (("training.optimizer=galore", LAYERWISE), 27.0),
        (("training.optimizer=apollo", LAYERWISE), 19.7),
        (("training.optimizer=apollo-mini", LAYERWISE), 17.3),
    ],
)
def test_memory_of_one_sequence(overrides: tuple[str, ...], published_gb: float) -> None:
    """Within 10 %: the bars of GaLore and APOLLO have no gradients, which are freed by layers."""
    peak = apollo(*ONE_SEQUENCE, *overrides).memory.peak_bytes
    assert peak / 1e9 == pytest.approx(published_gb, rel=0.10)


def test_quantised_weights_train_in_less_than_12_gb() -> None:
    """Q-APOLLO-Mini on a card of 12 GiB; tensors alone, without context and libraries, 10.7 GB.

    The abstract says "less than 12 GB", its figure 10.5.
    """
    report = apollo(*ONE_SEQUENCE, "training.optimizer=q-apollo-mini", LAYERWISE)
    (rank,) = report.memory.rank_classes
    assert rank.peak_bytes < 12 * 2**30
    assert rank.peak_bytes - rank.terms["framework"] == pytest.approx(10.5e9, rel=0.10)


def test_three_times_the_throughput() -> None:
    """14.9k over 5.1k tokens/s = 2.92, within 20 %, on cards that PCIe links.

    Every rate is too high, by 30 to 43 %: the kernels of this stack are not calibrated.
    """
    small = apollo(ADAMW_BF16, "training.micro_batch_size=4")
    middle, large = apollo("training.micro_batch_size=8"), apollo()
    assert large.tokens_per_s / small.tokens_per_s == pytest.approx(14.9 / 5.1, rel=0.20)
    assert middle.tokens_per_s / small.tokens_per_s == pytest.approx(9.4 / 5.1, rel=0.20)
    for report, published in ((small, 5.1e3), (middle, 9.4e3), (large, 14.9e3)):
        assert 1.0 < report.tokens_per_s / published < 1.5


def test_over_nvlink_a_larger_batch_brings_half_as_much() -> None:
    """Why the scenario takes PCIe: 1.4 instead of 2.9, and 3.7 times the rate that was measured.

    From the figure alone: steps of 8 x 8 and 8 x 16 sequences take 1.74 and 2.20 s, so that 1.29 s
    do not depend on the batch. A ring moves 2 * 7/8 * 13.5 GB in them at 18 GB/s, as over PCIe 4.0;
    NVLink has 230.
    """
    small = apollo(NVLINK, ADAMW_BF16, "training.micro_batch_size=4")
    assert apollo(NVLINK).tokens_per_s / small.tokens_per_s < 1.6
    assert small.tokens_per_s > 3 * 5.1e3


def test_batches_that_fit() -> None:
    """AdamW's 4 sequences and APOLLO's 16 fit, as published. AdamW's 8 do too: that is a miss.

    They ran out of memory; here they take 98 % of the card, and 16 are the first that do not fit.
    The model's error on memory (4 %) is larger than what is missing, so that it cannot tell.
    """
    capacity = apollo().memory.capacity_bytes
    filled = {
        (name, size): apollo(*change, f"training.micro_batch_size={size}").memory.peak_bytes
        / capacity
        for name, change in (("adamw", (ADAMW_BF16,)), ("apollo", ()))
        for size in (4, 8, 16)
    }
    assert filled["adamw", 4] < 1.0
    assert filled["apollo", 16] < 1.0
    assert filled["adamw", 8] == pytest.approx(0.98, abs=0.005)
    assert filled["adamw", 16] > 1.0


def test_13b_trains_with_plain_data_parallelism() -> None:
    """The abstract: LLaMA-13B with DDP on A100-80GB, which AdamW's states alone exceed."""
    base = ("model=llama-13b", "training.micro_batch_size=1", "training.optimizer=apollo-mini")
    assert apollo(*base, LAYERWISE).memory.fits
    assert not apollo(*base, ADAMW_BF16).memory.fits


DISSECTED = (
    "model=llama2-7b",
    "training={global_batch_size: 8, micro_batch_size: 1, seq_length: 512, precision: bf16}",
    "plan={dp: 8}",
    "cluster={preset: a800-cluster, nodes: 1}",
)
STACK = "stack={preset: pytorch-fsdp-2022, dropout: false, fused_norm: false, fused_rotary: false"
LORA = "training.fine_tuning={method: lora, rank: 64}"
QLORA = "training.fine_tuning={method: qlora, rank: 64}"
SHARDED = {"": "ddp", "Z2": "zero2", "Z3": "zero3"}


@cache
def dissected(sharding: str, recompute: bool, flash: bool, tuned: str) -> tuple[float, float]:
    """Tokens per second and peak memory of one combination of toggles."""
    attention = ", attention: flash2}" if flash else "}"
    settings = [
        *DISSECTED,
        STACK + attention,
        f"plan.sharding={SHARDED[sharding]}",
        f"training.recompute={'full' if recompute else 'none'}",
        *([tuned] if tuned else []),
    ]
    report = simulate(load_scenario("gpt2-xl-one-gpu", settings), levers=False)
    return report.tokens_per_s, report.memory.peak_bytes


def published_order() -> tuple[list[bool], list[bool]]:
    """Whether each statement of the study holds, about speed and about memory.

    Its sections on pre-training and fine-tuning: ZeRO-2 saves memory and costs no speed, ZeRO-3
    saves more; recomputation saves memory and costs speed; FlashAttention is faster and needs no
    more memory; quantised training of adapters needs the least memory of all and is faster than
    training all weights; adapters are faster than all weights and need less.
    """
    speed: list[bool] = []
    memory: list[bool] = []
    for sharding in SHARDED:
        for tuned in ("", LORA, QLORA):
            for on in (False, True):
                plain, again = (dissected(sharding, r, on, tuned) for r in (False, True))
                speed.append(again[0] < plain[0])
                memory.append(again[1] <= plain[1])
                off, flash = (dissected(sharding, on, f, tuned) for f in (False, True))
                speed.append(flash[0] > off[0])
                memory.append(flash[1] <= off[1])
    for recompute, flash in ((False, False), (False, True), (True, False), (True, True)):
        naive, z2, z3 = (dissected(s, recompute, flash, "") for s in SHARDED)
        speed.append(z2[0] >= naive[0])
        memory += [z2[1] < naive[1], z3[1] < z2[1]]
        for sharding in SHARDED:
            whole, lora, qlora = (
                dissected(sharding, recompute, flash, tuned) for tuned in ("", LORA, QLORA)
            )
            speed += [lora[0] > whole[0], qlora[0] > whole[0]]
            memory += [lora[1] < whole[1], qlora[1] < lora[1]]
    return speed, memory


def test_toggles_of_the_runtime_dissection_rank_as_published() -> None:
    """Kendall's tau over the pairs that the study orders: at least 0.8 for speed and memory.

    No table of it could be had, only what it concludes, so that pairs it says nothing about do not
    count.
    """
    for held in published_order():
        tau = (2 * sum(held) - len(held)) / len(held)
        assert tau >= 0.8, f"{sum(held)} of {len(held)}"


REPLICA = {
    "recomputed, quantised adapters": (1675.0, 9.2, ("Z2", True, QLORA)),
    "ZeRO-3": (977.0, 40.3, ("Z3", False, "")),
}
"""Two MI210, tokens/s and GB: an independent replica; its other two rows offload."""


def test_replica_on_two_devices_ranks_the_same() -> None:
    rows = [
        (speed, gigabytes, dissected(sharding, recompute, False, tuned))
        for speed, gigabytes, (sharding, recompute, tuned) in REPLICA.values()
    ]
    for (speed, size, ours), (other_speed, other_size, theirs) in combinations(rows, 2):
        assert (speed > other_speed) == (ours[0] > theirs[0])
        assert (size > other_size) == (ours[1] > theirs[1])
