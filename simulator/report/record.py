"""A report as JSON and back: stable keys, SI units, equal reports give equal bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TypeAlias, cast

from simulator.errors import SpecError
from simulator.machine import Assumption
from simulator.report.breakdown import ordered_terms, worst_rank
from simulator.report.fields import Fields
from simulator.report.pattern import pattern_data, read_pattern
from simulator.report.report import (
    MEMORY_TERMS,
    SCHEMA_VERSION,
    TIME_TERMS,
    FlopsRates,
    KernelShare,
    MemoryReport,
    OutOfMemory,
    RankMemory,
    Report,
    TierMemory,
)

Json: TypeAlias = "Mapping[str, Json] | list[Json] | tuple[Json, ...] | str | float | bool | None"


def to_json(report: Report) -> str:
    """The report as JSON text, ending in a newline.

    Keys come in a fixed order whatever the order of the report's mappings, and a float is written
    with the fewest digits that read back as the same float, so equal reports give equal text. The
    timeline is not written.

    Raises:
        ValueError: if the report holds a number that is infinite or not a number.
    """
    pattern: dict[str, Json] = {}
    if report.pattern is not None:
        pattern["pattern"] = cast("Json", pattern_data(report.pattern))
    record: dict[str, Json] = {
        "schema_version": report.schema_version,
        "scenario": _sorted(cast("Json", report.scenario)),
        "step_time_s": _float(report.step_time_s),
        "step_time_low_s": _bound(report.step_time_low_s),
        "step_time_high_s": _bound(report.step_time_high_s),
        "tokens_per_s": _float(report.tokens_per_s),
        "tokens_per_s_per_device": _float(report.tokens_per_s_per_device),
        "model_flops_per_s_per_device": _float(report.model_flops_per_s_per_device),
        "hardware_flops_per_s_per_device": _float(report.hardware_flops_per_s_per_device),
        "mfu": _float(report.mfu),
        "hfu": _float(report.hfu),
        "flops_convention": report.flops_convention,
        "flops": {name: _rates(rates) for name, rates in sorted(report.flops.items())},
        "time": _terms(report.time, TIME_TERMS),
        **pattern,
        "memory": _memory(report),
        "devices": report.devices,
        "kernels": [_kernel(kernel) for kernel in report.kernels],
        "assumptions": [
            {"name": a.name, "value": a.value, "source": a.source} for a in report.assumptions
        ],
        "provenance": dict(sorted(report.provenance.items())),
    }
    return json.dumps(record, indent=2, allow_nan=False) + "\n"


def _rates(rates: FlopsRates) -> Json:
    return {
        "flops_per_step": _float(rates.flops_per_step),
        "flops_per_s_per_device": _float(rates.flops_per_s_per_device),
        "utilisation": _float(rates.utilisation),
    }


def _kernel(kernel: KernelShare) -> Json:
    return {
        "name": kernel.name,
        "time_s": _float(kernel.time_s),
        "flops": _float(kernel.flops),
        "moved_bytes": _float(kernel.moved_bytes),
    }


def _memory(report: Report) -> Json:
    memory, worst = report.memory, worst_rank(report)
    return {
        "fits": memory.fits,
        "capacity_bytes": _float(memory.capacity_bytes),
        "peak_bytes": _float(memory.peak_bytes),
        "worst_rank_class": memory.worst_rank_class,
        "terms": _terms(worst.terms, MEMORY_TERMS) if worst else {},
        "per_rank_class": [_rank_memory(rank) for rank in memory.rank_classes],
        "out_of_memory": _out_of_memory(memory.out_of_memory),
        **({"per_node": [_tier(tier) for tier in memory.tiers]} if memory.tiers else {}),
    }


def _tier(tier: TierMemory) -> Json:
    return {
        "name": tier.name,
        "demand_bytes": _float(tier.demand_bytes),
        "capacity_bytes": _float(tier.capacity_bytes),
        "terms": _terms(tier.terms, MEMORY_TERMS),
    }


def _rank_memory(rank: RankMemory) -> Json:
    return {
        "rank_class": rank.rank_class,
        "num_ranks": rank.num_ranks,
        "peak_bytes": _float(rank.peak_bytes),
        "peak_at_s": _float(rank.peak_at_s),
        "inflight_microbatches": _float(rank.inflight_microbatches),
        "terms": _terms(rank.terms, MEMORY_TERMS),
        "history_s": _floats(rank.history_s),
        "history_bytes": _floats(rank.history_bytes),
    }


def _out_of_memory(oom: OutOfMemory | None) -> Json:
    if oom is None:
        return None
    return {
        "demand_bytes": _float(oom.demand_bytes),
        "capacity_bytes": _float(oom.capacity_bytes),
        "largest_term": oom.largest_term,
        "levers": [{"change": change, "saved_bytes": _float(b)} for change, b in oom.levers],
        **({"level": oom.level} if oom.level != "device" else {}),
    }


def _terms(terms: Mapping[str, float], order: tuple[str, ...]) -> Json:
    return {name: _float(value) for name, value in ordered_terms(terms, order)}


def _floats(values: Iterable[float]) -> list[Json]:
    return [_float(value) for value in values]


def _float(value: float) -> float:
    """A plain float; -0.0 equals 0.0, so both are written as 0.0."""
    return float(value) + 0.0


def _bound(value: float | None) -> float | None:
    return None if value is None else _float(value)


def _sorted(value: Json) -> Json:
    """Plain data with the keys of every mapping in alphabetical order."""
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_sorted(item) for item in value]
    return value


def from_json(text: str) -> Report:
    """The report that ``to_json`` wrote; its ``timeline`` is None.

    Raises:
        SpecError: if the text is no JSON, is of another schema version, lacks a key or holds a
            value of a wrong kind.
    """
    try:
        data: object = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise SpecError(f"not valid JSON: {error.msg}", where=place) from None
    except RecursionError:
        raise SpecError("not a report: the JSON is nested too deeply") from None
    record = Fields.of(data, "report")
    version = record.text("schema_version")
    if version != SCHEMA_VERSION:
        raise SpecError(
            f"the report has schema version '{version}', but only '{SCHEMA_VERSION}' is known",
            where="report.schema_version",
            hint="run the scenario again",
        )
    return _read_report(record)


def _read_report(record: Fields) -> Report:
    flops = record.child("flops")
    return Report(
        schema_version=record.text("schema_version"),
        scenario=record.child("scenario").data,
        step_time_s=record.number("step_time_s"),
        tokens_per_s=record.number("tokens_per_s"),
        tokens_per_s_per_device=record.number("tokens_per_s_per_device"),
        model_flops_per_s_per_device=record.number("model_flops_per_s_per_device"),
        hardware_flops_per_s_per_device=record.number("hardware_flops_per_s_per_device"),
        mfu=record.number("mfu"),
        hfu=record.number("hfu"),
        flops_convention=record.text("flops_convention"),
        flops={name: _read_rates(flops.child(name)) for name in flops.data},
        time=record.child("time").as_numbers(),
        memory=_read_memory(record.child("memory")),
        devices=record.integer("devices"),
        kernels=tuple(_read_kernel(k) for k in record.children("kernels")),
        assumptions=tuple(
            Assumption(a.text("name"), a.text("value"), a.text("source"))
            for a in record.children("assumptions")
        ),
        provenance=record.child("provenance").as_texts(),
        step_time_low_s=record.number_or_none("step_time_low_s"),
        step_time_high_s=record.number_or_none("step_time_high_s"),
        pattern=read_pattern(record.child("pattern")) if "pattern" in record.data else None,
    )


def _read_rates(rates: Fields) -> FlopsRates:
    return FlopsRates(
        rates.number("flops_per_step"),
        rates.number("flops_per_s_per_device"),
        rates.number("utilisation"),
    )


def _read_kernel(kernel: Fields) -> KernelShare:
    return KernelShare(
        kernel.text("name"),
        kernel.number("time_s"),
        kernel.number("flops"),
        kernel.number("moved_bytes"),
    )


def _read_memory(memory: Fields) -> MemoryReport:
    has_oom = memory["out_of_memory"] is not None
    return MemoryReport(
        fits=memory.flag("fits"),
        capacity_bytes=memory.number("capacity_bytes"),
        peak_bytes=memory.number("peak_bytes"),
        worst_rank_class=memory.text("worst_rank_class"),
        rank_classes=tuple(_read_rank_memory(r) for r in memory.children("per_rank_class")),
        out_of_memory=_read_out_of_memory(memory.child("out_of_memory")) if has_oom else None,
        tiers=tuple(_read_tier(t) for t in memory.children("per_node"))
        if "per_node" in memory.data
        else (),
    )


def _read_tier(tier: Fields) -> TierMemory:
    return TierMemory(
        tier.text("name"),
        tier.number("demand_bytes"),
        tier.number("capacity_bytes"),
        tier.child("terms").as_numbers(),
    )


def _read_rank_memory(rank: Fields) -> RankMemory:
    return RankMemory(
        rank_class=rank.text("rank_class"),
        num_ranks=rank.integer("num_ranks"),
        peak_bytes=rank.number("peak_bytes"),
        peak_at_s=rank.number("peak_at_s"),
        inflight_microbatches=rank.number("inflight_microbatches"),
        terms=rank.child("terms").as_numbers(),
        history_s=rank.numbers("history_s"),
        history_bytes=rank.numbers("history_bytes"),
    )


def _read_out_of_memory(oom: Fields) -> OutOfMemory:
    return OutOfMemory(
        demand_bytes=oom.number("demand_bytes"),
        capacity_bytes=oom.number("capacity_bytes"),
        largest_term=oom.text("largest_term"),
        levers=tuple(
            (lever.text("change"), lever.number("saved_bytes")) for lever in oom.children("levers")
        ),
        level=oom.text("level") if "level" in oom.data else "device",
    )
