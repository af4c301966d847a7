"""Stack files keep their comments, and what is written can be read."""

from dataclasses import replace
from pathlib import Path

import pytest

from simulator.calibrate.fit_stack import fit_stack
from simulator.calibrate.job import Job
from simulator.calibrate.spread import stack_spreads
from simulator.calibrate.stack_texts import extension_text, stack_texts
from simulator.calibrate.write_stack import (
    declared_by,
    extension,
    pooled_text,
    with_fit,
    with_values,
)
from simulator.calibrate.yaml_text import figure, remark_of, with_entry
from simulator.spec.fits import FitSpec, PooledSpec
from simulator.spec.stacks import load_stack, stack_files
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
    text = with_fit(TEXT, declared_by(fit), stack_spreads([fit])[fit.job.stack])
    assert "  parameters: [gemm_scale]\n  fitted_rows: 9\n  spread_rows: 9\n" in text
    assert text.endswith("\ndropout: false\n")


@pytest.fixture(name="own_file")
def own_file_fixture(fit, tmp_path: Path):
    """The fit of a file of one's own, which declares more than was fitted."""
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"extends: {fit.job.stack}\n\n"
        'gemm_scale: {value: 1.0, source: "by hand"}\n\n'
        "fit:\n  parameters: [gemm_scale, memory_scale]\n  sources: [table]\n  fitted_rows: 5\n"
    )
    return replace(fit, job=replace(fit.job, path=path))


def test_renewed_ranges_keep_values_and_declarations(own_file) -> None:
    ((path, text),) = stack_texts([own_file], values=False, pooled=False)
    assert path == own_file.job.path
    block = validate(FitSpec, parse_yaml(text, "text")["fit"], "fit")
    assert (block.parameters, block.sources) == (("gemm_scale", "memory_scale"), ("table",))
    assert block.fitted_rows == 5
    assert parse_yaml(text, "text")["gemm_scale"] == {"value": 1.0, "source": "by hand"}
    # 9 rows: the largest error with the value of the file, which is far from the truth of 1.25
    worst = max(abs(row.before) for row in own_file.rows)
    assert block.spread == pytest.approx(worst, rel=1e-3)
    assert worst > 2 * max(abs(row.cross_validated) for row in own_file.rows)


def test_values_are_written_with_what_was_fitted(own_file) -> None:
    ((_, text),) = stack_texts([own_file], values=True, pooled=False)
    block = validate(FitSpec, parse_yaml(text, "text")["fit"], "fit")
    assert (block.parameters, block.sources, block.fitted_rows) == (("gemm_scale",), (), 9)


def test_what_is_typical_stays_declared(own_file) -> None:
    path = own_file.job.path
    text = path.read_text().replace("[gemm_scale, memory_scale]", "[gemm_scale]")
    path.write_text(text + "  typical: [memory_scale]\n")
    ((_, text),) = stack_texts([own_file], values=True, pooled=False)
    block = validate(FitSpec, parse_yaml(text, "text")["fit"], "fit")
    assert (block.parameters, block.typical) == (("gemm_scale",), ("memory_scale",))


def test_a_stack_of_another_job_keeps_its_declaration(fit) -> None:
    """Rows on llm-foundry are looked at by the job of a stack with the same constants."""
    rows = [_on_stack(row, "llm-foundry") for row in fit.rows]
    job = replace(fit.job, path=stack_files(fit.job.stack)[0].path)
    other = replace(fit, job=job, rows=tuple(rows))
    texts = dict(stack_texts([other], values=True, pooled=False))
    (text,) = [text for path, text in texts.items() if path.stem == "llm-foundry"]
    declared = stack_files("llm-foundry")[0].fit
    block = validate(FitSpec, parse_yaml(text, "text")["fit"], "fit")
    assert (block.parameters, block.sources) == (declared.parameters, declared.sources)
    assert block.fitted_rows == declared.fitted_rows
    assert block.spread_rows == 9


def test_typical_values_are_written_where_a_stack_declares_them(fit) -> None:
    """Two fits of other software, 1.1 and 1.3: sqrt(1.43); a scalar that nobody tells stays."""
    tables = ("one", "two")
    fits = [
        replace(
            fit,
            job=replace(fit.job, path=stack_files(name)[0].path, stack=name, names=("gemm_scale",)),
            parameters=(replace(fit.parameters[0], value=value),),
            rows=tuple(replace(r, row=replace(r.row, source=table)) for r in fit.rows),
            left_out={},
        )
        for name, value, table in zip(("internevo", "nemo-2024"), (1.1, 1.3), tables, strict=True)
    ]
    texts = {path.stem: text for path, text in stack_texts(fits, values=True, pooled=True)}
    written = parse_yaml(texts["pytorch-fsdp-2022"], "text")
    assert written["gemm_scale"]["value"] == pytest.approx(1.196, abs=5e-4)
    assert "geometric mean" in written["gemm_scale"]["source"]
    assert written["fit"]["typical"] == ["gemm_scale", "memory_scale"]
    shipped = parse_yaml(stack_files("pytorch-fsdp-2022")[0].path.read_text(), "text")
    assert written["memory_scale"] == shipped["memory_scale"]


def _on_stack(row, name):
    scenario = row.row.scenario
    stack = replace(scenario.stack, name=name)
    return replace(row, row=replace(row.row, scenario=replace(scenario, stack=stack)))


def test_sources_name_the_tables_by_their_path(observation) -> None:
    rows = [replace(observation(i, truth=1.25), table="here/mine.csv") for i in range(4)]
    text = with_values("extends: ideal\n", fitted(rows))
    assert "rows of here/mine.csv, standard error" in text


def test_quotes_in_a_remark_stay_as_they_are(fit) -> None:
    text = 'gemm_scale: {value: 1, source: "fitted (by hand): a \\"b\\" \\\\ c"}\n'
    for _ in range(3):
        text = with_values(text, fit)
    assert remark_of(text, "gemm_scale") == 'a "b" \\ c'


def test_a_parent_with_a_special_name_is_quoted(fit, tmp_path: Path) -> None:
    folder = tmp_path / "a: b #c"
    folder.mkdir()
    parent = folder / "stack.yaml"
    parent.write_text(f"extends: {fit.job.stack}\n")
    (tmp_path / "mine.yaml").write_text(extension(str(parent), fit, None))
    assert load_stack("mine.yaml", base_dir=tmp_path).gemm_scale == pytest.approx(1.25, rel=0.02)


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


def test_a_new_file_names_its_parent_relative_to_itself(fit, tmp_path) -> None:
    parent = tmp_path / "stacks" / "mine.yaml"
    text = extension_text(str(parent), fit, tmp_path / "fits" / "fitted.yaml")
    assert parse_yaml(text, "text")["extends"] == "../stacks/mine.yaml"
    shipped = extension_text("internevo", fit, tmp_path / "fitted.yaml")
    assert parse_yaml(shipped, "text")["extends"] == "internevo"
