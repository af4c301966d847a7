"""What hashing and oversubscription cost: random permutations on a fat tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.fabric.fair import Incidence, fair_rates
from simulator.fabric.fat_tree import Spreading, Tree, fat_tree
from simulator.fabric.links import Fabric
from simulator.machine import FabricTier
from simulator.numeric import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class PermutationLoss:
    """Slowdowns of permutation traffic, means over several permutations; 1 is a NIC's full rate.

    Attributes:
        hashed: until all are done, each flow on one path (ECMP).
        hashed_mean: of a flow: full rate over its rate.
        ideal: until all are done, packets spread over all paths.
        ideal_mean: of a flow.
        worst_collisions: flows on the fullest link between switches.
    """

    hashed: float
    hashed_mean: float
    ideal: float
    ideal_mean: float
    worst_collisions: float

    @property
    def ecmp(self) -> float:
        """What the hash alone costs: hashed over ideal."""
        return self.hashed / self.ideal


def permutation_loss(
    num_nodes: int,
    tiers: Sequence[FabricTier],
    *,
    flows_per_pair: int = 1,
    samples: int = 10,
    seed: int = 0,
) -> PermutationLoss:
    """Expected slowdown when every node sends to another one, each to one and from one.

    With b balls in b bins the fullest bin holds about ln b / ln ln b of them: hashing costs a
    factor of 3 to 4 on hundreds of links, however much bandwidth there is in sum, and less where a
    pair spreads its bytes over several flows.

    Source: Raab & Steger 1998, "Balls into bins - a simple and tight analysis".

    Args:
        num_nodes: one port each.
        tiers: of the tree.
        flows_per_pair: connections over which a pair spreads its bytes.
        samples: permutations.
        seed: of permutations and hashes.
    """
    rng = np.random.default_rng(seed)
    rows: list[tuple[float, float, float, float, float]] = []
    for sample in range(samples):
        target = rng.permutation(num_nodes)
        slow = {
            spreading: _slowdowns(
                fat_tree(
                    num_nodes,
                    1.0,
                    Tree(tuple(tiers), spreading=spreading, seed=seed + 1000 * sample),
                ),
                target,
                flows_per_pair,
            )
            for spreading in _SPREADINGS
        }
        hashed, crowd = slow["ecmp"]
        ideal = slow["sprayed"][0]
        rows.append(
            (hashed.max(), hashed.mean(), ideal.max(), ideal.mean(), crowd / flows_per_pair)
        )
    return PermutationLoss(*np.mean(rows, axis=0).tolist())


_SPREADINGS: Final[tuple[Spreading, ...]] = ("ecmp", "sprayed")


def _slowdowns(fabric: Fabric, target: IntArray, per_pair: int) -> tuple[FloatArray, int]:
    """Slowdown of every pair, at the rates that all flows have at first; most flows on a link."""
    source = np.repeat(np.flatnonzero(target != np.arange(len(target))), per_pair)
    key = np.arange(len(source)) % per_pair
    routes = fabric.routes(source, target[source], key)
    row, column = np.nonzero(routes >= 0)
    entries = Incidence(row, routes[row, column], np.ones(len(row)))
    count = len(source)
    rate = fair_rates(
        entries, fabric.capacity_bytes_per_s, np.ones(count), np.full(count, np.inf)
    ).rate
    ports = 2 * fabric.num_endpoints  # links of ports come first
    crowd = np.bincount(routes[routes >= 0], minlength=fabric.num_links)[ports:]
    # A pair is done when its slowest connection is.
    slowest = rate.reshape(-1, per_pair).min(axis=1)
    return 1.0 / (slowest * per_pair), int(crowd.max(initial=0))
