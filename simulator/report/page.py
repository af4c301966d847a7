"""A report as one HTML page: no scripts, nothing loaded from elsewhere, light and dark."""

from __future__ import annotations

import json

import yaml

from simulator.report.breakdown import (
    FLOPS_LABELS,
    MEMORY_LABELS,
    TIER_LABELS,
    TIER_TERM_LABELS,
    TIME_LABELS,
    count,
    dense_peak_flops_per_s,
    flops_rate,
    fraction,
    gigabytes,
    memory_terms,
    ordered_terms,
    scenario_name,
    seconds,
    step_time_range,
    time_terms,
    worst_rank,
)
from simulator.report.charts import (
    MAX_CLASSES,
    memory_bars,
    memory_history,
    shown_classes,
    term_css,
    time_bar,
    waterfall_chart,
)
from simulator.report.frame import (
    document,
    header,
    paragraph,
    scrolled,
    section,
    table,
)
from simulator.report.gantt import gantt, gantt_note
from simulator.report.network import network_rows
from simulator.report.network_svg import network_drawing, node_drawing
from simulator.report.pattern import pattern_rows
from simulator.report.report import MEMORY_TERMS, Report
from simulator.report.svg import element, escape
from simulator.units import percent


def render_page(report: Report) -> str:
    """The report as a self-contained HTML document."""
    name = scenario_name(report)
    parts = (
        header(name, f"{report.devices} devices"),
        _headline(report),
        _out_of_memory(report),
        _pattern(report),
        section("Where the time goes", _time(report)),
        section("From the dense peak to the MFU", _waterfall(report)),
        section("Pipeline timeline", _timeline(report)),
        section("Memory per rank class", _memory(report)),
        section("Memory over time", _history(report)),
        section("Kernels of the critical rank", _kernels(report)),
        section("Network", _network(report)),
        section("FLOP conventions", _flops(report)),
        section("Assumptions", _assumptions(report)),
        section("Scenario", _scenario(report)),
        _provenance(report),
    )
    return document(name, *parts)


def _pattern(report: Report) -> str:
    if report.pattern is None:
        return ""
    rows = [tuple(map(escape, row)) for row in pattern_rows(report.pattern)]
    return section("Pattern of steps", table(("", "", ""), rows))


def _swatch(css: str, words: str) -> str:
    square = element("span", class_=f"swatch {css}")
    return element("span", square, escape(words), class_="term")


def _headline(report: Report) -> str:
    memory = report.memory
    verdict = element(
        "span",
        "fits" if memory.fits else "does not fit",
        class_="good" if memory.fits else "bad",
    )
    peak = flops_rate(dense_peak_flops_per_s(report))
    cards = [
        ("step time", seconds(report.step_time_s), step_time_range(report)),
        (
            "tokens per second",
            count(report.tokens_per_s),
            f"{count(report.tokens_per_s_per_device)} per device",
        ),
        (
            "MFU",
            percent(report.mfu),
            f"{flops_rate(report.model_flops_per_s_per_device)} of {peak} dense peak per device; "
            f"model FLOPs counted as '{escape(report.flops_convention)}'",
        ),
        (
            "HFU",
            percent(report.hfu),
            f"{flops_rate(report.hardware_flops_per_s_per_device)} per device; executed FLOPs, "
            "recompute counted",
        ),
        (
            "peak memory",
            gigabytes(memory.peak_bytes),
            f"{verdict}: {gigabytes(memory.capacity_bytes)} per device; worst is "
            f"{escape(memory.worst_rank_class)}",
        ),
    ]
    return element(
        "dl",
        *(
            element(
                "div",
                element("dt", escape(title)),
                element("dd", escape(value)),
                element("dd", note, class_="note", style="font-weight:400") if note else "",
                class_="card",
            )
            for title, value, note in cards
        ),
        class_="cards",
    )


def _out_of_memory(report: Report) -> str:
    oom = report.memory.out_of_memory
    if oom is None:
        return ""
    worst = report.memory.worst_rank_class
    who = f"the {TIER_LABELS[oom.level]} of a node" if oom.level in TIER_LABELS else worst
    reason = (
        f"{who} needs {gigabytes(oom.demand_bytes)} and has "
        f"{gigabytes(oom.capacity_bytes)}: {gigabytes(oom.demand_bytes - oom.capacity_bytes)} too "
        f"much. The largest term is {TIER_TERM_LABELS.get(oom.largest_term, oom.largest_term)}."
    )
    levers = [[escape(change), gigabytes(saved_bytes)] for change, saved_bytes in oom.levers]
    return element(
        "div",
        element("strong", "Out of memory"),
        element("p", escape(reason)),
        table(("what would help", "saves"), levers) if levers else "",
        class_="alarm",
    )


def _time(report: Report) -> str:
    rows = [
        [
            _swatch(term_css("time", term, TIME_LABELS), TIME_LABELS.get(term, term)),
            seconds(value),
            percent(fraction(value, report.step_time_s)),
        ]
        for term, value in time_terms(report)
    ]
    rows.append([element("strong", "step"), seconds(report.step_time_s), percent(1.0)])
    note = "Every instant of the critical rank is counted once; communication is the exposed part."
    return scrolled(time_bar(report)) + paragraph(note) + table(("term", "time", "of step"), rows)


def _waterfall(report: Report) -> str:
    note = (
        "In percent of the dense peak. A term that takes a share of the step takes the same share "
        "of the peak; what remains of the compute time is what kernels lose while they run."
    )
    return scrolled(waterfall_chart(report)) + paragraph(note)


def _timeline(report: Report) -> str:
    if report.timeline is None:
        return paragraph(
            "A report read from JSON holds no timeline; run the scenario again for it."
        )
    if report.timeline.makespan_s <= 0:
        return ""
    return scrolled(gantt(report.timeline)) + paragraph(gantt_note(report.timeline))


def _memory(report: Report) -> str:
    classes = report.memory.rank_classes
    if not classes:
        return ""
    used = {term: 1.0 for rank in classes for term, _ in memory_terms(rank)}
    terms = [term for term, _ in ordered_terms(used, MEMORY_TERMS)]
    rows = [
        [
            escape(rank.rank_class),
            str(rank.num_ranks),
            element("strong", gigabytes(rank.peak_bytes)),
            *(gigabytes(rank.terms.get(term, 0.0)) for term in terms),
        ]
        for rank in shown_classes(report.memory)
    ]
    headers = ["rank class", "ranks", "peak", *(MEMORY_LABELS.get(t, t) for t in terms)]
    legend = "".join(
        _swatch(term_css("memory", t, MEMORY_LABELS), MEMORY_LABELS.get(t, t)) for t in terms
    )
    hidden = len(classes) - MAX_CLASSES
    note = f"The {MAX_CLASSES} classes with the highest peaks are shown." if hidden > 0 else ""
    return (
        scrolled(memory_bars(report.memory))
        + element("p", legend, class_="note")
        + paragraph(note)
        + table(headers, rows)
    )


def _history(report: Report) -> str:
    worst = worst_rank(report)
    if worst is None or not worst.history_s:
        return ""
    note = (
        f"{worst.rank_class}: {gigabytes(worst.peak_bytes)} at {seconds(worst.peak_at_s)}, with "
        f"the activations of {worst.inflight_microbatches:.3g} microbatches in flight."
    )
    chart = memory_history(worst, report.memory.capacity_bytes, report.step_time_s)
    return scrolled(chart) + paragraph(note)


def _kernels(report: Report) -> str:
    rows = [
        [
            escape(kernel.name),
            seconds(kernel.time_s),
            percent(fraction(kernel.time_s, report.step_time_s)),
            flops_rate(fraction(kernel.flops, kernel.time_s)) if kernel.flops else "",
            f"{gigabytes(fraction(kernel.moved_bytes, kernel.time_s))}/s"
            if kernel.moved_bytes
            else "",
        ]
        for kernel in report.kernels
    ]
    return table(("family", "time", "of step", "rate", "memory bandwidth"), rows) if rows else ""


def _network(report: Report) -> str:
    if report.cluster is None:
        return ""
    headers = ("level", "number", "holds", "links")
    rows = [[escape(cell) for cell in row] for row in network_rows(report.cluster)]
    return (
        scrolled(network_drawing(report.cluster))
        + scrolled(node_drawing(report.cluster.node))
        + table(headers, rows, num_texts=4)
    )


def _flops(report: Report) -> str:
    rows = [
        [
            element("code", escape(name)),
            escape(FLOPS_LABELS.get(name, "")),
            count(rates.flops_per_step),
            flops_rate(rates.flops_per_s_per_device),
            percent(rates.utilisation),
        ]
        for name, rates in report.flops.items()
    ]
    headers = ("convention", "counts", "FLOPs per step", "per device", "of dense peak")
    return table(headers, rows, num_texts=2)


def _assumptions(report: Report) -> str:
    if not report.assumptions:
        return ""
    rows = [[escape(a.name), escape(a.value), escape(a.source)] for a in report.assumptions]
    summary = element("summary", f"{len(rows)} values that were taken, not given")
    return element("details", summary, table(("name", "value", "source"), rows, num_texts=3))


def _scenario(report: Report) -> str:
    # Through JSON, because YAML writes plain dicts and lists only.
    plain: object = json.loads(json.dumps(dict(report.scenario)))
    return element("pre", escape(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)))


def _provenance(report: Report) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in sorted(report.provenance.items()))
    return element("footer", escape(facts)) if facts else ""
