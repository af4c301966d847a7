import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from simulator.errors import PlanError, SpecError
from simulator.published.results import ValidationResult, same_work
from simulator.published.rows import PublishedRow, read_rows
from simulator.published.validate import check_row, published_paths, validate
from simulator.report.report import Report
from simulator.scenario import Scenario
from simulator.views import print_view, validation_view

Run = Callable[[Scenario], Report]
MakeRow = Callable[..., PublishedRow]

ROW_KEYS = {
    *("id", "source", "role", "tier", "status", "reason"),
    *("measured_step_time_s", "predicted_step_time_s", "error", "range_low_s", "range_high_s"),
    *(
        "measured_memory_bytes",
        "predicted_memory_bytes",
        "memory_error",
        "simulated",
        "range_basis",
    ),
    *("fits_measured", "fits_predicted"),
}
STATISTICS = {
    *("compared", "bias", "mape", "median", "p90", "worst"),
    *("within_10_percent", "within_20_percent"),
}
RANKING = {
    *("order_right", "pairs", "pairs_right", "pairs_tied", "groups"),
    *("mean_regret", "worst_regret", "within_4_percent"),
}
SUMMARY_KEYS = {
    *("count", "skipped", "coverage", "calibration", "memory", "fits", "ranking", "range_coverage"),
    *STATISTICS,
}


@pytest.fixture(scope="module")
def shipped() -> ValidationResult:
    """All shipped rows, with a simulator that refuses everything: what remains is the mapping."""

    def refuse(scenario: Scenario) -> Report:
        raise PlanError("mapped")

    return validate(run=refuse, workers=1)


def test_every_shipped_row_is_listed_once(shipped: ValidationResult) -> None:
    expected = [row.row_id for path in published_paths() for row in read_rows(path)]
    assert [row.row_id for row in shipped.rows] == expected
    assert all(row.status == "skipped" for row in shipped.rows)
    assert all(note.strip() for row in shipped.rows for note in row.notes)
    assert all(row.notes for row in shipped.rows)


def test_counts_of_the_shipped_rows_add_up(shipped: ValidationResult) -> None:
    assert shipped.overall.count == len(shipped.rows)
    assert sum(source.count for source in shipped.sources.values()) == len(shipped.rows)
    assert set(shipped.sources) == {path.stem for path in published_paths()}
    assert shipped.overall.skipped == len(shipped.rows)


@pytest.mark.parametrize("source", ["kort", "megascale", "sc21t1", "vtrain", "hage", "zb"])
def test_sources_that_must_be_covered_whole(shipped: ValidationResult, source: str) -> None:
    notes = {row.notes for row in shipped.rows if row.source == source}
    assert notes == {("mapped",)}


def test_most_dense_rows_are_mapped(shipped: ValidationResult) -> None:
    reasons = Counter(row.notes[0] for row in shipped.rows)
    assert reasons["mapped"] > 2400  # 2,480 of 3,264 when this was written; a guard against loss


def test_one_row(two_seconds: Run, make_row: MakeRow) -> None:
    """Predicted 2 s and 67 GB, measured 0.5 s and 50 GB: errors +300 % and +34 %."""
    result = check_row(make_row(ffn="4096", memory_gb="50"), two_seconds)
    assert result.to_json() == {
        "id": "r1",
        "source": "mine",
        "role": "test",
        "tier": "",
        "status": "ok",
        "reason": "",
        "measured_step_time_s": 0.5,
        "predicted_step_time_s": 2.0,
        "error": 3.0,
        "range_low_s": None,
        "range_high_s": None,
        "measured_memory_bytes": 50e9,
        "predicted_memory_bytes": 67e9,
        "memory_error": pytest.approx(0.34),
        "fits_measured": True,
        "fits_predicted": True,
        "simulated": False,
        "range_basis": "",
    }


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("", 67e9),
        ("torch max_allocated, GiB, worst rank", 60e9),  # without 2 + 1 + 4 GB
        ("GiB reserved as logged", 64e9),  # without 2 + 1 GB
        ("torch peak allocated, GiB, on the LAST rank (world_size-1)", 30e9),
        ("rank-0 peak allocated GiB", 60e9),
    ],
)
def test_memory_as_the_tool_sees_it(
    two_seconds: Run, make_row: MakeRow, kind: str, expected: float
) -> None:
    result = check_row(make_row(memory_gb="50", memory_kind=kind), two_seconds)
    assert result.predicted_memory_bytes == expected


def test_headline_is_over_test_rows_only(
    tmp_path: Path, write: Callable[..., Path], full_record: dict[str, str], two_seconds: Run
) -> None:
    """Test row: 2 / 2.5 - 1 = -20 %. Calibration row: 2 / 1 - 1 = +100 %. One cannot be run."""
    path = write(
        tmp_path / "mine.csv",
        full_record | {"step_time_s": "2.5"},
        full_record | {"id": "r2", "role": "calibration", "step_time_s": "1"},
        full_record | {"id": "r3", "gpu": "abacus"},
    )
    result = validate([path], run=two_seconds)
    overall = result.overall
    assert (overall.count, overall.skipped, overall.test.compared) == (3, 1, 1)
    assert overall.test.mape == pytest.approx(0.2)
    assert overall.test.bias == pytest.approx(-0.2)
    assert overall.calibration.mape == pytest.approx(1.0)
    assert (overall.fits_compared, overall.fits_right) == (1, 1)


def test_a_time_that_another_simulator_gave_is_marked(two_seconds: Run, make_row: MakeRow) -> None:
    assert check_row(make_row(step_time_origin="predicted"), two_seconds).simulated
    assert not check_row(make_row(step_time_origin="measured"), two_seconds).simulated


def test_json_shape(
    tmp_path: Path, write: Callable[..., Path], full_record: dict[str, str], two_seconds: Run
) -> None:
    path = write(tmp_path / "mine.csv", full_record, full_record | {"id": "r2", "tp": ""})
    data = json.loads(json.dumps(validate([path], run=two_seconds).to_json(), allow_nan=False))
    assert set(data) == {"rows", "sources", "tiers", "overall", "measured"}
    assert [set(row) for row in data["rows"]] == [ROW_KEYS, ROW_KEYS]
    assert [row["status"] for row in data["rows"]] == ["ok", "skipped"]
    assert data["rows"][1]["reason"] == "tp or pp is not stated"
    assert set(data["sources"]) == {"mine"}
    assert set(data["sources"]["mine"]) == SUMMARY_KEYS
    assert set(data["overall"]) == SUMMARY_KEYS
    assert set(data["overall"]["calibration"]) == STATISTICS
    assert set(data["overall"]["ranking"]) == RANKING
    assert data["overall"]["coverage"] == 0.5


def test_rows_of_the_same_work_are_ranked_within_their_source(
    tmp_path: Path, write: Callable[..., Path], full_record: dict[str, str], two_seconds: Run
) -> None:
    """Two plans of one work, of which one is a test row in another file: no group across files."""
    faster = full_record | {"id": "r2", "micro_batch": "2", "step_time_s": "0.4"}
    fitted = full_record | {"id": "r3", "micro_batch": "1", "role": "calibration"}
    mine = write(tmp_path / "mine.csv", full_record, faster, fitted)
    other = write(tmp_path / "other.csv", full_record)
    ranking = validate([mine, other], run=two_seconds).overall.ranking
    assert (ranking.groups, ranking.pairs, ranking.pairs_tied) == (1, 1, 1)


def test_repeated_runs_are_one_candidate(
    tmp_path: Path, write: Callable[..., Path], full_record: dict[str, str], two_seconds: Run
) -> None:
    """0.5 s, and 0.3 and 0.5 s for another plan: one pair, 0.5 against a mean of 0.4."""
    record = full_record | {"repeat_of": ""}
    other = record | {"id": "r2", "micro_batch": "2", "step_time_s": "0.3"}
    again = other | {"id": "r3", "step_time_s": "0.5", "repeat_of": "r2"}
    path = write(tmp_path / "mine.csv", record, other, again)
    ((times,),) = [same_work(validate([path], run=two_seconds).rows).values()]
    assert times == [(0.5, 2.0), (0.4, 2.0)]


def test_the_table_says_how_plans_are_ordered(
    tmp_path: Path,
    write: Callable[..., Path],
    full_record: dict[str, str],
    two_seconds: Run,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Measured 0.5 and 0.4 s, predicted equal: the pick takes 0.45 s in the mean, 12.5 % more."""
    faster = full_record | {"id": "r2", "micro_batch": "2", "step_time_s": "0.4"}
    path = write(tmp_path / "mine.csv", full_record, faster)
    print_view(validation_view(validate([path], run=two_seconds)))
    shown = capsys.readouterr().out
    assert "0.0 % of 1 pairs ordered right; the pick is 12.5 % slower than the best" in shown


def test_row_without_a_time_is_predicted_all_the_same(two_seconds: Run, make_row: MakeRow) -> None:
    result = check_row(make_row(step_time_s=""), two_seconds)
    assert (result.status, result.predicted_step_time_s, result.error) == ("ok", 2.0, None)
    assert "no measured time" in result.notes


def test_no_tables() -> None:
    with pytest.raises(SpecError, match="no table"):
        validate([])


def test_progress_counts_rows(
    tmp_path: Path,
    write: Callable[..., Path],
    full_record: dict[str, str],
    two_seconds: Run,
) -> None:
    path = write(tmp_path / "mine.csv", full_record)
    told: list[tuple[str, int, int | None]] = []
    found = validate([path], lambda *what: told.append(what), two_seconds)
    assert found == validate([path], run=two_seconds)
    assert told == [("Predicting rows", done, 1) for done in (0, 1)]
