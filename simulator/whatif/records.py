"""Results as plain data: JSON, and tables with one record per line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from simulator.report.report import Report
from simulator.report.shortage import short_of
from simulator.whatif.comparing import Comparison
from simulator.whatif.scaling import HELD, Curve
from simulator.whatif.sensitivity import Bar, Sensitivity

Record: TypeAlias = dict[str, object]
"""Keys are stable, numbers SI; a nested one is a set of terms."""


def scaling_json(name: str, curves: Sequence[Curve]) -> Record:
    """Everything that ``scale`` found."""
    return {
        "scenario": name,
        "curves": [
            {
                "mode": curve.mode,
                "held": HELD[curve.mode],
                "pays_above_marginal_efficiency": curve.pays,
                "pays_to_devices": curve.pays_to.devices if curve.pays_to else None,
                "stops_at_devices": curve.stops_at.devices if curve.stops_at else None,
                "points": _points(curve),
                "left_out": [{"devices": o.devices, "reason": o.reason} for o in curve.left_out],
            }
            for curve in curves
        ],
    }


def scaling_records(curves: Sequence[Curve]) -> list[Record]:
    """A record per point, also of those that are left out."""
    records: list[Record] = []
    for curve in curves:
        points = [{"mode": curve.mode, **point, "reason": ""} for point in _points(curve)]
        others: list[Record] = [
            {"mode": curve.mode, "devices": out.devices, "reason": out.reason}
            for out in curve.left_out
        ]
        records += sorted([*points, *others], key=lambda record: int(str(record["devices"])))
    return records


def _points(curve: Curve) -> list[Record]:
    return [
        {
            "devices": point.devices,
            "dp": point.dp,
            "global_batch_size": point.global_batch_size,
            "micro_batch_size": point.micro_batch_size,
            "num_microbatches": point.num_microbatches,
            **_figures(point.report),
            "efficiency": point.efficiency,
            "marginal_efficiency": point.marginal,
            "losses": dict(point.losses),
            "time": dict(point.report.time),
        }
        for point in curve.points
    ]


def comparison_json(found: Comparison) -> Record:
    """Everything that ``compare`` found."""
    return {
        "reference": found.reference,
        "same_work": found.same_work,
        "candidates": comparison_records(found),
        "left_out": [{"label": label, "reason": reason} for label, reason in found.left_out],
    }


def comparison_records(found: Comparison) -> list[Record]:
    """A record per candidate."""
    return [
        {
            "label": candidate.label,
            "devices": candidate.report.devices,
            **_figures(candidate.report),
            "time": dict(candidate.report.time),
            "time_difference_s": dict(candidate.time_s),
            "device_s_per_token_difference": dict(candidate.cost_s),
            "memory_difference_bytes": dict(candidate.memory_bytes),
        }
        for candidate in found.candidates
    ]


def sensitivity_json(found: Sensitivity) -> Record:
    """Everything that ``sensitivity`` found."""
    keys = ("lever", "setting", "reason")
    return {
        "base": {"devices": found.base.devices, **_figures(found.base)},
        "levers": [
            {"lever": bar.name, "what": bar.what, "reach": bar.reach, "settings": _settings(bar)}
            for bar in found.bars
        ],
        "left_out": [dict(zip(keys, entry, strict=True)) for entry in found.left_out],
    }


def sensitivity_records(found: Sensitivity) -> list[Record]:
    """A record per setting of a lever."""
    return [{"lever": bar.name, **setting} for bar in found.bars for setting in _settings(bar)]


def _settings(bar: Bar) -> list[Record]:
    return [
        {
            "setting": effect.setting,
            "devices": effect.report.devices,
            **_figures(effect.report),
            "speed_change": effect.speed_change,
            "headroom_bytes": effect.headroom_bytes,
            "device_s_per_token_difference": dict(effect.cost_s),
        }
        for effect in bar.effects
    ]


def _figures(report: Report) -> Record:
    """What every point has."""
    return {
        "step_time_s": report.step_time_s,
        "tokens_per_s": report.tokens_per_s,
        "tokens_per_s_per_device": report.tokens_per_s_per_device,
        "mfu": report.mfu,
        "peak_bytes": report.memory.peak_bytes,
        "capacity_bytes": report.memory.capacity_bytes,
        "fits": report.memory.fits,
        "short_of": short_of(report.memory),
    }
