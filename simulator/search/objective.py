"""What a search makes best, by name. Every objective is a number to be minimised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from simulator.errors import SpecError, UnknownNameError
from simulator.numeric import Numeric

SECONDS_PER_HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What objectives may depend on beside the step time.

    Attributes:
        tokens: per step.
        devices: that the plan uses.
        price_per_device_hour: in any currency; None if it was not given.
    """

    tokens: float
    devices: Numeric
    price_per_device_hour: float | None


def _step_time(step_s: Numeric, _: Setting) -> Numeric:
    return step_s


def _tokens_per_s(step_s: Numeric, setting: Setting) -> Numeric:
    return -setting.tokens / step_s


def _tokens_per_s_per_device(step_s: Numeric, setting: Setting) -> Numeric:
    return -setting.tokens / step_s / setting.devices


def _cost_per_token(step_s: Numeric, setting: Setting) -> Numeric:
    return cost_per_token(step_s, setting)


OBJECTIVES: Final[Mapping[str, Callable[[Numeric, Setting], Numeric]]] = {
    "step_time": _step_time,
    "tokens_per_s": _tokens_per_s,
    "tokens_per_s_per_device": _tokens_per_s_per_device,
    "cost_per_token": _cost_per_token,
}
"""Name -> value that the best plan makes least; each grows with the step time."""


def cost_per_token(step_s: Numeric, setting: Setting) -> Numeric:
    """Costs of one token: price * devices * step time / tokens.

    Raises:
        SpecError: if no price is known.
    """
    if not setting.price_per_device_hour:
        # At no price all plans are alike.
        raise SpecError(
            "the objective cost_per_token needs a price above 0",
            where="--objective",
            hint="give --price, dollars per device-hour, for example 2.50",
        )
    price_per_device_s = setting.price_per_device_hour / SECONDS_PER_HOUR
    return price_per_device_s * setting.devices * step_s / setting.tokens


def objective(name: str) -> Callable[[Numeric, Setting], Numeric]:
    """The objective of a name.

    Raises:
        UnknownNameError: if there is none.
    """
    if name not in OBJECTIVES:
        raise UnknownNameError.of("objective", name, OBJECTIVES, where="--objective")
    return OBJECTIVES[name]
