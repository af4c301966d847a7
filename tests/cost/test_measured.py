"""Cost functions against measured kernels: errors stay below a bar per device.

Bars are the errors known when the constants were fitted plus about half a point of room for the
sampling of 400 (GEMM) or 120 (attention) rows; docs/kernels.md prints the present values.
"""

import pytest

from benchmarks.kernels import evaluate

GEMM = {
    "a100-sxm4-80gb": 0.055,
    "h100-sxm5-80gb": 0.050,
    "h200-sxm-141gb": 0.045,
    "b200-sxm-180gb": 0.055,
    "gb200-186gb": 0.052,
    "b300-sxm-288gb": 0.057,
    "l40s-48gb": 0.082,
    "v100-sxm2-16gb": 0.038,
}
# Of three held-out shapes; the two chips of one architecture share no constant.
GEMM_FP8 = {"h100-sxm5-80gb": 0.030, "h200-sxm-141gb": 0.016, "gb200-186gb": 0.034}
ATTENTION = {
    "a100-sxm4-80gb flash2 d=128": 0.095,
    "h100-sxm5-80gb flash3 d=64": 0.105,
    "h100-sxm5-80gb flash3 d=128": 0.090,
    "h100-sxm5-80gb flash3 d=256": 0.110,
    "h200-sxm-141gb flash3 d=64": 0.115,
    "h200-sxm-141gb flash3 d=128": 0.090,
    "h200-sxm-141gb flash3 d=256": 0.110,
    "b200-sxm-180gb flash3 d=64": 0.125,
    "b200-sxm-180gb flash3 d=128": 0.090,
    "b200-sxm-180gb flash3 d=256": 0.090,
}
# vidur's add runs partly from L2 (docs/kernels.md), so it is reported but not held to a bar
MEMORY_BOUND = {
    "a100-sxm4-80gb input_layernorm": 0.15,
    "a100-sxm4-80gb mlp_act": 0.075,
    "h100-sxm5-80gb input_layernorm": 0.15,
    "h100-sxm5-80gb mlp_act": 0.075,
}
NETWORK = {
    ("h100-nvlstree", "all"): 0.060,
    ("h100-nvlstree", "64 MiB and more"): 0.030,
    ("h100-nvlstree", "extrapolated: over 32 nodes"): 0.055,
    ("h100-default", "all"): 0.040,
    ("h100-default", "64 MiB and more"): 0.035,
    ("h100-default", "extrapolated: over 32 nodes"): 0.050,
    (evaluate.shipped("h100-nvlstree"), "all"): 0.060,
    (evaluate.shipped("h100-nvlstree"), "64 MiB and more"): 0.030,
    ("p5", "all"): 0.040,
    ("p5", "held out: every second size"): 0.050,
    ("p4de", "all"): 0.050,
    ("p4de", "held out: every second size"): 0.068,
    (evaluate.shipped("p5"), "all"): 0.038,
    (evaluate.shipped("p4de"), "all"): 0.031,
    # the first three rows are slower than 2 MiB: bounds.py, 13.5 % for any minimum over lines
    ("p6-b200", "all"): 0.146,
    ("p6-b200", "256 KiB and more"): 0.044,
}


def by_key(samples):
    return {(s.subject, s.subset): s for s in samples}


def test_gemm():
    samples = by_key(evaluate.gemm_samples())
    for device, bar in GEMM.items():
        sample = samples.get((device, "holdout")) or samples[device, "fit"]
        assert sample.mape < bar, device
        # shapes of training are easier, and the time they add up to is what a step sees
        assert samples[device, "m >= 2048, n and k >= 1024"].mape < bar, device
        assert abs(sample.sum_error) < 0.025, device


def test_every_gemm_device_has_a_bar():
    assert {s.subject for s in evaluate.gemm_samples()} == set(GEMM)


def test_gemm_fp8():
    samples = by_key(evaluate.gemm_fp8_samples())
    assert {device for device, _ in samples} == set(GEMM_FP8)
    for device, bar in GEMM_FP8.items():
        assert samples[device, "holdout"].mape < bar, device
        # 32768 cubed rules the sum
        assert abs(samples[device, "fit"].sum_error) < 0.075, device


def test_attention():
    samples = by_key(evaluate.attention_samples())
    for curve, bar in ATTENTION.items():
        assert samples[curve, "all"].mape < bar, curve
        assert samples[curve, "b h >= 16, s >= 2048"].mape < 0.08, curve


def test_attention_figures():
    # rates read off bars (about 2 %), other clocks and batches than the fitted tables
    for sample in evaluate.attention_figure_samples():
        assert sample.mape < 0.20, (sample.subject, sample.subset)


def test_memory_bound():
    samples = by_key(evaluate.memory_bound_samples())
    for kernel, bar in MEMORY_BOUND.items():
        assert samples[kernel, "all"].mape < bar, kernel


def test_collectives_in_a_node():
    samples = evaluate.node_collective_samples()
    assert {s.subject.split()[0] for s in samples} == set(evaluate.NODES)
    for sample in samples:
        # the bar of every kind on every machine; above 1 MiB, where protocols meet, ring
        # collectives of B300 and GB200 are up to 8 % off
        bar = 0.06 if sample.subset == "all" else 0.085
        assert sample.mape <= bar, (sample.subject, sample.subset)
        if sample.subject.endswith("all_to_all"):
            assert sample.mape <= 0.06, (sample.subject, sample.subset)


@pytest.mark.parametrize(("key", "bar"), NETWORK.items(), ids=lambda value: str(value))
def test_all_reduce_between_nodes(key, bar):
    assert by_key(evaluate.network_collective_samples())[key].mape < bar
