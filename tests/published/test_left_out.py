"""Sources predicted without their rows: the table of values, and what it changes."""

from dataclasses import replace
from pathlib import Path

import pytest

from simulator.errors import SpecError
from simulator.published.left_out import (
    LeftOutValue,
    left_out_table,
    left_out_text,
    read_left_out,
    validate_left_out,
    without_source,
)
from simulator.published.results import RowResult, validation_result
from simulator.spec.load import load_scenario

VALUES = (
    LeftOutValue("zb", "megatron-lm-2022", "blocking_p2p_scale", 1.0),
    LeftOutValue("zb", "megatron-lm-2022", "gemm_scale", 1.25),
)


def row(source, measured, predicted, *, width=0.1, role="test"):
    return RowResult(
        "1", source, role, "A", "ok", (),
        measured_step_time_s=measured,
        predicted_step_time_s=predicted,
        error=predicted / measured - 1,
        range_low_s=predicted * (1 - width),
        range_high_s=predicted * (1 + width),
    )  # fmt: skip


def test_the_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "left.csv"
    path.write_text(left_out_text(VALUES))
    assert read_left_out(path) == VALUES


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "first line"),
        ("a,b\n", "first line"),
        ("source,stack,parameter,value\nzb,x,gemm_scale\n", "is not source"),
        ("source,stack,parameter,value\nzb,x,gemm_scale,y\n", "is not source"),
        ("source,stack,parameter,value\nzb,x,gemmscale,1\n", "unknown parameter"),
        ("source,stack,parameter,value\nzb,x,gemm_scale,1\n", "unknown stack 'x'"),
        ("source,stack,parameter,value\nbz,ideal,gemm_scale,1\n", "unknown source 'bz'"),
        ("source,stack,parameter,value\nzb,ideal,gemm_scale,-1\n", "must be above 0"),
        ("source,stack,parameter,value\nzb,ideal,gemm_scale,0\n", "must be above 0"),
        ("source,stack,parameter,value\nzb,ideal,gemm_scale,nan\n", "above 0 and finite"),
        ("source,stack,parameter,value\nzb,ideal,layer_stall_s,-1\n", "must be 0 or more"),
        ("source,stack,parameter,value" + 2 * "\nzb,ideal,gemm_scale,1", "a value already"),
    ],
)
def test_wrong_tables(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "left.csv"
    path.write_text(text)
    with pytest.raises(SpecError, match=problem):
        read_left_out(path)


def test_values_change_the_rows_of_their_source_only() -> None:
    scenario = load_scenario("gpt3-175b-a100-64")
    table = {("zb", scenario.stack.name): {"gemm_scale": 1.25}}
    own, other = replace(scenario, name="zb/1"), replace(scenario, name="kort/1")
    assert without_source(own, table).stack.gemm_scale == 1.25
    assert without_source(other, table) is other


def test_values_must_be_of_a_shipped_table() -> None:
    with pytest.raises(SpecError, match="no value is for a shipped table"):
        validate_left_out([LeftOutValue("nowhere", "ideal", "gemm_scale", 1.0)])


def test_errors_stand_side_by_side() -> None:
    fitted = validation_result([row("a", 1.0, 1.1), row("b", 1.0, 0.9)])
    left_out = validation_result([row("a", 1.0, 1.3)])
    table = left_out_table(fitted, left_out)
    assert len(table.columns) == len(table.align) == len(table.rows[0])
    assert table.rows == (
        ("a", "1", "10.0 %", "+10.0 %", "30.0 %", "+30.0 %"),
        ("all", "2", "10.0 %", "+0.0 %", "20.0 %", "+10.0 %"),
    )


def test_coverage_is_the_share_of_test_rows_in_their_range() -> None:
    rows = [row("a", 1.0, 1.05), row("a", 1.0, 1.5), row("a", 1.0, 9.0, role="calibration")]
    result = validation_result(rows)
    assert result.overall.range_coverage == 0.5
    assert result.to_json()["overall"]["range_coverage"] == 0.5


def test_without_ranges_there_is_no_coverage() -> None:
    plain = replace(row("a", 1.0, 1.0), range_low_s=None)
    assert validation_result([plain]).overall.range_coverage is None
