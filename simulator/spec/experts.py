"""Fields of a model's experts: what may be left out, and what must agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from simulator.errors import SpecError

EXPERT_FIELDS: Final = (
    "num_experts",
    "top_k",
    "expert_ffn_hidden_size",
    "shared_expert_ffn_hidden_size",
    "num_dense_layers",
    "expert_interval",
)
"""Fields of ``TransformerConfig`` that say what a model's experts are."""


def expert_fields(
    given: Mapping[str, int], ffn_hidden_size: int, num_layers: int, where: str
) -> dict[str, int]:
    """The fields with every default filled in; all at their neutral values in a dense model.

    An expert is as wide as the MLP of a dense layer unless its width is given.

    Args:
        given: fields that were written, by name.
        ffn_hidden_size: width of the MLP of a dense layer.
        num_layers: of the model.
        where: place of the model, for errors.

    Raises:
        SpecError: if there are fields of experts but no experts, no or too large a ``top_k``, or no
            layer that has experts.
    """
    num_experts = given.get("num_experts", 0)
    others = [name for name in EXPERT_FIELDS[1:] if name in given]
    if not num_experts:
        if others:
            raise SpecError(
                f"{others[0]} {given[others[0]]} is given, but num_experts is not",
                where=f"{where}.{others[0]}",
                hint="give num_experts, the experts of one layer",
            )
        return {}
    top_k = given.get("top_k")
    if top_k is None or top_k > num_experts:
        problem = "is missing" if top_k is None else f"{top_k} exceeds num_experts {num_experts}"
        raise SpecError(
            f"top_k {problem}", where=f"{where}.top_k", hint="experts that every token visits"
        )
    first = given.get("num_dense_layers", 0) + given.get("expert_interval", 1)
    if first > num_layers:
        raise SpecError(
            f"no layer has experts: the first would be layer {first} of {num_layers}",
            where=f"{where}.num_dense_layers",
            hint="lower num_dense_layers or expert_interval",
        )
    return {"expert_ffn_hidden_size": ffn_hidden_size, **given}
