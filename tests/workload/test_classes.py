from __future__ import annotations

import numpy as np
import pytest

from simulator.workload.classes import SPEED_SCALED, TERMS, CostTableDraft


def test_a_name_is_a_row_and_its_first_price_stands() -> None:
    draft = CostTableDraft()
    forward = draft.add("F", {"compute": 2.0, "tp_comm": 0.5}, alloc_bytes=10.0)
    backward = draft.add("B", {"compute": 4.0}, free_bytes=10.0)
    assert draft.add("F", {"compute": 99.0}) == forward == 0
    assert backward == 1
    table = draft.build()
    assert table.names == draft.names == ("F", "B")
    assert table.seconds.tolist() == [2.5, 4.0]
    assert table.alloc_bytes.tolist() == [10.0, 0.0]
    assert table.free_bytes.tolist() == [0.0, 10.0]


def test_communication_does_not_scale_with_speed() -> None:
    draft = CostTableDraft()
    draft.add("all", dict.fromkeys(TERMS, 1.0))
    table = draft.build()
    assert [term for term, scaled in zip(TERMS, SPEED_SCALED, strict=True) if scaled] == [
        "compute",
        "recompute",
        "optimizer",
        "overhead",
    ]
    assert table.device_s.tolist() == [4.0]
    assert table.waiting_s.tolist() == [len(TERMS) - 4.0]
    assert table.seconds == pytest.approx(table.device_s + table.waiting_s)


def test_a_batch_of_prices_is_a_leading_axis() -> None:
    draft = CostTableDraft()
    draft.add("many", {"compute": np.array([1.0, 2.0, 3.0]), "pp_comm": 0.5})
    draft.add("one", {"dp_comm": 7.0})
    table = draft.build()
    assert table.terms_s.shape == (3, 2, len(TERMS))
    np.testing.assert_array_equal(table.seconds, [[1.5, 7.0], [2.5, 7.0], [3.5, 7.0]])


def test_an_unknown_term_is_an_error() -> None:
    draft = CostTableDraft()
    draft.add("x", {"coffee": 1.0})
    with pytest.raises(ValueError, match="not in tuple"):
        draft.build()


def test_an_empty_draft_is_an_empty_table() -> None:
    table = CostTableDraft().build()
    assert table.seconds.size == table.alloc_bytes.size == 0
