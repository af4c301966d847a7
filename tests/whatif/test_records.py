"""Results as JSON and as tables: plain data, a line per result, terms as columns."""

import csv
import io
import json

import pytest

from simulator.report.report import MEMORY_TERMS, TIME_TERMS
from simulator.table_file import csv_text, table_of
from simulator.whatif.axes import Axis
from simulator.whatif.comparing import compare
from simulator.whatif.records import (
    comparison_json,
    comparison_records,
    scaling_json,
    scaling_records,
    sensitivity_json,
    sensitivity_records,
)
from simulator.whatif.scaling import scale
from simulator.whatif.sensitivity import sensitivity
from tests.whatif.made import small

CURVES = scale(small("training.micro_batch_size=1"), [4, 5, 8, 64], ["strong"])
COMPARISON = compare({"small": small()}, [Axis("plan.sharding", ("ddp", "zero3", "zero1"))])
SENSITIVITY = sensitivity(
    small(), [Axis("training.micro_batch_size", (2, 3))], levers=["peak_flops"]
)


def lines(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize(
    "data",
    [scaling_json("small", CURVES), comparison_json(COMPARISON), sensitivity_json(SENSITIVITY)],
    ids=["scale", "compare", "sensitivity"],
)
def test_json_is_plain_data(data: dict[str, object]) -> None:
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_json_of_a_curve_has_its_end_and_what_is_left_out() -> None:
    (curve,) = scaling_json("small", CURVES)["curves"]
    assert curve["mode"] == "strong"
    assert [point["devices"] for point in curve["points"]] == [4, 8]
    assert [out["devices"] for out in curve["left_out"]] == [5, 64]
    assert curve["pays_to_devices"] == 8
    point = curve["points"][1]
    assert sum(point["losses"].values()) == pytest.approx(1 - point["efficiency"])
    assert sum(point["time"].values()) == pytest.approx(point["step_time_s"])


def test_a_table_of_a_curve_has_a_line_per_number_of_devices() -> None:
    found = lines(csv_text(table_of(scaling_records(CURVES))))
    assert [line["devices"] for line in found] == ["4", "5", "8", "64"]
    assert [bool(line["reason"]) for line in found] == [False, True, False, True]
    assert float(found[0]["efficiency"]) == 1.0
    assert found[0]["marginal_efficiency"] == ""
    lost = sum(float(found[2][f"losses_{term}"]) for term in TIME_TERMS)
    assert lost == pytest.approx(1 - float(found[2]["efficiency"]))


def test_a_table_of_a_comparison_has_a_line_per_candidate() -> None:
    found = lines(csv_text(table_of(comparison_records(COMPARISON))))
    assert [line["label"] for line in found] == [c.label for c in COMPARISON.candidates]
    longer = sum(float(found[1][f"time_difference_s_{term}"]) for term in TIME_TERMS)
    steps = [float(line["step_time_s"]) for line in found]
    assert longer == pytest.approx(steps[1] - steps[0])
    more = sum(float(found[1][f"memory_difference_bytes_{term}"]) for term in MEMORY_TERMS)
    peaks = [float(line["peak_bytes"]) for line in found]
    assert more == pytest.approx(peaks[1] - peaks[0])


def test_a_table_of_a_sensitivity_has_a_line_per_setting() -> None:
    found = lines(csv_text(table_of(sensitivity_records(SENSITIVITY))))
    assert {(line["lever"], line["setting"]) for line in found} == {
        ("peak_flops", "x0.5"),
        ("peak_flops", "x2"),
        ("training.micro_batch_size", "2"),
    }
    ((left_out),) = sensitivity_json(SENSITIVITY)["left_out"]
    assert (left_out["lever"], left_out["setting"]) == ("training.micro_batch_size", "3")


def test_an_empty_table_has_no_lines() -> None:
    assert lines(csv_text(table_of([]))) == []
