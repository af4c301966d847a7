from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.report.breakdown import (
    FLOPS_LABELS,
    MEMORY_LABELS,
    TIME_LABELS,
    count,
    dense_peak_flops_per_s,
    memory_terms,
    ordered_terms,
    time_terms,
    waterfall,
    worst_rank,
)
from simulator.report.report import MEMORY_TERMS, TIME_TERMS, Report

ROUNDING = 1e-12  # sums of at most ten terms below 1, each off by less than 1e-15


def test_every_term_of_the_contract_has_words():
    assert tuple(TIME_LABELS) == TIME_TERMS
    assert tuple(MEMORY_LABELS) == MEMORY_TERMS
    assert set(FLOPS_LABELS) == {
        "palm",
        "hardware",
        "megatron_model",
        "megatron_hardware",
        "6n",
        "8n",
    }


def test_terms_come_in_the_agreed_order_and_unknown_ones_last():
    terms = {"zeta": 1.0, "bubble": 2.0, "alpha": 3.0, "compute": 4.0}
    assert [name for name, _ in ordered_terms(terms, TIME_TERMS)] == [
        "compute",
        "bubble",
        "alpha",
        "zeta",
    ]


def test_terms_that_are_zero_are_left_out(report: Report):
    changed = replace(report, time={"compute": 1.0, "bubble": 0.0})
    assert time_terms(changed) == [("compute", 1.0)]
    assert memory_terms(replace(report.memory.rank_classes[0], terms={"weights": 0.0})) == []


def test_waterfall_by_hand(report: Report):
    # Step 10 ms: compute 5 ms is 50 % of it, of which MFU 40 % is achieved: 10 % kernel loss.
    # Then recompute 1 ms = 10 %, tp 9 %, pp 2.5 %, dp 4 %, bubble 23.5 %, optimizer 1 %.
    steps = waterfall(report)
    assert [(step.name, round(100 * step.change, 6)) for step in steps] == [
        ("dense peak", 100.0),
        ("kernels below peak", -10.0),
        ("recompute", -10.0),
        ("exposed tensor-parallel comm", -9.0),
        ("exposed pipeline comm", -2.5),
        ("exposed data-parallel comm", -4.0),
        ("pipeline bubble", -23.5),
        ("optimizer", -1.0),
        ("achieved (MFU)", 40.0),
    ]


# The fixture is frozen, so that sharing it between examples is safe.
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    times=st.dictionaries(
        st.sampled_from((*TIME_TERMS, "new_comm")), st.floats(1e-6, 10.0), min_size=1
    ),
    mfu=st.floats(0.0, 1.0),
)
def test_waterfall_arrives_at_the_mfu_whenever_the_terms_sum_to_the_step(
    report: Report, times: dict[str, float], mfu: float
):
    steps = waterfall(replace(report, time=times, step_time_s=sum(times.values()), mfu=mfu))
    assert steps[-2].after == pytest.approx(mfu, abs=ROUNDING)
    assert steps[-1].after == mfu
    for before, after in pairwise(steps[:-1]):
        assert after.before == before.after


def test_worst_rank_is_found_by_name(report: Report):
    assert worst_rank(report) == report.memory.rank_classes[0]
    memory = replace(report.memory, worst_rank_class="nowhere")
    assert worst_rank(replace(report, memory=memory)) is None


def test_dense_peak_is_what_the_mfu_is_a_fraction_of(report: Report):
    # 124.8 TFLOP/s at an MFU of 40 % is a peak of 312 TFLOP/s; the quotient is rounded once.
    assert dense_peak_flops_per_s(report) == pytest.approx(312e12, rel=1e-15)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (0.123456, "0.123"),
        (99.4, "99.4"),
        (819200.0, "819,200"),
        (4.305e20, "4.305e+20"),
        (float("inf"), "inf"),
    ],
)
def test_counts_read_well_at_every_size(value: float, shown: str):
    assert count(value) == shown
