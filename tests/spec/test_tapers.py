"""A dragonfly's tiers and its global links describe one network."""

from __future__ import annotations

import pytest

from simulator.errors import SpecError
from simulator.machine import Cluster
from simulator.spec.hardware import load_cluster


def dragonfly(oversubscription: float, global_links: int) -> Cluster:
    tiers = [
        {"name": "group", "nodes_per_group": 16, "oversubscription": 1, "hop": "1 us"},
        {"name": "all", "nodes_per_group": 64, "oversubscription": oversubscription, "hop": "2 us"},
    ]
    facts = {"switches_per_group": 4, "global_links": global_links, "routing": "minimal"}
    return load_cluster(
        {
            "extends": "dgx-h100-superpod",
            "num_nodes": {"value": 64, "source": "a test"},
            "tiers": [{**tier, "source": "a test"} for tier in tiers],
            "fabric": {
                "kind": "dragonfly",
                **{key: {"value": value, "source": "a test"} for key, value in facts.items()},
            },
        }
    )


@pytest.mark.parametrize(("ratio", "links"), [(2.67, 16), (42.7, 1), (1.0, 43)])
def test_tiers_that_say_what_the_links_say(ratio: float, links: int) -> None:
    """16 nodes of 8 NICs are 128 of them, for three other groups: 128 / 48, 128 / 3, 128 / 129."""
    assert dragonfly(ratio, links).tiers[-1].oversubscription == ratio


@pytest.mark.parametrize(("ratio", "links"), [(1.0, 1), (2.0, 16), (42.7, 4)])
def test_tiers_that_say_something_else(ratio: float, links: int) -> None:
    with pytest.raises(SpecError) as caught:
        dragonfly(ratio, links)
    message = str(caught.value)
    assert f"{links} global links to each of 3 others, {3 * links} for 128 NICs" in message
    assert f"write oversubscription: {128 / (3 * links):.3g}" in message
