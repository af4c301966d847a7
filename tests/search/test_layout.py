from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.scenario import Scenario
from simulator.schedule.table import build_schedule
from simulator.search.layout import Layout, Pipeline, layout_parameters


def test_stages_of_one_kind_are_counted_once(tiny: Scenario) -> None:
    layout = Layout.of(tiny, 4, balanced=False)
    assert [kind.num_layers for kind in layout.kinds] == [2, 2, 2, 2]
    # First and last hold the embedding and the output, the two between are alike.
    assert layout.kind_index.tolist() == [0, 1, 1, 2]
    assert tuple(layout.distinct[index] for index in layout.kind_index) == layout.kinds


@pytest.mark.parametrize(("name", "together"), [("1f1b", False), ("zb-v", True)])
def test_a_tied_table_counts_once_where_both_ends_share_a_rank(
    tiny: Scenario, name: str, together: bool
) -> None:
    chunks = 2 if together else 1
    schedule = build_schedule(name, 2, 4, chunks)
    pipeline = Pipeline(schedule, Layout.of(tiny, 2 * chunks, balanced=False))
    assert pipeline.ends_share_rank is together
    tps = np.array([1.0, 2.0])
    tied, apart = (
        layout_parameters(
            replace(tiny, model=replace(tiny.model, tied_embeddings=is_tied)), pipeline, tps
        )
        for is_tied in (True, False)
    )
    table = np.zeros_like(apart)
    # On the last stage: 393 * 128 rows of 1,024, for tp 2 padded to 197 * 256, of which half.
    table[-1] = np.array([50304, 50432 / 2]) * 1024 * together
    np.testing.assert_array_equal(apart - tied, table)


def test_one_stage_has_no_second_end(tiny: Scenario) -> None:
    pipeline = Pipeline(build_schedule("1f1b", 1, 4, 1), Layout.of(tiny, 1, balanced=False))
    assert not pipeline.ends_share_rank
