"""Without rows of its own, software is as far from Megatron-LM as other software is."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from simulator.calibrate.fit_stack import FittedParameter, RowErrors, StackFit
from simulator.calibrate.job import Job, job_of
from simulator.calibrate.other_software import OtherSoftware


@pytest.fixture(name="fitted")
def fitted_fixture(observation):
    def fitted(stack, source, value, *, unknown=True, is_root=False, error=0.02, after=0.0):
        names = ("gemm_scale",)
        shipped = {"gemm_scale": 1.0}
        job = Job(stack, Path("x.yaml"), names, (source,), (stack,), shipped, shipped, is_root)
        row = observation(0, source=source, truth=1.3)
        return StackFit(
            job,
            (FittedParameter("gemm_scale", 1.0, value, error, at_bound=False),),
            (RowErrors(row, True, -0.2, after, after, -0.2),),
            {source: {"gemm_scale": 1.0}},
            (),
            {source: frozenset(names if unknown else ())},
        )

    return fitted


def typical(fits, without=""):
    """Of the one scalar that these fits have."""
    return OtherSoftware(fits).typical(("gemm_scale",), without).get("gemm_scale")


def test_typical_is_the_geometric_mean_over_other_sources(fitted) -> None:
    fits = [fitted("a", "one", 1.1), fitted("b", "two", 1.3), fitted("c", "three", 1.5)]
    # without "three": sqrt(1.1 * 1.3)
    assert typical(fits, "three") == pytest.approx(math.sqrt(1.43))
    assert typical(fits) == pytest.approx((1.1 * 1.3 * 1.5) ** (1 / 3))


def test_stacks_fitted_on_one_table_count_once(fitted) -> None:
    fits = [fitted("a", "one", 1.1), fitted("b", "one", 1.3), fitted("c", "two", 1.5)]
    # "one": sqrt(1.43); with "two": sqrt(sqrt(1.43) * 1.5)
    expected = math.sqrt(math.sqrt(1.43) * 1.5)
    assert typical(fits) == pytest.approx(expected)


def test_one_other_source_tells_nothing_nor_does_the_root_or_what_is_unknown(fitted) -> None:
    own, other = fitted("a", "one", 1.1), fitted("b", "two", 1.3)
    assert typical([own, other], "one") is None
    root = fitted("root", "three", 1.0, is_root=True)
    unknown = fitted("d", "four", 1.2, error=math.inf)
    assert typical([own, other, root, unknown], "one") is None


def test_a_source_that_a_fit_has_not_seen_changes_nothing(fitted) -> None:
    kept = fitted("b", "two", 1.3, unknown=False)
    seen = replace(kept, left_out={"one": {"gemm_scale": 1.25}}, unknown={"one": frozenset()})
    fits = [fitted("a", "one", 1.1), seen, fitted("c", "three", 1.5)]
    assert typical(fits, "one") == pytest.approx(math.sqrt(1.25 * 1.5))


def test_rows_left_out_are_predicted_with_what_other_software_has(fitted) -> None:
    fits = [fitted("a", "one", 1.1), fitted("b", "two", 1.3), fitted("c", "three", 1.3)]
    completed = OtherSoftware(fits).complete(fits[0])
    assert completed.left_out["one"]["gemm_scale"] == pytest.approx(1.3)
    # the row was made with gemm_scale 1.3
    assert completed.rows[0].source_left_out == pytest.approx(0.0, abs=1e-9)
    assert completed.rows[0].after == fits[0].rows[0].after


def test_the_root_keeps_what_it_has(fitted) -> None:
    root = fitted("root", "one", 1.1, is_root=True)
    fits = [root, fitted("b", "two", 1.3), fitted("c", "three", 1.3)]
    assert OtherSoftware(fits).complete(root) == root
    assert job_of("megatron-lm-2021").is_root
    assert not job_of("aleph-alpha-scaling").is_root


def test_fits_that_miss_their_own_rows_say_little(fitted) -> None:
    good, bad = fitted("a", "one", 1.2), fitted("b", "two", 1.5, after=0.3)
    # weights 1 / 0.1^2 = 100 and 1 / (0.1^2 + 0.3^2) = 10
    expected = math.exp((100 * math.log(1.2) + 10 * math.log(1.5)) / 110)
    assert typical([good, bad]) == pytest.approx(expected)


@pytest.fixture(name="two_scalars")
def two_scalars_fixture(observation):
    """Fits of two scalars on rows made with both, which they describe."""

    def fitted(stack, source, name, value):
        names = ("gemm_scale", name)
        rows = [observation(i, source=source, truth=1.1, **{name: value}) for i in range(6)]
        own = getattr(rows[0].scenario.stack, name)
        at = {"gemm_scale": 1.0, name: own}
        job = Job(stack, Path("x.yaml"), names, (source,), (stack,), at, at)
        parameters = tuple(
            FittedParameter(n, at[n], v, 0.02, at_bound=False)
            for n, v in zip(names, (1.1, value), strict=True)
        )
        errors = tuple(RowErrors(row, True, -0.1, 0.0, 0.0, -0.1) for row in rows)
        return StackFit(job, parameters, errors, {source: dict(at)}, ())

    return fitted


def test_scalars_make_up_for_those_that_the_software_at_hand_lacks(two_scalars) -> None:
    fits = [two_scalars("a", "one", "memory_scale", 2.4)]
    fits.append(two_scalars("b", "two", "memory_scale", 2.4))
    others = OtherSoftware(fits)
    both = others.typical(("gemm_scale", "memory_scale"))
    assert both == pytest.approx({"gemm_scale": 1.1, "memory_scale": 2.4})
    # without memory_scale the products must be slower than they are
    alone = others.typical(("gemm_scale",))
    assert set(alone) == {"gemm_scale"}
    assert alone["gemm_scale"] > 1.12


def test_scalars_of_another_kind_stay(two_scalars) -> None:
    fits = [two_scalars("a", "one", "layer_stall_s", 0.01)]
    fits.append(two_scalars("b", "two", "layer_stall_s", 0.01))
    # what the host takes is no excuse for slow products
    assert OtherSoftware(fits).typical(("gemm_scale",)) == pytest.approx({"gemm_scale": 1.1})


def test_what_is_left_of_a_stack_is_fitted_once(two_scalars) -> None:
    fit = two_scalars("a", "one", "memory_scale", 2.4)
    others = OtherSoftware([fit])
    assert others.typical(("gemm_scale",)) == {}  # one source is too few
    assert others.typical(("gemm_scale",), "two") == {}
    (told,) = others._told.values()
    assert told.tables == {"one"}
    assert told.error < 0.05
