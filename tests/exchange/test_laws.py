"""Laws of exchanges that hold whatever the numbers are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.exchange.program import InnerStep, Program, Transfer
from simulator.exchange.steady import steady_steps_s
from simulator.report.report import Report
from simulator.simulate import simulate
from simulator.spec.load import load_scenario
from tests.exchange.closed_forms import all_reduce_bytes

SECONDS = st.floats(0.01, 10.0)
STEPS = st.builds(
    InnerStep,
    num_layers=st.integers(1, 6),
    forward_s=SECONDS,
    middle_s=st.floats(0.0, 5.0),
    backward_s=SECONDS,
    tail_s=st.floats(0.0, 5.0),
)
ROUNDING = 1e-9


@st.composite
def programs(draw: st.DrawFn, layers: int) -> Program:
    """Some fragments that leave in some steps of a period."""
    period = draw(st.integers(1, 5))
    count = draw(st.integers(1, min(layers, period)))
    sent = tuple(
        Transfer(
            step=(index + 1) * period // count - 1,
            layers=tuple(range(index, layers, count)),
            link_s=draw(st.floats(0.0, 30.0)),
            before_s=draw(st.floats(0.0, 1.0)),
            after_s=draw(st.floats(0.0, 1.0)),
            overlap_steps=draw(st.integers(0, period)),
        )
        for index in range(count)
    )
    return Program(period, sent, draw(st.booleans()))


@st.composite
def long_overlaps(draw: st.DrawFn) -> tuple[InnerStep, Program]:
    """Fragments of a long period that are waited for many steps later, near what the link takes."""
    inner = InnerStep.of_compute(draw(SECONDS), 6)
    period = draw(st.sampled_from([20, 60]))
    count = draw(st.integers(1, 6))
    overlap_steps = draw(st.integers(0, period))
    link_s = draw(st.floats(0.8, 1.5)) * inner.seconds * period / count
    sent = tuple(
        Transfer(
            step=(index + 1) * period // count - 1,
            layers=tuple(range(index, 6, count)),
            link_s=link_s,
            overlap_steps=overlap_steps,
        )
        for index in range(count)
    )
    return inner, Program(period, sent, draw(st.booleans()))


@st.composite
def cases(draw: st.DrawFn) -> tuple[InnerStep, Program]:
    """A step and a program on its layers."""
    inner = draw(STEPS)
    if draw(st.booleans()):
        return draw(long_overlaps())
    return inner, draw(programs(inner.num_layers))


def _mean_s(inner: InnerStep, program: Program, scale: float = 1.0) -> float:
    return float(steady_steps_s(inner, program, np.array([scale])).mean())


def _kernels_s(program: Program) -> float:
    return sum(t.before_s + t.after_s for t in program.transfers) / program.period


def _link_s(program: Program) -> float:
    return sum(t.link_s for t in program.transfers) / program.period


@given(cases())
@settings(deadline=None)
def test_exposure_is_between_nothing_and_the_whole_exchange(
    case: tuple[InnerStep, Program],
) -> None:
    inner, program = case
    exposed_s = _mean_s(inner, program) - inner.seconds - _kernels_s(program)
    slack = ROUNDING * inner.seconds
    assert -slack <= exposed_s <= _link_s(program) + slack


@given(cases())
@settings(deadline=None)
def test_no_period_is_shorter_than_what_passes_the_link(case: tuple[InnerStep, Program]) -> None:
    inner, program = case
    assert _mean_s(inner, program) >= _link_s(program) * (1 - ROUNDING)


@pytest.mark.parametrize(
    ("load", "fragments", "overlap_steps"),
    [(1.2, 4, 100), (1.1, 4, 60), (1.1, 10, 50), (1.0005, 4, 100), (0.9995, 4, 100)],
)
@pytest.mark.parametrize("by_layer", [False, True])
def test_exchanges_that_pile_up_beside_a_long_overlap_are_no_steady_state(
    load: float, fragments: int, overlap_steps: int, *, by_layer: bool
) -> None:
    # 100 steps of 1 s, and so many seconds on the link for each: fragments leave at even distances
    # and overlap more than one of them, so that nothing but the link itself can hold steps up.
    inner = InnerStep.of_compute(1.0, fragments)
    sent = tuple(
        Transfer(
            step=(index + 1) * 100 // fragments - 1,
            layers=(index,),
            link_s=100 * load / fragments,
            overlap_steps=overlap_steps,
        )
        for index in range(fragments)
    )
    assert _mean_s(inner, Program(100, sent, by_layer)) == pytest.approx(max(load, 1.0))


@given(cases(), st.floats(1.0, 10.0))
@settings(deadline=None)
def test_a_slower_link_is_never_faster(case: tuple[InnerStep, Program], factor: float) -> None:
    inner, program = case
    assert _mean_s(inner, program, factor) >= _mean_s(inner, program) * (1 - ROUNDING)


@given(STEPS, st.floats(0.0, 60.0), st.floats(0.0, 1.0), st.integers(1, 12))
@settings(deadline=None)
def test_more_inner_steps_never_slow_a_step(
    inner: InnerStep, link_s: float, outer_s: float, every: int
) -> None:
    for overlap in (0, 1):
        shorter, longer = (
            Program(n, (Transfer(n - 1, (), link_s, after_s=outer_s, overlap_steps=n * overlap),))
            for n in (every, every + 1)
        )
        assert _mean_s(inner, longer) <= _mean_s(inner, shorter) * (1 + ROUNDING)


@given(STEPS, st.floats(0.0, 60.0), st.integers(1, 12))
@settings(deadline=None)
def test_asynchronous_is_the_closed_form(inner: InnerStep, link_s: float, every: int) -> None:
    """max(tau t, T_comm) per period (arXiv 2401.16265, section 3.1)."""
    program = Program(every, (Transfer(every - 1, (), link_s, overlap_steps=every),))
    expected_s = max(every * inner.seconds, link_s) / every
    assert _mean_s(inner, program) == pytest.approx(expected_s)


@given(STEPS, st.floats(0.0, 60.0), st.integers(1, 12))
@settings(deadline=None)
def test_blocking_is_the_closed_form(inner: InnerStep, link_s: float, every: int) -> None:
    program = Program(every, (Transfer(every - 1, (), link_s),))
    assert _mean_s(inner, program) == pytest.approx(inner.seconds + link_s / every)


def _run(exchange: str, *overrides: str) -> Report:
    return simulate(load_scenario("bert-large-one-bit", [f"plan.exchange={exchange}", *overrides]))


@pytest.mark.parametrize("wire", ["fp32", "bf16", "fp4"])
def test_one_fragment_without_overlap_is_local(wire: str) -> None:
    local = _run(f"{{policy: local, every: 8, workers: 8, wire: {wire}}}")
    streaming = _run(
        f"{{policy: streaming, every: 8, workers: 8, fragments: 1, overlap_steps: 0, wire: {wire}}}"
    )
    assert streaming.step_time_s == local.step_time_s
    assert streaming.pattern is not None
    assert local.pattern is not None
    assert replace(streaming.pattern, policy="local") == local.pattern
    assert streaming.memory == local.memory


def test_exchanging_everything_every_step_costs_no_less_than_reducing_gradients() -> None:
    """The same all-reduce after every step, and the outer optimizer beside it."""
    every_step = _run("every_step")
    local = _run("{policy: local, every: 1, workers: 32, wire: fp16}")
    assert local.step_time_s >= every_step.step_time_s
    blocking = _run("{policy: async_local, every: 1, workers: 32, wire: fp16}")
    assert blocking.step_time_s >= every_step.time["dp_comm"]


@pytest.mark.parametrize("workers", [2, 4, 8])
def test_bytes_of_local_updates_are_the_closed_form(workers: int) -> None:
    """A node's NIC carries 2 (n - 1) / n of the model per period, however many ranks it has."""
    pattern = _run(
        f"{{policy: local, every: 10, workers: {workers}, wire: bf16, wan: {{bandwidth: 1 Gbps}}}}"
    ).pattern
    assert pattern is not None
    expected = all_reduce_bytes(335.2e6 * 2, workers) / 10
    assert pattern.sent_bytes == pytest.approx(expected, rel=0.005)
    nic = _run("{policy: local, every: 10, workers: 8, wire: bf16}").pattern
    assert nic is not None
    assert nic.sent_bytes == pytest.approx(all_reduce_bytes(335.2e6 * 2, 8) / 10, rel=0.005)


@pytest.mark.parametrize(
    "exchange",
    [
        "{policy: local, every: 4, workers: 8}",
        "{policy: async_local, every: 4}",
        "{policy: streaming, every: 8, workers: 8, fragments: 4}",
        "one_bit",
        "{policy: one_bit, warm_up_share: 0.15}",
        "{policy: one_bit, warm_up_share: 0.99}",
        "low_rank",
        "{policy: top_k, share: 0.01}",
        "scalar",
        "parameter_server",
    ],
)
def test_every_policy_reports_a_whole(exchange: str) -> None:
    report = _run(exchange)
    assert report.pattern is not None
    assert min(report.time.values()) >= 0.0
    assert report.mfu <= report.hfu * 1.02  # PaLM's count has embeddings and all pairs of tokens
    assert sum(report.time.values()) == pytest.approx(report.step_time_s)
    assert report.tokens_per_s == pytest.approx(512 * 128 / report.step_time_s)
    assert report.memory.rank_classes[0].num_ranks == 32
    assert report.pattern.exposed_s >= 0.0
    peak = max(rank.peak_bytes for rank in report.memory.rank_classes)
    assert report.memory.peak_bytes == peak


@pytest.mark.parametrize(("rank", "more"), [(1, 4), (4, 32)])
def test_a_higher_rank_sends_more(rank: int, more: int) -> None:
    low, high = (_run(f"{{policy: low_rank, rank: {r}}}").pattern for r in (rank, more))
    assert low is not None
    assert high is not None
    assert low.sent_bytes < high.sent_bytes < all_reduce_bytes(335.2e6 * 4, 32)


@pytest.mark.parametrize("exchange", ["one_bit", "{policy: local, every: 2, workers: 8}", "scalar"])
def test_a_pattern_adds_up(exchange: str) -> None:
    """A worker by itself, kernels around the exchange and what is waited for are the mean step."""
    report = _run(exchange)
    pattern = report.pattern
    assert pattern is not None
    whole_s = pattern.inner_step_s + pattern.kernels_s + pattern.exposed_s
    assert report.step_time_s == pytest.approx(whole_s)


def test_a_warm_up_is_a_mixture_of_two_kinds_of_steps() -> None:
    full, packed = _run("every_step").time, _run("one_bit").time
    warm = _run("{policy: one_bit, warm_up_share: 0.25}").time
    assert list(warm) == list(packed)
    for term, seconds in warm.items():
        assert seconds == pytest.approx(0.25 * full[term] + 0.75 * packed[term])


def test_more_servers_never_take_longer_and_workers_send_all_they_have() -> None:
    # 4 ranks send their gradients through the NIC of a node, and its weights come in once.
    runs = [_run(f"{{policy: parameter_server, servers: {n}}}") for n in (1, 2, 4, 8, 16, 64, 1024)]
    seconds = [run.step_time_s for run in runs]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[0] > seconds[1]
    bound_s = (4 + 1) * 4 * 335.2e6 / 0.5125e9
    assert runs[-1].pattern is not None
    assert runs[-1].pattern.exposed_s == pytest.approx(bound_s, rel=0.01)


def test_a_link_that_does_not_keep_up_shows_however_long_exchanges_overlap() -> None:
    # 24 layers in 4 bits take longer than 100 steps of 1.07 s on 46 Mb/s.
    wan = "plan.exchange.wan.bandwidth=46 Mbps"
    pattern = simulate(
        load_scenario("diloco-1b-two-sites", [wan, "plan.exchange.overlap_steps=100"])
    ).pattern
    assert pattern is not None
    link_s = pattern.sent_bytes / 46e6 * 8
    assert link_s > pattern.inner_step_s
    assert pattern.exposed_s >= link_s - pattern.inner_step_s - pattern.kernels_s
