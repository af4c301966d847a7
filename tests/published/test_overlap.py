"""T3's overlap of products with their reductions.

How an exchange on few SMs slows down is fitted on the paper's figures for 8 and 16 of them; the
rows near memory are fitted on nothing.

Pati et al. 2024 (arXiv 2401.16677). The machine is the one it simulates
(``hardware/clusters/t3-ring-8`` and ``-16``): compute units, clock, memory and links. It prints
no kernel times: products take those of a V100, which has as many multiprocessors, at the simulated
clock. A sublayer is a product, the reduce-scatter and the all-gather of its result.
"""

import math
from functools import cache
from itertools import product
from typing import Final

import pytest

from simulator.api import load_scenario, simulate
from simulator.cost.collective import collective_s
from simulator.plan import ProcessGroup
from simulator.spec.hardware import load_cluster
from simulator.spec.stacks import load_stack
from simulator.topology import Topology
from simulator.tp_overlap import TpOverlap
from simulator.workload.kernel import Collective, Matmul, Overlapped
from simulator.workload.price import PriceContext, kernel_cost

pytestmark = pytest.mark.published

MODELS: Final = {"mega-gpt-2": (3072, 74, 16), "t-nlg": (4256, 78, 8)}
"""Hidden size, layers, sequences of 1,024 tokens (these, and Mega-GPT-2's layers, from memory)."""
WIDTHS: Final = {"OP": 1, "FC2": 4, "FC1": 4, "IP": 3}
"""Inner width of the product over the hidden size: forward of the output projection and the second
linear, backward of the first one and of the input projection."""
RANKS: Final = (8, 16)

IDEAL: Final = TpOverlap("dma", chunks=10**6, dram="none")
ARBITRATED: Final = TpOverlap("dma", dram="arbitrated")
SHARED: Final = TpOverlap("dma", dram="shared")


@cache
def context(ranks: int) -> PriceContext:
    cluster = load_cluster(f"t3-ring-{ranks}")
    link = Topology.of(cluster).group_link(ProcessGroup("tp", ranks, 1))
    return PriceContext(cluster.node.accelerator, load_stack("ideal"), "fp16", {"tp": link})


def speedup(model: str, sublayer: str, ranks: int, how: TpOverlap) -> float:
    """Time of a sublayer one after the other, over its time overlapped."""
    hidden, _, sequences = MODELS[model]
    tokens, here = sequences * 1024.0, context(ranks)
    kernel = Matmul(sublayer, tokens, hidden, WIDTHS[sublayer] * hidden / ranks)
    payload = tokens * hidden * 2.0
    reduce = Collective("reduce", "all_reduce", payload)
    ring_s = sum(
        collective_s(kind, payload, here.links["tp"]) for kind in ("reduce_scatter", "all_gather")
    )
    apart = kernel_cost(kernel, here).total_s + ring_s
    return float(apart / kernel_cost(Overlapped(reduce, kernel, how=how), here).total_s)


def speedups(how: TpOverlap) -> list[float]:
    return [speedup(*case, how) for case in product(MODELS, WIDTHS, RANKS)]


def geometric_mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


@pytest.mark.parametrize(
    ("how", "mean", "largest", "got"),
    [
        (IDEAL, 1.35, 1.50, 1.35),
        (ARBITRATED, 1.30, 1.47, 1.31),
        (SHARED, 1.20, 1.39, 1.26),
    ],
    ids=["ideal", "T3 with arbitration", "T3 without"],
)
def test_sublayers(how: TpOverlap, mean: float, largest: float, got: float) -> None:
    """Within 0.07, as kernel times are another simulator's; ``got`` is what they are today."""
    found = speedups(how)
    assert geometric_mean(found) == pytest.approx(mean, abs=0.07)
    assert max(found) == pytest.approx(largest, abs=0.07)
    assert geometric_mean(found) == pytest.approx(got, abs=0.01)


def test_few_compute_units_for_communication_are_too_few() -> None:
    """On 8 the reductions are too slow, on 16 the products lose less than they gain."""
    few, more = (
        geometric_mean(speedups(TpOverlap("sm", communication_sms=sms))) for sms in (8, 16)
    )
    assert 1.0 < few < more < geometric_mean(speedups(ARBITRATED))


@cache
def step_s(model: str, ranks: int, how: str) -> float:
    """Seconds of a training step."""
    hidden, layers, sequences = MODELS[model]
    # 24 and 28 heads are no multiple of 16: 32 of 96 and of 136, none and 2 % more numbers.
    head_dim = -(-hidden // 256) * 8
    changes = [
        f"model={{num_layers: {layers}, hidden_size: {hidden}, ffn_hidden_size: {4 * hidden}, "
        f"num_attention_heads: 32, head_dim: {head_dim}, vocab_size: 51200, "
        "max_position_embeddings: 1024}",
        f"training.global_batch_size={sequences}",
        f"training.micro_batch_size={sequences}",
        f"plan.tp={ranks}",
        f"plan.tp_overlap={how}",
        f"cluster={{preset: t3-ring-{ranks}}}",
    ]
    return simulate(load_scenario("t3-t-nlg", changes)).step_time_s


def test_training_end_to_end() -> None:
    """Published: 10 % faster in the mean and 12 % at most, with arbitration.

    Three points, as the share of attention and elementwise kernels depends on the software, which
    T3 took from runs on MI210: 9 % with eager kernels (megatron-lm-2019), 12 % here. The largest
    gain, T-NLG on 16, is 15 %: there 35 % of the step waits for tensor-parallel ranks.
    """
    gains = [
        step_s(*case, "{mode: none}") / step_s(*case, "{mode: dma}")
        for case in product(MODELS, RANKS)
    ]
    assert geometric_mean(gains) == pytest.approx(1.10, abs=0.03)
    assert max(gains) == pytest.approx(1.12, abs=0.04)
