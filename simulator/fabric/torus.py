"""Tori of any number of dimensions, with or without wrap links, twisted or not: closed form.

Endpoints are devices; the first axis varies fastest. A torus is the integer grid folded by a
lattice: the wrap link of an axis leads one length on, and a twist lets it land further along
another axis as well. A route is the shortest vector to the target, walked axis by axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from simulator.errors import PlanError
from simulator.fabric.hashing import choice
from simulator.fabric.links import NO_LINK, Fabric, LinkTable
from simulator.numeric import BoolArray, IntArray


@dataclass(frozen=True, slots=True)
class Twist:
    """Wrap links of ``axis`` land ``by`` devices further along ``along``."""

    axis: int
    along: int
    by: int


@dataclass(frozen=True, slots=True, eq=False)
class _TorusRouter:
    """Dimension order on the folded grid.

    Attributes:
        shape: devices along each axis.
        folds: [ways, axes], differences that lead to the same device.
        twist: [axes, axes], where the wrap link of an axis lands along the others.
        link: [devices, axes, 2], link up and down an axis, ``NO_LINK`` at an end without wrap.
        longest: [axes], most links that a route takes along each.
    """

    seed: int
    shape: tuple[int, ...]
    folds: IntArray
    twist: IntArray
    link: IntArray
    longest: tuple[int, ...]

    def routes(self, source: IntArray, target: IntArray, key: IntArray) -> IntArray:
        """See ``links.Router``: equal vectors, such as both ways around, by hash."""
        at = self.coordinates(source)
        ways = (self.coordinates(target) - at)[:, None, :] + self.folds
        lengths = np.abs(ways).sum(axis=-1)
        shortest = lengths == lengths.min(axis=1, keepdims=True)
        mixed = [
            choice(1 << 30, self.seed + i, source, target, key) for i in range(len(self.folds))
        ]
        rank = np.where(shortest, np.stack(mixed, axis=1), 1 << 31)
        vector = np.take_along_axis(ways, rank.argmin(axis=1)[:, None, None], axis=1)[:, 0]
        hops: list[IntArray] = []
        for axis, longest in enumerate(self.longest):
            sign = np.sign(vector[:, axis])
            for step in range(longest):
                walks = step < np.abs(vector[:, axis])
                link = self.link[self.number(at), axis, np.where(sign < 0, 1, 0)]
                hops.append(np.where(walks, link, NO_LINK))
                at = self.moved(at, axis, np.where(walks, sign, 0))
        return np.stack(hops, axis=-1) if hops else np.empty((len(source), 0), dtype=np.int64)

    def coordinates(self, device: IntArray) -> IntArray:
        """Places along the axes. [devices, axes]."""
        places: list[IntArray] = []
        for length in self.shape:
            device, place = np.divmod(device, length)
            places.append(place)
        return np.stack(places, axis=-1)

    def number(self, at: IntArray) -> IntArray:
        """Devices at places. [devices] of [devices, axes]."""
        strides = np.cumprod([1, *self.shape[:-1]])
        number: IntArray = at @ strides
        return number

    def moved(self, at: IntArray, axis: int, step: IntArray) -> IntArray:
        """One link along an axis; a wrap link lands where its twist says."""
        moved = at.copy()
        moved[:, axis] += step
        wraps = np.floor_divide(moved[:, axis], self.shape[axis])
        moved += wraps[:, None] * self.twist[axis]
        folded: IntArray = moved % np.array(self.shape)
        return folded


def torus(
    shape: Sequence[int],
    link_bytes_per_s: float,
    hop_s: float,
    *,
    wraps: Sequence[bool] = (),
    twists: Sequence[Twist] = (),
    seed: int = 0,
) -> Fabric:
    """A torus of devices.

    Source: Jouppi et al. 2023, "TPU v4" (arXiv 2304.01433), section 2.8 (3-D tori, some of them
        twisted: k x k x 2k and k x 2k x 2k); Camarero, Martinez & Beivide 2013, "Lattice graphs for
        high-scale interconnection topologies" (tori as folded lattices).

    Args:
        shape: devices along each axis.
        link_bytes_per_s: of one link, per direction.
        hop_s: latency of one link.
        wraps: whether each axis has wrap links; empty if all have.
        twists: of wrap links.
        seed: of the hash between equally short ways.

    Raises:
        PlanError: if a twist names an axis that is not there or does not wrap.
    """
    shape = tuple(shape)
    axes = len(shape)
    around = np.array(wraps or [True] * axes)
    twist = _twist_matrix(twists, around)
    if not twists:
        # An axis of two devices has one link between them, not one each way around.
        around &= np.array(shape) > 2
    num_devices = math.prod(shape)
    router = _TorusRouter(
        seed=seed,
        shape=shape,
        folds=_folds(shape, around.tolist(), twist),
        twist=twist,
        link=np.full((num_devices, axes, 2), NO_LINK),
        longest=tuple(
            length if twist.any() else (length // 2 if wrap else length - 1)
            for length, wrap in zip(shape, around.tolist(), strict=True)
        ),
    )
    table = _links(router, around, link_bytes_per_s, hop_s)
    return table.fabric(f"torus {' x '.join(map(str, shape))}", num_devices, router)


def _twist_matrix(twists: Sequence[Twist], around: BoolArray) -> IntArray:
    """How far the wrap links of every axis land along the others. [axes, axes]."""
    axes = around.size
    twist = np.zeros((axes, axes), dtype=np.int64)
    for one in twists:
        if not (max(one.axis, one.along) < axes and one.axis != one.along and around[one.axis]):
            raise PlanError(
                f"a twist of axis {one.axis} along {one.along} in a torus of {axes} axes",
                hint="a twist joins two axes, the first of which wraps around",
            )
        twist[one.axis, one.along] = one.by
    return twist


def _links(router: _TorusRouter, around: BoolArray, bytes_per_s: float, hop_s: float) -> LinkTable:
    """One link per device, axis and direction; the router learns their numbers."""
    table = LinkTable()
    place = router.coordinates(np.arange(math.prod(router.shape)))
    for axis, length in enumerate(router.shape):
        for down in range(2):
            edge = place[:, axis] == (0 if down else length - 1)
            joined = np.flatnonzero(~edge | around[axis])
            label = f"axis {axis} {'down' if down else 'up'} {{}}"
            router.link[joined, axis, down] = table.add(label, (len(joined),), bytes_per_s, hop_s)
    return table


def _folds(shape: tuple[int, ...], wraps: list[bool], twist: IntArray) -> IntArray:
    """Differences between coordinates of one device: sums of few wrap links. [ways, axes].

    The wrap link of an axis leads ``length`` on and lands ``twist`` further: so ``length`` along it
    is ``twist`` along the others.
    """
    # Twists of several axes may add up along one.
    reach = (-2, -1, 0, 1, 2) if twist.any() else (-1, 0, 1)
    ways = [
        sum(
            (
                times * (length * np.eye(len(shape), dtype=np.int64)[axis] - twist[axis])
                for axis, (times, length) in enumerate(zip(counts, shape, strict=True))
            ),
            np.zeros(len(shape), dtype=np.int64),
        )
        for counts in product(*(reach if wrap else (0,) for wrap in wraps))
    ]
    return np.array(ways, dtype=np.int64)
