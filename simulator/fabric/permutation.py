"""What hashing and oversubscription cost: random permutations of the nodes of a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from simulator.fabric.fair import Incidence, fair_rates
from simulator.fabric.fat_tree import Spreading
from simulator.fabric.links import Fabric
from simulator.numeric import FloatArray

Networks: TypeAlias = Callable[[Spreading, int], Fabric]
"""The network between NICs, however flows are spread, with hashes of any seed."""


@dataclass(frozen=True, slots=True)
class PermutationLoss:
    """Slowdowns of permutation traffic, means over several permutations; 1 is that of a pair alone.

    Attributes:
        slowest: of the last pair to finish.
        mean: of a pair.
    """

    slowest: float
    mean: float


def permutation_loss(
    networks: Networks,
    num_nics: int,
    spreading: Spreading,
    *,
    connections: int = 1,
    samples: int = 5,
    seed: int = 0,
) -> PermutationLoss:
    """Slowdown when every node sends to another one, each to one and from one, by all its NICs.

    With b balls in b bins the fullest bin holds about ln b / ln ln b of them: hashing costs a
    factor of 3 to 4 on hundreds of links, however much bandwidth there is in sum, and less where a
    pair spreads its bytes over several connections.

    Source: Raab & Steger 1998, "Balls into bins - a simple and tight analysis".
    Assumes: rates as they are while all pairs send; a NIC sends to the one of its number.

    Args:
        networks: of two nodes or more; port = node * NICs + NIC.
        num_nics: of a node.
        spreading: ``ecmp``: by hash; ``sprayed``: packets over all parallel links.
        connections: over which a pair of NICs spreads its bytes.
        samples: permutations.
        seed: of permutations and hashes.
    """
    rng = np.random.default_rng(seed)
    rows: list[tuple[float, float]] = []
    for sample in range(samples):
        fabric = networks(spreading, seed + 1000 * sample)
        slow = _slowdowns(fabric, num_nics, connections, rng)
        rows.append((float(slow.max()), float(slow.mean())))
    return PermutationLoss(*np.mean(rows, axis=0).tolist())


def _slowdowns(
    fabric: Fabric, num_nics: int, connections: int, rng: np.random.Generator
) -> FloatArray:
    """What a pair alone would get over what it gets. [pairs of NICs]."""
    # A circle through all nodes, so that none sends to itself.
    nodes = rng.permutation(fabric.num_endpoints // num_nics)
    ports = np.add.outer(nodes * num_nics, np.arange(num_nics))
    source, target = (ends.ravel().repeat(connections) for ends in (ports, np.roll(ports, -1, 0)))
    routes = fabric.routes(source, target, np.arange(len(source)) % connections)
    row, column = np.nonzero(routes >= 0)
    rate = fair_rates(
        Incidence(row, routes[row, column], np.ones(len(row))),
        fabric.capacity_bytes_per_s,
        np.ones(len(source)),
        np.full(len(source), np.inf),
    ).rate.reshape(-1, connections)
    alone = fabric.path_bytes_per_s(routes).reshape(-1, connections).max(axis=1)
    # A pair is done when its slowest connection is.
    slowdown: FloatArray = alone / (rate.min(axis=1) * connections)
    return slowdown
