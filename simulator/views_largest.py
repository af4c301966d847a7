"""Tables and records of ``memory --largest``."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.text import Text

from simulator.planning.largest_model import LargestModel, Size
from simulator.report.breakdown import MEMORY_LABELS, gigabytes
from simulator.report.report import RankMemory
from simulator.units import percent
from simulator.views import table


def largest_view(found: LargestModel) -> RenderableType:
    """The largest model and the next larger one, term by term on their worst ranks."""
    sizes = [size for size in (found.largest, found.too_large) if size is not None]
    titles = [f"{billions(s.parameters)}, {s.model.num_layers} layers" for s in sizes]
    ranks = [_worst(size) for size in sizes]
    names = list(dict.fromkeys(name for rank in ranks for name, v in rank.terms.items() if v > 0))
    rows = [
        [MEMORY_LABELS.get(name, name), *(gigabytes(rank.terms.get(name, 0.0)) for rank in ranks)]
        for name in names
    ]
    rows.append(["peak", *(gigabytes(rank.peak_bytes) for rank in ranks)])
    rows.append(["of memory", *(_filled(size) for size in sizes)])
    rows.append(["microbatch", *(str(size.micro_batch_size) for size in sizes)])
    rows.append(["", *("fits" if size is found.largest else "does NOT fit" for size in sizes)])
    parts: list[RenderableType] = [
        Text(headline(found)),
        Text(f"varied: {found.varied}"),
        Text(),
        table(rows, ("", *titles)),
        Text(),
        Text(f"limited by: {found.limit}"),
        *(Text(f"{name}: {reason}") for name, reason in found.left_out),
    ]
    return Group(*parts)


def headline(found: LargestModel) -> str:
    """The answer in one line."""
    if found.largest is None:
        return "not even the smallest model fits"
    model = found.largest.model
    return (
        f"largest model: {billions(found.largest.parameters)} parameters, "
        f"{model.name} with {model.num_layers} layers of width {model.hidden_size:,}"
    )


def largest_record(found: LargestModel) -> dict[str, object]:
    """The same as JSON data in SI units."""
    return {
        "varied": found.varied,
        "memory_share": found.memory_share,
        "largest": None if found.largest is None else _record(found.largest),
        "too_large": None if found.too_large is None else _record(found.too_large),
        "limited_by": found.limit,
        "left_out": [{"model": name, "reason": reason} for name, reason in found.left_out],
    }


def billions(parameters: int) -> str:
    """A number of parameters: ``12.9 B``, ``1.3 T``."""
    if parameters >= 999.5e9:
        return f"{parameters / 1e12:.3g} T"
    return f"{parameters / 1e9:.3g} B"


def _worst(size: Size) -> RankMemory:
    return max(size.memory.rank_classes, key=lambda rank: rank.peak_bytes)


def _filled(size: Size) -> str:
    return percent(size.memory.peak_bytes / size.memory.capacity_bytes)


def _record(size: Size) -> Mapping[str, object]:
    worst = _worst(size)
    return {
        "model": size.model.name,
        "num_layers": size.model.num_layers,
        "hidden_size": size.model.hidden_size,
        "num_parameters": size.parameters,
        "micro_batch_size": size.micro_batch_size,
        "fits": size.memory.fits,
        "peak_bytes": size.memory.peak_bytes,
        "capacity_bytes": size.memory.capacity_bytes,
        "worst_rank_class": worst.rank_class,
        "terms_bytes": dict(worst.terms),
    }
