from __future__ import annotations

import io

import pytest
from rich.console import Console

from simulator.api import load_scenario
from simulator.errors import PlanError
from simulator.scenario import Scenario
from simulator.simulate import run_step, simulate
from simulator.step import build_step
from simulator.views_contention import contention_record, contention_view
from simulator.whatif.contention import Contention, Shared, contention

ROUNDING = 1e-9


def _job(oversubscription: float = 1.0, *more: str, nodes: int = 8, tp: int = 8) -> Scenario:
    """A small model on nodes of two leaves; a leaf of 4 nodes has 32 / oversubscription uplinks."""
    tiers = [
        "{name: leaf, nodes_per_group: 4, oversubscription: 1, hop: 0.5 us, source: test}",
        f"{{name: spine, nodes_per_group: 8, oversubscription: {oversubscription}, hop: 0.5 us, "
        "source: test}",
    ]
    return load_scenario(
        "llama2-7b-fsdp",
        [
            f"cluster={{extends: dgx-h100-superpod, num_nodes: {{value: {nodes}, source: test}}, "
            f"fabric: {{kind: fat_tree, source: test}}, tiers: [{', '.join(tiers)}]}}",
            "training.global_batch_size=64",
            "plan.sharding=ddp",
            "plan.overlap={dp: false}",
            "plan.shard_group_size=null",
            f"plan.tp={tp}",
            "plan.dp=null",
            *more,
        ],
    )


def _steps(found: Contention, placing: str, spreading: str) -> list[float]:
    return [
        one.step_s for one in found.shared if (one.placing, one.spreading) == (placing, spreading)
    ]


def test_nobody_meets_anybody_in_order_on_a_full_network() -> None:
    found = contention(_job(), num_seeds=1)
    assert _steps(found, "in order", "sprayed") == pytest.approx([found.alone_s], rel=ROUNDING)
    assert found.shared[0].fullest == ""


def test_hashed_messages_meet_and_spread_ones_do_not() -> None:
    found = contention(_job(), num_seeds=3)
    assert _steps(found, "shuffled", "sprayed") == pytest.approx([found.alone_s] * 3, rel=ROUNDING)
    assert max(_steps(found, "shuffled", "ecmp")) > 1.01 * found.alone_s
    worst = max(found.shared, key=lambda one: one.asked)
    assert worst.asked > 1
    assert "spine" in worst.fullest


def test_connections_even_out_what_hashes_do() -> None:
    one, many = (contention(_job(), num_seeds=3, connections=count) for count in (1, 16))
    assert max(_steps(many, "shuffled", "ecmp")) < max(_steps(one, "shuffled", "ecmp"))


def test_oversubscription_slows_what_crosses_it() -> None:
    """With 8 to 1 a leaf of 4 nodes has 4 links out, half of what the rings of 8 ranks need.

    In order one hop of each ring leaves a leaf: 8 NICs' worth on 4 links' worth doubles the
    reduction, packet by packet.
    """
    full, narrow = contention(_job(), num_seeds=1), contention(_job(8.0), num_seeds=1)
    (full_s,), (narrow_s,) = (_steps(one, "in order", "sprayed") for one in (full, narrow))
    assert narrow.shared[0].asked == pytest.approx(2, rel=1e-6)
    assert narrow_s > full_s
    assert narrow.alone_s == pytest.approx(full.alone_s, rel=ROUNDING)
    # Folded ranks are slowed by the same rule: crossing fraction 1/4 times 8.
    assert narrow.by_number_s == pytest.approx(narrow_s, rel=ROUNDING)


@pytest.mark.parametrize("oversubscription", [2.0, 8.0, 32.0])
@pytest.mark.parametrize("pp", [1, 2])
def test_a_run_counts_what_messages_in_order_meet(oversubscription: float, pp: int) -> None:
    """Both slow the bytes of collectives and sends, and neither slows their starts."""
    found = contention(
        _job(oversubscription, f"plan.pp={pp}", "plan.overlap={dp: false, pp: true}"), num_seeds=1
    )
    (in_order_s,) = _steps(found, "in order", "sprayed")
    assert in_order_s == pytest.approx(found.by_number_s, rel=1e-6)


def test_steps_without_a_barrier_are_timed_as_reports_time_them() -> None:
    job = _job(1.0, "plan.pp=2", "plan.schedule=zb-2p")
    assert run_step(build_step(job))[0].makespan_s > simulate(job, levers=False).step_time_s
    found = contention(job, num_seeds=1)
    assert found.by_number_s == simulate(job, levers=False).step_time_s


def test_a_job_in_one_node_meets_nobody() -> None:
    with pytest.raises(PlanError, match="in one node"):
        contention(load_scenario("gpt2-xl-one-gpu"), num_seeds=1)


def test_a_job_that_would_take_minutes_is_refused() -> None:
    with pytest.raises(PlanError, match="passes, more than"):
        contention(load_scenario("llama3-405b-16384"), num_seeds=1)


def _two_jobs_worth(*more: str) -> Scenario:
    """Tensor parallelism over two nodes, and gradients reduced beside the last backward."""
    overlap = "plan.overlap={dp: true, tp: false}"
    return _job(1.0, overlap, "plan.bucket_bytes=100 MB", *more, nodes=8, tp=16)


def test_classes_of_traffic_win_back_what_gradients_take_from_passes() -> None:
    """Both leave by the same ports; with classes, passes do not wait for gradients."""
    found = contention(_two_jobs_worth(), num_seeds=1, with_classes=True)
    in_order = found.shared[0]
    assert in_order.classes_s is not None
    assert in_order.fullest.startswith("port")
    assert found.alone_s * (1 + ROUNDING) < in_order.step_s
    assert in_order.classes_s < in_order.step_s
    assert contention(_two_jobs_worth(), num_seeds=1).shared[0].classes_s is None


@pytest.mark.parametrize(
    ("classes_s", "said"),
    [
        ((1.1, 1.05), "win back 50.0 % to 75.0 % of what is lost."),
        ((1.2, 1.2), "win back 0.0 % of what is lost."),
        ((1.22, 1.22), "lose another 10.0 % of what is lost."),
        ((1.1, 1.22), "win back 50.0 % of what is lost, or lose another 10.0 % of it."),
    ],
)
def test_classes_that_make_it_worse_are_said_to_lose(
    classes_s: tuple[float, ...], said: str
) -> None:
    ways = [Shared("in order", "ecmp", 0, 1.2, 2.0, "a link", 1, classes) for classes in classes_s]
    buffer = io.StringIO()
    Console(file=buffer, width=200).print(
        contention_view(Contention("a job", 8, 8, 1.0, 1.0, tuple(ways)))
    )
    assert said in buffer.getvalue()


def test_what_is_not_followed_is_said() -> None:
    assert contention(_job(), num_seeds=1).at_price == ()
    found = contention(_job(1.0, "plan.pp=2", "plan.overlap={tp: true}", tp=16), num_seeds=1)
    assert found.at_price == (
        "sends that passes wait for",
        "tensor-parallel collectives beside products",
    )


@pytest.mark.parametrize("axis", [(), ("model.num_experts=8", "model.top_k=2", "plan.ep=2")])
def test_hashed_messages_of_passes_meet_too(axis: tuple[str, ...]) -> None:
    """Hardly anything but them leaves a node: of 16 tensor-parallel ranks, or of experts."""
    found = contention(_job(1.0, *axis, tp=8 if axis else 16), num_seeds=2)
    assert max(_steps(found, "shuffled", "ecmp")) > 1.01 * found.alone_s


def test_the_record_has_a_row_per_way() -> None:
    record = contention_record(contention(_job(), num_seeds=2))
    shared = record["shared"]
    assert isinstance(shared, tuple)
    assert len(shared) == 1 + 2 + 2 * 2


def test_a_narrow_link_between_sites_slows_what_crosses_it() -> None:
    """Two sites of 4 nodes joined by one NIC's worth: 8 rings of a NIC each cross it both ways."""
    site = {"nodes_per_site": 4, "bandwidth": "400 Gbps", "latency": "5 ms"}
    keys = ", ".join(f"{key}: {{value: {value}, source: test}}" for key, value in site.items())
    scenario = _job()
    apart = load_scenario(
        "llama2-7b-fsdp",
        [
            "cluster={extends: dgx-h100-superpod, num_nodes: {value: 8, source: test}, "
            f"fabric: {{kind: wan, {keys}}}}}",
            "training.global_batch_size=64",
            "plan.sharding=ddp",
            "plan.overlap={dp: false}",
            "plan.shard_group_size=null",
            "plan.tp=8",
            "plan.dp=null",
        ],
    )
    found = contention(apart, num_seeds=1)
    in_order = found.shared[0]
    assert in_order.spreading == "ecmp"
    assert in_order.asked == pytest.approx(8, rel=1e-6)
    assert "site" in in_order.fullest
    reduction_s = in_order.step_s - found.alone_s
    assert reduction_s > 0
    # Eight rings on one: the bytes of each collective take eight times as long. It starts once, and
    # is 5 ms late on two far hops up a tree and on two down: a run counts the same.
    assert found.by_number_s == pytest.approx(in_order.step_s, rel=ROUNDING)
    whole = contention(scenario, num_seeds=1)
    assert found.alone_s == pytest.approx(whole.alone_s + 4 * 5e-3, abs=1e-5)
