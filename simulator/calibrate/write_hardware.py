"""Fitted curves as hardware descriptions that extend the one they were fitted from."""

from __future__ import annotations

from collections.abc import Mapping

from simulator.calibrate.fit_curve import CurveFit
from simulator.calibrate.yaml_text import quoted
from simulator.machine import AttentionCurve, CollectiveCurve, GemmCurve, ProtocolLine
from simulator.units import percent

Attention = Mapping[tuple[str, int], tuple[CurveFit, AttentionCurve]]


def source_of(fit: CurveFit, files: str) -> str:
    """Where a curve comes from, with its errors."""
    return (
        f"trainsim calibrate, {fit.in_sample.compared} measurements of {files}: "
        f"mean absolute error {percent(fit.in_sample.mape)} in sample, "
        f"{percent(fit.held_out.mape)} held out (5 folds)"
    )


def head(base: str) -> list[str]:
    """The first lines of a file."""
    return ["# Fitted by trainsim calibrate.", f"extends: {quoted(base)}"]


def gemm_lines(curve: GemmCurve, source: str) -> list[str]:
    """The block ``gemm``."""
    return [
        "gemm:",
        f"  source: {quoted(source)}",
        f"  peak_fraction: {curve.peak_fraction:.4g}",
        f"  sustained_fraction: {curve.sustained_fraction:.4g}",
        f"  droop: {_seconds(curve.droop_s)}",
        f"  launch: {_seconds(curve.launch_s)}",
        f"  tile: {_seconds(curve.tile_s)}",
        f"  wave_quantisation: {curve.wave_quantisation:.4g}",
        f"  bandwidth_fraction: {curve.bandwidth_fraction:.4g}",
        f"  overlap_exponent: {curve.overlap_exponent:.4g}",
        f"  small_tile_penalty: {curve.small_tile_penalty:.4g}",
        f"  split: {_seconds(curve.split_s)}",
    ]


def attention_lines(curves: Attention, files: str) -> list[str]:
    """The block ``attention``."""
    lines = ["attention:"]
    for kernel in dict.fromkeys(kernel for kernel, _ in curves):
        lines.append(f"  {kernel}:")
        for (name, head_dim), (fit, curve) in sorted(curves.items()):
            if name == kernel:
                lines += [
                    f"    {head_dim}:",
                    f"      source: {quoted(source_of(fit, files))}",
                    f'      forward: "{curve.forward_flops_per_s / 1e12:.4g} TFLOP/s"',
                    f"      ramp_tokens: {curve.ramp_tokens:.4g}",
                    f"      launch: {_seconds(curve.launch_s)}",
                    f"      wave_quantisation: {curve.wave_quantisation:.4g}",
                ]
    return lines


def memory_lines(launch_s: float, fraction: Mapping[str, float], source: str) -> list[str]:
    """The block ``memory_bound``."""
    shares = ", ".join(f"{name}: {value:.4g}" for name, value in fraction.items())
    return [
        "memory_bound:",
        f"  source: {quoted(source)}",
        f"  launch: {_seconds(launch_s)}",
        f"  fraction: {{{shares}}}",
    ]


def collective_lines(curve: CollectiveCurve, source: str) -> list[str]:
    """The block ``collectives`` of a node."""
    simple, tree = curve.simple, curve.in_network
    factors = ", ".join(f"{n}: {value:.4g}" for n, value in curve.small_group_factor.items())
    lines = [
        "collectives:",
        f"  source: {quoted(source)}",
        f"  ll: {_line(curve.ll)}",
        f"  ll128: {_line(curve.ll128)}",
        f"  simple: {{base: {_seconds(simple.base_s)}, hop: {_seconds(simple.hop_s)}}}",
        f"  ring: {_rates(curve.ring_bytes_per_s)}",
        f"  all_reduce: {_rates(curve.all_reduce_bytes_per_s)}",
        f"  small_group_factor: {{{factors}}}",
    ]
    if tree is not None:
        rate = _rate(tree.bandwidth_bytes_per_s)
        size = curve.in_network_min_size
        base = _seconds(tree.base_s)
        lines.append(f"  in_network: {{base: {base}, bandwidth: {rate}, min_size: {size}}}")
    return [*lines, *_all_to_all_lines(curve)]


def _all_to_all_lines(curve: CollectiveCurve) -> list[str]:
    small = _line(curve.all_to_all_small)
    if curve.all_to_all_per_peer:
        small = f"{small[:-1]}, per_peer: true}}"
    lines = [f"  all_to_all: {_line(curve.all_to_all)}", f"  all_to_all_small: {small}"]
    if curve.all_to_all_ramp is not None:
        lines.append(f"  all_to_all_ramp: {_line(curve.all_to_all_ramp)}")
    if curve.all_to_all_factor:
        factors = ", ".join(f"{n}: {value:.4g}" for n, value in curve.all_to_all_factor.items())
        lines.append(f"  all_to_all_factor: {{{factors}}}")
    return lines


def _seconds(value: float) -> str:
    return f'"{value * 1e6:.4g} us"'


def _rate(value: float) -> str:
    return f'"{value / 1e9:.4g} GB/s"'


def _rates(rates: Mapping[int, float]) -> str:
    return "{" + ", ".join(f"{n}: {_rate(value)}" for n, value in rates.items()) + "}"


def _line(line: ProtocolLine) -> str:
    hop = f", hop: {_seconds(line.hop_s)}" if line.hop_s else ""
    return f"{{base: {_seconds(line.base_s)}{hop}, bandwidth: {_rate(line.bandwidth_bytes_per_s)}}}"
