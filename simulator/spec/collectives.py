"""Schema of the measured collective curves: inside a node and between nodes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    field_validator,
    model_validator,
)

from simulator.cost.collective import ALGORITHMS
from simulator.errors import SpecError, UnknownNameError
from simulator.machine import CollectiveCurve, NetworkCurve, ProtocolLine
from simulator.spec.quantity import BytesPerSecond, Count, Fraction, Positive, Seconds, Text
from simulator.spec.validate import Spec


def known_algorithms(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, if each is one of ``ALGORITHMS``.

    Raises:
        SpecError: if one is unknown, there is none, or one stands twice.
    """
    for name in names:
        if name not in ALGORITHMS:
            raise UnknownNameError.of("collective algorithm", name, ALGORITHMS)
    if not names or len(set(names)) < len(names):
        raise SpecError(
            f"[{', '.join(names)}] is no choice of algorithms",
            hint=f"name at least one, each once, of {', '.join(sorted(ALGORITHMS))}",
        )
    return names


def check_switches(
    names: Iterable[str], cluster: str, switches_reduce: bool, where: str = "collective_algorithms"
) -> None:
    """Checks that a cluster's switches add if an algorithm needs that.

    Raises:
        SpecError: if they do not, as far as its file says.
    """
    for name in names:
        if ALGORITHMS[name].in_switches and not switches_reduce:
            raise SpecError(
                f"'{name}' adds inside the switches between nodes, and nothing says that those of "
                f"cluster '{cluster}' can",
                where=where,
                hint=f"leave {name} out, or say so in the cluster's file: "
                "'switches_reduce: {value: true, source: ...}'",
            )


def _one_or_many(names: object) -> object:
    return [names] if isinstance(names, str) else names


Algorithms = Annotated[
    tuple[Text, ...],
    BeforeValidator(_one_or_many, json_schema_input_type=str | list[str]),
    AfterValidator(known_algorithms),
]
"""One name or a list of them."""


class BulkSpec(Spec):
    """The bulk protocol; its bandwidth depends on the group's size and is given apart."""

    base: Seconds
    hop: Seconds


class LineSpec(Spec):
    """One alpha-beta line."""

    base: Seconds
    hop: Seconds = 0.0
    bandwidth: BytesPerSecond

    def line(self) -> ProtocolLine:
        """The frozen form."""
        return ProtocolLine(self.base, self.hop, self.bandwidth)


class SmallExchangeSpec(LineSpec):
    """The small line of an all-to-all; ``per_peer``: its bandwidth is that of one peer."""

    per_peer: StrictBool = False


class InNetworkSpec(Spec):
    """Reduction in the switch."""

    base: Seconds
    bandwidth: BytesPerSecond
    min_size: Count


class CollectiveSpec(Spec):
    """Constants of ``machine.CollectiveCurve``; the keys of the maps are group sizes."""

    source: Text
    ll: LineSpec
    ll128: LineSpec
    simple: BulkSpec
    ring: dict[int, BytesPerSecond]
    all_reduce: dict[int, BytesPerSecond]
    small_group_factor: dict[int, Positive] = Field(default_factory=dict[int, float])
    in_network: InNetworkSpec | None = None
    all_to_all: LineSpec
    all_to_all_small: SmallExchangeSpec
    all_to_all_ramp: LineSpec | None = None
    all_to_all_factor: dict[int, Positive] = Field(default_factory=dict[int, float])

    @field_validator("ring", "all_reduce")
    @classmethod
    def _has_sizes(cls, rates: dict[int, float]) -> dict[int, float]:
        if not rates or min(rates) < 2:
            raise SpecError(
                f"group sizes {sorted(rates)} are no group sizes",
                hint="give a bandwidth for at least one size of 2 or more",
            )
        return dict(sorted(rates.items()))

    def curve(self) -> CollectiveCurve:
        """The frozen form."""
        tree = self.in_network
        return CollectiveCurve(
            ll=self.ll.line(),
            ll128=self.ll128.line(),
            simple=ProtocolLine(self.simple.base, self.simple.hop, max(self.ring.values())),
            ring_bytes_per_s=self.ring,
            all_reduce_bytes_per_s=self.all_reduce,
            small_group_factor=dict(sorted(self.small_group_factor.items())),
            in_network=ProtocolLine(tree.base, 0.0, tree.bandwidth) if tree else None,
            in_network_min_size=tree.min_size if tree else 0,
            all_to_all=self.all_to_all.line(),
            all_to_all_small=self.all_to_all_small.line(),
            all_to_all_ramp=self.all_to_all_ramp.line() if self.all_to_all_ramp else None,
            all_to_all_factor=dict(sorted(self.all_to_all_factor.items())),
            all_to_all_per_peer=self.all_to_all_small.per_peer,
        )


class NetworkSpec(Spec):
    """Constants of ``machine.NetworkCurve``.

    ``fill_bandwidth`` is the payload per second of pipeline fill at each tree level,
    1 / kappa; ``fill_max`` is its cap C. ``eager_bandwidth``, 1 / epsilon, and ``handshake``, E,
    are given together or not at all.
    """

    source: Text
    bandwidth_fraction: Fraction
    base: Seconds
    hop: Seconds
    fill_bandwidth: BytesPerSecond
    fill_max: Seconds
    ring_hop: Seconds
    message: Seconds
    two_node_trees: StrictBool = False
    message_fraction: Fraction | None = None
    eager_bandwidth: BytesPerSecond | None = None
    handshake: Seconds | None = None

    @model_validator(mode="after")
    def _eager_and_handshake(self) -> NetworkSpec:
        if (self.eager_bandwidth is None) != (self.handshake is None):
            given = "handshake" if self.eager_bandwidth is None else "eager_bandwidth"
            missing = "eager_bandwidth" if given == "handshake" else "handshake"
            raise SpecError(
                f"{given} is given without {missing}",
                hint="a network that sends short messages eagerly needs both",
            )
        return self

    def curve(self) -> NetworkCurve:
        """The frozen form."""
        return NetworkCurve(
            bandwidth_fraction=self.bandwidth_fraction,
            base_s=self.base,
            hop_s=self.hop,
            chunk_s_per_byte=1 / self.fill_bandwidth,
            chunk_s=self.fill_max,
            ring_hop_s=self.ring_hop,
            message_s=self.message,
            two_node_trees=self.two_node_trees,
            message_fraction=self.message_fraction,
            eager_s_per_byte=1 / self.eager_bandwidth if self.eager_bandwidth else 0.0,
            handshake_s=self.handshake or 0.0,
        )
