"""Pairs of flows that come and go take room for those under way, not for all there ever were."""

from simulator.fabric.entries import Entries


def test_room_does_not_grow_with_flows_that_left() -> None:
    entries = Entries()
    for flow in range(1000):
        entries.add(flow, [(flow % 7, 1.0), (7, 0.5)])
        if flow >= 3:
            entries.remove(flow - 3)
    assert entries.capacity == 64
    pairs = entries.incidence()
    assert pairs.flow.tolist() == [997, 997, 998, 998, 999, 999]
    assert pairs.link.tolist() == [997 % 7, 7, 998 % 7, 7, 999 % 7, 7]
    assert pairs.share.tolist() == [1.0, 0.5] * 3
