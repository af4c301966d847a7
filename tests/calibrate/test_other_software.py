"""Without rows of its own, software is as far from Megatron-LM as other software is."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from simulator.calibrate.fit_stack import FittedParameter, RowErrors, StackFit
from simulator.calibrate.job import Job, job_of
from simulator.calibrate.other_software import as_other_software, typical_values


@pytest.fixture(name="fitted")
def fitted_fixture(observation):
    def fitted(stack, source, value, *, unknown=True, is_root=False, error=0.02):
        names = ("gemm_scale",)
        shipped = {"gemm_scale": 1.0}
        job = Job(stack, Path("x.yaml"), names, (source,), (stack,), shipped, shipped, is_root)
        row = observation(0, source=source, truth=1.3)
        return StackFit(
            job,
            (FittedParameter("gemm_scale", 1.0, value, error, at_bound=False),),
            (RowErrors(row, True, -0.2, 0.0, 0.0, -0.2),),
            {source: {"gemm_scale": 1.0}},
            (),
            {source: frozenset(names if unknown else ())},
        )

    return fitted


def test_typical_is_the_geometric_mean_over_other_sources(fitted) -> None:
    fits = [fitted("a", "one", 1.1), fitted("b", "two", 1.3), fitted("c", "three", 1.5)]
    # without "three": sqrt(1.1 * 1.3)
    assert typical_values(fits, "three")["gemm_scale"] == pytest.approx(math.sqrt(1.43))
    assert typical_values(fits, "")["gemm_scale"] == pytest.approx((1.1 * 1.3 * 1.5) ** (1 / 3))


def test_stacks_fitted_on_one_table_count_once(fitted) -> None:
    fits = [fitted("a", "one", 1.1), fitted("b", "one", 1.3), fitted("c", "two", 1.5)]
    # "one": sqrt(1.43); with "two": sqrt(sqrt(1.43) * 1.5)
    expected = math.sqrt(math.sqrt(1.43) * 1.5)
    assert typical_values(fits, "")["gemm_scale"] == pytest.approx(expected)


def test_one_other_source_tells_nothing_nor_does_the_root_or_what_is_unknown(fitted) -> None:
    own, other = fitted("a", "one", 1.1), fitted("b", "two", 1.3)
    assert typical_values([own, other], "one") == {}
    root = fitted("root", "three", 1.0, is_root=True)
    unknown = fitted("d", "four", 1.2, error=math.inf)
    assert typical_values([own, other, root, unknown], "one") == {}


def test_a_source_that_a_fit_has_not_seen_changes_nothing(fitted) -> None:
    kept = fitted("b", "two", 1.3, unknown=False)
    seen = replace(kept, left_out={"one": {"gemm_scale": 1.25}}, unknown={"one": frozenset()})
    fits = [fitted("a", "one", 1.1), seen, fitted("c", "three", 1.5)]
    assert typical_values(fits, "one")["gemm_scale"] == pytest.approx(math.sqrt(1.25 * 1.5))


def test_rows_left_out_are_predicted_with_what_other_software_has(fitted) -> None:
    fits = [fitted("a", "one", 1.1), fitted("b", "two", 1.3), fitted("c", "three", 1.3)]
    completed = as_other_software(fits[0], fits)
    assert completed.left_out["one"]["gemm_scale"] == pytest.approx(1.3)
    # the row was made with gemm_scale 1.3
    assert completed.rows[0].source_left_out == pytest.approx(0.0, abs=1e-9)
    assert completed.rows[0].after == fits[0].rows[0].after


def test_the_root_keeps_what_it_has(fitted) -> None:
    root = fitted("root", "one", 1.1, is_root=True)
    fits = [root, fitted("b", "two", 1.3), fitted("c", "three", 1.3)]
    assert as_other_software(root, fits) == root
    assert job_of("megatron-lm-2021").is_root
    assert not job_of("aleph-alpha-scaling").is_root
