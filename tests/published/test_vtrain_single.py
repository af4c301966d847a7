"""The single-node table of vTrain holds outputs of its authors' predictor, not measurements.

The predictor (github:VIA-Research/vTrain@f8dda84 src/predictor.py) adds one all-reduce of all
gradients to a step: an entry of a table by ranks and whole MB (trace/a100/AR_GPU*_LUT, last
columns), and beyond 1024 MB the size over 1024 times the bus bandwidth of the last entry, without
the 2 (n - 1) / n of an all-reduce. Runs that differ in data-parallel ranks alone differ by just
that. The original file prints nanoseconds; ours is rounded to microseconds.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations

import pytest

from simulator.published.mapping import Case, map_row
from simulator.published.rows import PublishedRow, read_rows
from simulator.published.validate import published_paths

VOCAB = 50257  # src/config.py
LAST_BUS_GB_PER_S = {2: 196.89, 4: 221.37, 8: 229.25}  # at 1024 MB
TABLE_NS = {  # ranks, MB
    (4, 679): 4_887_800,
    (8, 679): 5_488_400,
    (4, 775): 5_591_900,
    (8, 775): 6_345_600,
}


def gradient_mb(hidden: int, layers: int, tp: int) -> int:
    """MB of the predictor's model: embeddings, layers and an output layer of its own, 2 bytes each.

    Hidden 1024, 20 layers, tp 1: 2 x 50257 x 1024 + 1024 x 1024 + 20 x (12 x 1024^2 + 13 x 1024)
    = 355,899,392 parameters, 711,798,784 bytes, 678.8 MB.
    """
    words = 2 * (VOCAB // tp) * hidden + 1024 * hidden
    matrices = 12 * hidden * hidden // tp
    vectors = 6 * hidden + 7 * hidden // tp
    return round(2 * (words + layers * (matrices + vectors)) / 2**20)


def all_reduce_us(ranks: int, mb: int) -> float | None:
    """Time that the predictor takes; None for an entry that is not listed here."""
    if mb > 1024:
        return mb / (LAST_BUS_GB_PER_S[ranks] * 1024) * 1e6
    entry = TABLE_NS.get((ranks, mb))
    return None if entry is None else entry / 1e3


def single_node_rows() -> list[PublishedRow]:
    (path,) = [path for path in published_paths() if path.stem == "vtrain1"]
    return list(read_rows(path))


def test_gradients_by_hand() -> None:
    assert gradient_mb(1024, 20, 1) == 679
    # 2 x 50257 x 2048 + 1024 x 2048 + 24 x (12 x 2048^2 + 13 x 2048) = 1,416,548,352 parameters
    assert gradient_mb(2048, 24, 1) == 2702


def test_runs_differ_by_the_predictors_all_reduce() -> None:
    layouts: defaultdict[tuple[float, ...], dict[int, float]] = defaultdict(dict)
    columns = ("hidden", "layers", "tp", "micro_batch", "n_microbatches")
    for row in single_node_rows():
        if row.integer("pp") == 1:
            layout = tuple(row.needed(column) for column in columns)
            layouts[layout][int(row.needed("dp"))] = row.numbers["step_time_s"] * 1e6
    compared = 0
    for (hidden, layers, tp, *_), times_us in layouts.items():
        mb = gradient_mb(int(hidden), int(layers), int(tp))
        for few, many in combinations(sorted(dp for dp in times_us if dp > 1), 2):
            fewer_us, more_us = all_reduce_us(few, mb), all_reduce_us(many, mb)
            if fewer_us is None or more_us is None:
                continue
            # Two times rounded to a microsecond, and the predictor's own whole nanoseconds.
            expected = pytest.approx(more_us - fewer_us, abs=1.001)
            assert times_us[many] - times_us[few] == expected
            compared += 1
    assert compared == 40


def test_rows_run_on_a_stack_of_their_own_and_say_so() -> None:
    for row in single_node_rows():
        case = map_row(row)
        assert isinstance(case, Case)
        assert case.scenario.stack.name == "vtrain-simulator"
        assert "step_time_origin predicted, not measured" in case.notes
