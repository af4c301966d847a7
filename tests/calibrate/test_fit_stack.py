"""Fits of a stack find the constants that made the times, and fall back where rows are gone."""

from pathlib import Path

import numpy as np
import pytest

from simulator.calibrate.everything import fit_all, left_out_values
from simulator.calibrate.fit_stack import Beyond, fit_stack, start_points
from simulator.calibrate.job import Job, inheritors, job_of, shipped_jobs
from simulator.calibrate.observations import Observations, evenly
from simulator.calibrate.parameters import PARAMETERS
from simulator.calibrate.spread import fade_doublings, pooled_spread, stack_spreads
from simulator.calibrate.subsets import subsets
from simulator.errors import SpecError, UnknownNameError


def job(stack, names=("gemm_scale",), sources=()):
    return Job(
        stack, Path("x.yaml"), names, sources, (stack,), {"gemm_scale": 1.0}, {"gemm_scale": 1.05}
    )


@pytest.fixture(name="rows")
def rows_fixture(observation):
    noise = (1.0, 1.01, 0.99)
    rows = [observation(i, truth=1.3, factor=noise[i % 3]) for i in range(6)]
    return [*rows, *(observation(i, source="other", truth=1.3) for i in range(3))]


def test_the_truth_is_found(rows) -> None:
    fit = fit_stack(job(rows[0].stack), rows)
    (fitted,) = fit.parameters
    # tolerance: the noise of 1 % on six of nine rows
    assert fitted.value == pytest.approx(1.3, rel=0.02)
    assert 0 < fitted.relative_error < 0.02
    assert max(abs(row.after) for row in fit.rows) < 0.02
    assert min(row.before for row in fit.rows) < -0.05


def test_without_a_source_the_others_are_fitted(rows) -> None:
    fit = fit_stack(job(rows[0].stack), rows)
    assert fit.left_out["table"]["gemm_scale"] == pytest.approx(1.3, rel=0.01)


def test_without_its_only_source_a_stack_falls_back_to_its_parent(rows) -> None:
    fit = fit_stack(job(rows[0].stack, sources=("table",)), rows)
    assert fit.left_out == {"table": {"gemm_scale": 1.05}}
    left_out = [row.source_left_out for row in fit.rows if row.row.source == "table"]
    others = [row for row in fit.rows if row.row.source == "other"]
    assert max(left_out) < -0.02  # too fast, for want of the slower kernels
    assert not any(row.fitted_on for row in others)


def test_a_parent_that_saw_the_source_gives_what_it_has_without_it(rows) -> None:
    own = job(rows[0].stack, sources=("table",))
    fit = fit_stack(own, rows, without={"table": {"gemm_scale": 1.17}})
    assert fit.left_out == {"table": {"gemm_scale": 1.17}}


def test_what_rows_do_not_tell_stays_as_shipped(rows) -> None:
    stack = rows[0].stack
    chosen = Job(stack, Path("x.yaml"), ("blocking_p2p_scale",), (), (stack,),
                 {"blocking_p2p_scale": 1.7}, {"blocking_p2p_scale": 1.0})  # fmt: skip
    (fitted,) = fit_stack(chosen, rows).parameters  # no pipeline, so that nothing is sent
    assert fitted.value == 1.7
    assert np.isinf(fitted.relative_error)


def test_test_rows_are_never_fitted_on(observation) -> None:
    rows = [observation(i, role="test" if i == 3 else "calibration") for i in range(4)]
    with pytest.raises(AssertionError):
        fit_stack(job(rows[0].stack), rows)
    only = Observations(tuple(rows), ())
    assert [row.row_id for row in only.of([rows[0].stack], "test")] == ["row-3"]


def test_spreads_come_from_the_fits(rows) -> None:
    fit = fit_stack(job(rows[0].stack), rows)
    measured = stack_spreads([fit])[rows[0].stack]
    assert measured.spread.rows == 9
    # 9 rows: the conformal quantile is the largest cross-validated error
    worst = max(abs(row.cross_validated) for row in fit.rows)
    assert measured.spread.spread == pytest.approx(worst)
    pooled = pooled_spread([fit])
    assert (pooled.rows, pooled.sources) == (9, 2)
    with pytest.raises(SpecError, match="too few"):
        pooled_spread([])


def test_fading_is_the_slowest_that_covers_enough() -> None:
    # spread 0.1, pooled 0.5, error 0.3 at 4 doublings: f <= 1/2, so that D <= 4
    beyond = [Beyond("a", 4.0, 0.3, 0.1)] * 10
    assert fade_doublings(beyond, 0.5) == 4.0
    assert fade_doublings([Beyond("a", 4.0, 0.05, 0.1)], 0.5) == 16.0
    assert fade_doublings([Beyond("a", 4.0, 0.9, 0.1)], 0.5) == 0.25


def test_folds_hold_every_row_once(rows) -> None:
    found = subsets(rows, np.ones(len(rows), dtype=bool))
    folds = np.array([one.left_out for one in found if one.kind == "fold"])
    assert (folds.sum(axis=0) == 1).all()
    sources = {one.name: int(one.left_out.sum()) for one in found if one.kind == "source"}
    assert sources == {"table": 6, "other": 3}


def test_no_source_outweighs_another(observation) -> None:
    rows = [observation(0, source=name) for name in "aaaaaaaab"]
    # 4 rows over 2 sources: 2 of each, every fourth of the 8 and the only other one
    assert [row.source for row in evenly(rows, 4)] == ["a", "a", "b"]


def test_jobs_without_rows_are_passed_over(rows) -> None:
    observed = Observations(tuple(rows), ())
    told: list[tuple[str, int, int | None]] = []
    fits = fit_all([job(rows[0].stack)], observed, progress=lambda *what: told.append(what))
    assert fits[0].values["gemm_scale"] == pytest.approx(1.3, rel=0.02)
    steps = [done for what, done, _ in told if what == f"{rows[0].stack} (1 of 1): Fitting"]
    assert steps == [*range(len(steps))]
    assert len(steps) > 1
    assert fit_all([job("ideal")], observed) == ()


def test_shipped_jobs_are_what_the_files_declare() -> None:
    jobs = {one.stack: one for one in shipped_jobs()}
    names = list(jobs)
    assert jobs["aleph-alpha-scaling"].names == ("gemm_scale", "memory_scale", "layer_stall_s")
    assert jobs["aleph-alpha-scaling"].sources == ("hage",)
    assert "megatron-lm-2022" not in jobs  # its rows are looked at by the stack it extends
    assert "megatron-lm-2022" in jobs["megatron-lm-2021"].stacks
    assert names.index("megatron-lm-2021") < names.index("aleph-alpha-scaling")


def test_heirs_take_a_scalar_until_one_gives_its_own() -> None:
    heirs = inheritors("megatron-lm-2021", "gemm_scale")
    assert "megatron-lm-2023" in heirs
    assert "aleph-alpha-scaling" not in heirs


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="gemm_scal'"):
        job_of("ideal", names=["gemm_scal"])


def test_left_out_values_are_expanded_over_heirs(rows) -> None:
    fit = fit_stack(job("megatron-lm-2021"), rows)
    values = left_out_values([fit])
    assert {(one.source, one.parameter) for one in values} == {
        ("table", "gemm_scale"),
        ("other", "gemm_scale"),
    }
    assert {one.stack for one in values} == set(inheritors("megatron-lm-2021", "gemm_scale"))


def test_starts_of_many_scalars_are_capped() -> None:
    """All combinations of two scalars; of ten every start alone; and what is shipped."""
    shipped = {name: parameter.low for name, parameter in PARAMETERS.items()}

    def points(names):
        return start_points(Job("x", Path("x.yaml"), tuple(names), (), ("x",), shipped, shipped))

    assert points(["gemm_scale", "memory_scale"]).shape == (1 + 3 * 4, 2)
    many = points(PARAMETERS)
    assert many.shape == (1 + sum(len(one.starts) for one in PARAMETERS.values()), 10)
    assert ((many != many[0]).sum(axis=1) <= 1).all()


def test_a_scalar_is_named_once() -> None:
    with pytest.raises(SpecError, match="'gemm_scale' is named twice"):
        job_of("internevo", names=["gemm_scale", "gemm_scale"])
