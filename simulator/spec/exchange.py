"""Schema of ``plan.exchange``: one form per policy, so that keys of another policy are errors."""

from __future__ import annotations

import math
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field, Strict, StrictBool

from simulator.exchange_policy import Exchange, OuterHome, PolicyName, SiteLink, WireName
from simulator.machine import Cluster
from simulator.spec.quantity import BytesPerSecond, Count, Fraction, FractionOrZero, Seconds
from simulator.spec.validate import Spec

Steps = Annotated[int, Strict(), Field(ge=1, le=5000)]
StepsOrZero = Annotated[int, Strict(), Field(ge=0, le=5000)]
WarmUp = Annotated[FractionOrZero, Field(lt=1)]


class SiteLinkSpec(Spec):
    """What joins the sites of the workers: bandwidth of a site, latency of a message."""

    bandwidth: BytesPerSecond
    latency: Seconds = 0.0

    def build(self) -> SiteLink:
        """The frozen form."""
        return SiteLink(self.bandwidth, self.latency)


class EveryStepSpec(Spec):
    """All gradients, every step: as without ``plan.exchange``."""

    policy: Literal["every_step"]


class _WorkersSpec(Spec):
    """Workers that train by themselves; ``wire`` holds the elements that they exchange."""

    workers: Count | None = None
    wan: SiteLinkSpec | None = None


class LocalSpec(_WorkersSpec):
    """Local SGD, DiLoCo: the whole model every so many inner steps, waited for."""

    policy: Literal["local"]
    every: Steps
    wire: WireName = "bf16"
    by_layer: StrictBool = False


class AsyncLocalSpec(_WorkersSpec):
    """CO2: parameters all-reduced beside the next ``every`` steps."""

    policy: Literal["async_local"]
    every: Steps
    wire: WireName = "bf16"


class StreamingSpec(_WorkersSpec):
    """Streaming DiLoCo: fragments one after the other, beside compute, in few bits."""

    policy: Literal["streaming"]
    every: Steps
    fragments: Count
    overlap_steps: StepsOrZero = 1
    wire: WireName = "fp4"
    by_layer: StrictBool = False
    outer_home: OuterHome = "device"


class OneBitSpec(Spec):
    """1-bit Adam: signs of the momentum after steps of warm-up in full precision."""

    policy: Literal["one_bit"]
    warm_up_share: WarmUp = 0.0


class LowRankSpec(Spec):
    """PowerSGD: factors of so low a rank."""

    policy: Literal["low_rank"]
    rank: Count = 4
    wire: WireName = "fp32"


class TopKSpec(Spec):
    """The largest elements of the gradient, this share of them, with their places."""

    policy: Literal["top_k"]
    share: Fraction
    wire: WireName = "fp32"


class ScalarSpec(Spec):
    """Zeroth-order training: losses along random directions, exchanged as one byte each."""

    policy: Literal["scalar"]
    perturbations: Count = 1


class ParameterServerSpec(Spec):
    """Servers that take in all gradients and send out new weights."""

    policy: Literal["parameter_server"]
    servers: Count = 1
    wire: WireName = "fp32"
    wan: SiteLinkSpec | None = None


ExchangeSpec: TypeAlias = Annotated[
    EveryStepSpec
    | LocalSpec
    | AsyncLocalSpec
    | StreamingSpec
    | OneBitSpec
    | LowRankSpec
    | TopKSpec
    | ScalarSpec
    | ParameterServerSpec,
    Field(discriminator="policy"),
]

_NOT_OURS: Final = frozenset({"policy", "workers", "wan"})


def build_exchange(
    spec: ExchangeSpec | None, dp: int, num_devices: int, cluster: Cluster
) -> Exchange | None:
    """The frozen form; None for every step.

    Workers left out are the nodes of ``async_local``, else every data-parallel rank.

    Args:
        spec: as written.
        dp: data-parallel degree.
        num_devices: of the plan.
        cluster: on whose nodes it lies.
    """
    if spec is None or isinstance(spec, EveryStepSpec):
        return None
    policy: PolicyName = spec.policy
    workers, wan = dp, None
    if isinstance(spec, _WorkersSpec):
        workers = spec.workers or dp
        if spec.workers is None and isinstance(spec, AsyncLocalSpec):
            workers = max(math.ceil(num_devices / cluster.node.num_devices), 1)
    if isinstance(spec, (_WorkersSpec, ParameterServerSpec)) and spec.wan:
        wan = spec.wan.build()
    values = {name: getattr(spec, name) for name in type(spec).model_fields}
    own = {name: value for name, value in values.items() if name not in _NOT_OURS}
    return Exchange(policy=policy, workers=workers, wan=wan, **own)


def exchange_data(exchange: Exchange) -> dict[str, object]:
    """An ``Exchange`` as ``plan.exchange`` holds it: the keys of its own policy."""
    schema = _SCHEMAS[exchange.policy]
    keys = [name for name in schema.model_fields if name != "wan"]
    data: dict[str, object] = {name: getattr(exchange, name) for name in keys}
    if exchange.wan is not None:
        data["wan"] = {
            "bandwidth": f"{exchange.wan.bytes_per_s:.17g} B/s",
            "latency": f"{exchange.wan.latency_s:.17g} s",
        }
    return data


_SCHEMAS: Final[dict[PolicyName, type[Spec]]] = {
    "local": LocalSpec,
    "async_local": AsyncLocalSpec,
    "streaming": StreamingSpec,
    "one_bit": OneBitSpec,
    "low_rank": LowRankSpec,
    "top_k": TopKSpec,
    "scalar": ScalarSpec,
    "parameter_server": ParameterServerSpec,
}
