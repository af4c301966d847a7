"""Stack files keep their comments, and what is written can be read."""

from pathlib import Path

import pytest

from simulator.calibrate.fit_stack import fit_stack
from simulator.calibrate.job import Job
from simulator.calibrate.spread import stack_spreads
from simulator.calibrate.write_stack import extension, pooled_text, with_fit, with_values
from simulator.calibrate.yaml_text import figure, remark_of, with_entry
from simulator.spec.fits import PooledSpec
from simulator.spec.stacks import load_stack
from simulator.spec.validate import validate
from simulator.spec.yaml_file import parse_yaml
from simulator.uncertainty import PooledSpread

TEXT = """# A stack.
extends: ideal

gemm_scale: {value: 1.1, source: "fitted (by hand): with a remark"}
memory_scale: {value: 1.2, source: "assumed"}  # a comment

fit:
  parameters: [gemm_scale]

dropout: false
"""


def fitted(rows):
    stack = rows[0].stack
    job = Job(
        stack, Path(f"{stack}.yaml"), ("gemm_scale",), (), (stack,), {"gemm_scale": 1.0},
        {"gemm_scale": 1.0},
    )  # fmt: skip
    return fit_stack(job, rows)


@pytest.fixture(name="fit")
def fit_fixture(observation):
    return fitted([observation(i, truth=1.25) for i in range(9)])


def test_an_entry_is_replaced_where_it_stands() -> None:
    text = with_entry(TEXT, "fit", "fit:\n  spread: 0.1")
    assert text.splitlines()[6:10] == ["fit:", "  spread: 0.1", "", "dropout: false"]
    assert with_entry("a: 1\n", "b", "b: 2") == "a: 1\nb: 2\n"
    assert with_entry("a: 1\n", "b", "b:\n  c: 2") == "a: 1\n\nb:\n  c: 2\n"


def test_values_keep_comments_and_remarks(fit) -> None:
    text = with_values(TEXT, fit)
    assert text.startswith("# A stack.\n")
    assert "# a comment" in text
    assert remark_of(text, "gemm_scale") == "with a remark"
    assert "(trainsim calibrate stack" in text


def test_an_extension_loads_with_the_fitted_value(fit, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        extension(fit.job.stack, fit, stack_spreads([fit])[fit.job.stack])
    )
    stack = load_stack("mine.yaml", base_dir=tmp_path)
    # tolerance: four digits are written
    assert stack.gemm_scale == pytest.approx(fit.values["gemm_scale"], rel=1e-3)
    assert stack.uncertainty is not None
    assert stack.uncertainty.own is not None
    assert stack.uncertainty.own.rows == 9
    (region,) = stack.uncertainty.own.regions.values()
    assert region.doublings_to(fit.rows[0].row.setting) < 1e-5


def test_the_fit_block_says_what_was_fitted(fit) -> None:
    text = with_fit(TEXT, fit.job.stack, [fit], stack_spreads([fit])[fit.job.stack])
    assert "  parameters: [gemm_scale]\n  fitted_rows: 9\n  spread_rows: 9\n" in text
    assert text.endswith("\ndropout: false\n")


def test_a_fit_block_is_not_inherited(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: llm-foundry\n")
    parent, child = load_stack("llm-foundry"), load_stack("mine.yaml", base_dir=tmp_path)
    assert parent.uncertainty is not None
    assert child.uncertainty is not None
    assert parent.uncertainty.own is not None
    assert child.uncertainty.own is None


def test_the_pooled_spread_is_read_back() -> None:
    text = pooled_text(PooledSpread(0.4321, 2.0, 100, 9))
    spec = validate(PooledSpec, parse_yaml(text, "text"), "text")
    assert (spec.spread, spec.fade_doublings, spec.rows, spec.sources) == (0.4321, 2.0, 100, 9)


def test_a_figure_with_a_unit_is_a_string() -> None:
    assert figure("layer_overhead", 1.1e-3, "s", 'a "b"') == (
        'layer_overhead: {value: "1.1 ms", source: "a \\"b\\""}'
    )
