from dataclasses import replace

import pytest

from simulator.published.accuracy_tables import coverage_table
from simulator.published.coverage import range_statistics
from simulator.published.results import RowResult, ranged, validation_result


def row(measured: float | None, low: float | None, high: float | None) -> RowResult:
    return RowResult(
        *("r", "mine", "test", "A", "ok", ()),
        measured_step_time_s=measured,
        predicted_step_time_s=10.0,
        range_low_s=low,
        range_high_s=high,
    )


def test_by_hand() -> None:
    """Measured in [9, 12] twice (once on its edge), below once, above once; width 3 of 10."""
    found = range_statistics(
        ranged([row(measured, 9.0, 12.0) for measured in (9.0, 11.0, 8.0, 13.0)])
    )
    assert found is not None
    assert (found.count, found.inside, found.below, found.above) == (4, 0.5, 0.25, 0.25)
    assert found.width == pytest.approx(0.3)


def test_rows_without_a_range_or_a_time_are_left_out() -> None:
    assert range_statistics(ranged([row(1.0, None, None), row(None, 9.0, 12.0)])) is None
    assert coverage_table(validation_result([row(1.0, None, None)])).rows == ()


def test_table_has_a_line_per_source_and_one_for_all() -> None:
    calibrated = replace(row(9.0, 9.0, 12.0), range_basis="from 12 calibration runs")
    table = coverage_table(validation_result([calibrated, row(13.0, 9.0, 12.0)]))
    assert [line[0] for line in table.rows] == [
        *("mine", "calibrated on the accelerator", "others", "all"),
    ]
    assert table.rows[1][1:] == ("1", "100.0 %", "0.0 %", "0.0 %", "30.0 %")
    assert table.rows[2][1:4] == ("1", "0.0 %", "0.0 %")
