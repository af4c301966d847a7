"""What ``collective`` computes: choice, bandwidths, and what bounds a run."""

import pytest

from simulator.collective_runs import collective_runs
from simulator.cost.collective import ALGORITHMS, collective_s
from simulator.errors import PlanError
from simulator.plan import ProcessGroup
from simulator.spec.hardware import load_cluster
from simulator.spec.yaml_file import list_data
from simulator.topology import Topology
from simulator.views_collective import collective_record, headers, run_row

ABOVE = {"oversubscription": 4, "hop": "1 us", "source": "test"}
OVERSUBSCRIBED = {
    "extends": "dgx-h100-superpod",
    "tiers": [
        {**ABOVE, "name": "leaf", "nodes_per_group": 2, "oversubscription": 1},
        {**ABOVE, "name": "spine", "nodes_per_group": 2048},
    ],
}
"""Of two nodes below a leaf one sends through the spine, which takes 1 / 4 of what both could."""


def runs(kind, size, payloads, *, stride=1, cluster="dgx-h100-superpod", forced=()):
    machine = load_cluster(cluster, num_nodes=-(-size * stride // 8))
    return collective_runs(machine, kind, ProcessGroup("dp", size, stride), payloads, forced=forced)


def test_a_run_is_what_a_step_pays():
    (run,) = runs("all_reduce", 256, [1e9])
    link = Topology.of(load_cluster("dgx-h100-superpod", num_nodes=32)).group_link(
        ProcessGroup("dp", 256, 1)
    )
    assert run.time_s == collective_s("all_reduce", 1e9, link)
    assert (run.nodes, run.algorithm) == (32, "tree")
    assert run.algorithm_bytes_per_s == 1e9 / run.time_s
    # busbw = algbw * 2 (n - 1) / n
    assert run.bus_bytes_per_s == pytest.approx(run.algorithm_bytes_per_s * 2 * 255 / 256)


def test_the_choice_is_among_those_of_the_library():
    for run in runs("all_gather", 64, [1e3, 1e9], stride=8):
        assert run.algorithm == "ring"
        assert run.times_s.keys() == {"ring", "halving_doubling", "pat"}
    named = load_cluster({"extends": "dgx-h100-superpod", "collective_algorithms": "pat"})
    (run,) = collective_runs(named, "all_gather", ProcessGroup("dp", 64, 8), [1e3])
    assert run.algorithm == "pat"


def test_trees_between_two_nodes():
    """Rings would be faster between two p5 at 4 MiB, but its tuner takes trees."""
    (free,) = runs("all_reduce", 16, [2.0**22], cluster="aws-p5-cluster")
    (ring,) = runs("all_reduce", 16, [2.0**22], cluster="aws-p5-cluster", forced=("ring",))
    assert (free.algorithm, ring.algorithm) == ("tree", "ring")
    assert ring.time_s < free.time_s
    link = Topology.of(load_cluster("aws-p5-cluster", num_nodes=2)).group_link(
        ProcessGroup("dp", 16, 1)
    )
    assert free.time_s == collective_s("all_reduce", 2.0**22, link)


def test_forced_is_never_faster_than_the_best_of_all():
    (free,) = runs("all_reduce", 64, [1e6], forced=tuple(ALGORITHMS))
    for name in free.times_s:
        (run,) = runs("all_reduce", 64, [1e6], forced=(name,))
        assert (run.algorithm, run.time_s >= free.time_s) == (name, True)


def test_forced_where_it_cannot_run():
    with pytest.raises(PlanError, match="tree does not run all_reduce on 8 ranks of 1 node"):
        runs("all_reduce", 8, [1e6], forced=("tree",))


@pytest.mark.parametrize(
    ("kind", "size", "payload", "cluster", "bound"),
    [
        ("all_reduce", 8, 1e3, "dgx-h100-superpod", "latency"),
        ("all_reduce", 8, 1e10, "dgx-h100-superpod", "links in the node"),
        ("all_to_all", 64, 1e10, "dgx-h100-superpod", "NIC"),
        ("all_reduce", 1024, 1e10, OVERSUBSCRIBED, "tier spine"),
        ("all_to_all", 16, 1e10, OVERSUBSCRIBED, "NIC"),  # below one leaf
        # Two pods of 384 nodes, 7 : 1 between them: two of a ring's hops cross, half of all pairs.
        ("all_reduce", 6144, 1e10, "meta-h100-roce-24k", "NIC"),
        ("all_to_all", 6144, 1e10, "meta-h100-roce-24k", "tier aggregation"),
        ("all_reduce", 1, 1e6, "dgx-h100-superpod", "-"),
        ("all_reduce", 64, 1e10, "tpu-v4-pod", "torus links"),
    ],
)
def test_what_bounds_a_run(kind, size, payload, cluster, bound):
    devices = 4 if cluster == "tpu-v4-pod" else 8
    machine = load_cluster(cluster, num_nodes=-(-size // devices))
    (run,) = collective_runs(machine, kind, ProcessGroup("dp", size, 1), [payload])
    assert run.bound == bound


def test_ranks_of_pat_bound_it():
    """1,024 ranks, one per node: 2.9 ms of latency, 1.9 ms for 64 MiB at 0.75 of 46 GB/s."""
    (run,) = runs("all_gather", 1024, [2**26], stride=8, forced=("pat",))
    assert run.bound == "latency"


@pytest.mark.parametrize("name", [n for n in list_data("clusters") if n.startswith("tpu")])
@pytest.mark.parametrize("kind", ["all_reduce", "all_gather", "reduce_scatter"])
def test_rings_on_a_torus_are_those_of_all_axes(name, kind):
    """What a step pays there as ``ring`` is what is listed as ``torus``."""
    machine = load_cluster(name, num_nodes=16)
    for run in collective_runs(machine, kind, ProcessGroup("dp", 32, 1), [1.0, 1e6, 1e10]):
        link = Topology.of(machine).group_link(ProcessGroup("dp", 32, 1), num_ranks=32)
        assert (run.algorithm, "ring" in run.times_s) == ("torus", False)
        paid_s = collective_s(kind, run.payload_bytes, link)
        assert run.time_s == pytest.approx(paid_s, rel=1e-12)  # the order of one sum


def test_one_rank_takes_no_time():
    (run,) = runs("all_reduce", 1, [1e6])
    assert (run.time_s, run.bus_bytes_per_s) == (0.0, 0.0)


def test_a_torus_counts_pods_beside_nodes() -> None:
    """4,096 devices, four to a host, are one pod of 1,024 hosts."""
    (run,) = collective_runs(
        load_cluster("tpu-v4-pod"), "all_reduce", ProcessGroup("dp", 4096, 1), [1e9]
    )
    assert (run.nodes, run.pods) == (1024, 1)
    assert headers([run])[:3] == ("ranks", "pods", "bytes")
    assert run_row(run)[:2] == ["4,096", "1"]
    assert collective_record(run)["pods"] == 1
