from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.errors import SpecError
from simulator.report.record import from_json, to_json
from simulator.report.report import TIME_TERMS, Report

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def test_round_trip_keeps_everything_but_the_timeline(report: Report, oom_report: Report):
    assert from_json(to_json(report)) == replace(report, timeline=None)
    assert from_json(to_json(oom_report)) == oom_report


# The fixture is frozen, so that sharing it between examples is safe.
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(times=st.dictionaries(st.sampled_from(TIME_TERMS), FINITE), history=st.lists(FINITE))
def test_round_trip_of_any_numbers(report: Report, times: dict[str, float], history: list[float]):
    rank = replace(report.memory.rank_classes[0], history_bytes=tuple(history))
    memory = replace(report.memory, rank_classes=(rank, *report.memory.rank_classes[1:]))
    given_report = replace(report, time=times, memory=memory, timeline=None)
    text = to_json(given_report)
    assert from_json(text) == given_report
    assert to_json(from_json(text)) == text


def test_equal_reports_give_equal_bytes_whatever_the_order_of_their_mappings(report: Report):
    turned = replace(
        report,
        time=dict(reversed(list(report.time.items()))) | {"bubble": report.time["bubble"]},
        flops=dict(reversed(list(report.flops.items()))),
        scenario=dict(reversed(list(report.scenario.items()))),
        provenance=dict(reversed(list(report.provenance.items()))),
    )
    assert turned == report
    assert to_json(turned) == to_json(report)


def test_negative_zero_is_written_as_the_zero_it_equals(report: Report):
    assert to_json(replace(report, mfu=-0.0)) == to_json(replace(report, mfu=0.0))


def test_keys_are_the_documented_ones(report: Report):
    record = json.loads(to_json(report))
    assert list(record) == [
        "schema_version",
        "scenario",
        "step_time_s",
        "step_time_low_s",
        "step_time_high_s",
        "tokens_per_s",
        "tokens_per_s_per_device",
        "model_flops_per_s_per_device",
        "hardware_flops_per_s_per_device",
        "mfu",
        "hfu",
        "flops_convention",
        "flops",
        "time",
        "memory",
        "devices",
        "kernels",
        "assumptions",
        "provenance",
    ]
    assert list(record["memory"]) == [
        "fits",
        "capacity_bytes",
        "peak_bytes",
        "worst_rank_class",
        "terms",
        "per_rank_class",
        "out_of_memory",
    ]
    assert record["memory"]["terms"] == record["memory"]["per_rank_class"][0]["terms"]
    assert record["assumptions"][0] == {
        "name": "stack.kappa_gemm",
        "value": "0.93",
        "source": "fitted on calibration rows",
    }


def test_numbers_that_json_cannot_hold_are_refused(report: Report):
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(replace(report, step_time_s=float("inf")))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema_version",), "99", "schema version '99'"),
        (("mfu",), "high", "'high' is not a number"),
        (("mfu",), True, "'true' is not a number"),
        (("devices",), 1.5, "'1.5' is not a whole number"),
        (("memory", "fits"), 1, "'1' is not true or false"),
        (("flops",), [], "'[]' is not an object"),
        (("memory", "per_rank_class"), {}, "'{}' is not a list"),
        (("provenance", "version"), 1, "'1' is not a string"),
    ],
)
def test_wrong_values_are_named_with_their_place(
    report: Report, path: tuple[str, ...], value: object, message: str
):
    record = json.loads(to_json(report))
    parent = record
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    with pytest.raises(SpecError) as caught:
        from_json(json.dumps(record))
    assert message in str(caught.value)
    assert f"at report.{'.'.join(path)}" in str(caught.value)


def test_a_missing_key_is_named(report: Report):
    record = json.loads(to_json(report))
    del record["memory"]["per_rank_class"][1]["peak_at_s"]
    with pytest.raises(SpecError, match=r"'peak_at_s' is missing\n  at .*per_rank_class\[1\]"):
        from_json(json.dumps(record))


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000])
def test_text_that_is_no_report(text: str):
    with pytest.raises(SpecError):
        from_json(text)
