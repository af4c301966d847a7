"""Fabrics of described clusters, the YAML that wires them, and how they are shown."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from docs import console
from simulator.cli import app
from simulator.errors import PlanError, SpecError
from simulator.fabric.cluster import Routing, fabric_of, network_of, node_unit, twists_of
from simulator.fabric.fluid import Flow, run_flows
from simulator.fabric.torus import Twist
from simulator.machine import Cluster
from simulator.report.levels import levels
from simulator.report.network_svg import MAX_BOXES, network_drawing, node_drawing
from simulator.spec.hardware import load_cluster
from simulator.spec.yaml_file import list_data

SOURCE = "a test"


def wired(base: str, nodes: int, **fabric: object) -> Cluster:
    return load_cluster({"extends": base, "fabric": fabric}, num_nodes=nodes)


def sourced(value: object) -> dict[str, object]:
    return {"value": value, "source": SOURCE}


@pytest.mark.parametrize("name", list_data("clusters"))
def test_every_shipped_cluster_has_a_fabric(name: str) -> None:
    cluster = load_cluster(name)
    count = min(cluster.num_nodes, 20)
    fabric = fabric_of(cluster, None if cluster.torus else count)
    last = fabric.num_endpoints - 1
    assert fabric.num_endpoints == (
        cluster.num_devices if cluster.torus else count * cluster.node.num_devices
    )
    routes = fabric.routes(np.array([0, 0]), np.array([last, 0]))
    assert fabric.path_bytes_per_s(routes)[0] > 0
    if count > 1 and cluster.torus is None:
        # Nothing leaves a node faster than by a NIC.
        assert fabric.path_bytes_per_s(routes)[0] <= cluster.node.nic_bytes_per_s


def test_devices_leave_by_their_nearest_nics() -> None:
    assert node_unit(load_cluster("frontier").node).gateways == [(i // 2,) for i in range(8)]
    assert node_unit(load_cluster("dgx-h100-superpod").node).gateways == [(i,) for i in range(8)]


def test_shipped_wirings() -> None:
    frontier = fabric_of(load_cluster("frontier"), 256)
    assert frontier.detour is not None  # adaptive
    # 8 devices a node: from group 0 to group 1 over one of 4 global links.
    crossed = {frontier.route(0, 2047, key) for key in range(50)}
    names = {frontier.link_name(link) for route in crossed for link in route}
    assert len({name for name in names if name.startswith("groups")}) == 4
    superpod = load_cluster("dgx-h100-superpod")
    along = fabric_of(superpod, 64)
    assert not any("spine" in along.link_name(link) for link in along.route(3, 8 * 31 + 3))
    assert any("spine" in along.link_name(link) for link in along.route(3, 8 * 31 + 4))
    aware = fabric_of(superpod, 64, Routing(rail_aware=True))
    assert not any("spine" in aware.link_name(link) for link in aware.route(3, 8 * 31 + 4))


def test_pods_are_joined_by_their_hosts() -> None:
    cluster = wired("tpu-v4-pod", 32, kind="pods", shape=sourced([4, 4, 4]))
    fabric = fabric_of(cluster)
    assert fabric.num_endpoints == 128
    inside, between = fabric.route(0, 21), fabric.route(0, 64)
    assert all("axis" in fabric.link_name(link) for link in inside)
    assert fabric.path_bytes_per_s(np.array([between]))[0] == 25e9  # the host's way out
    assert [level.count for level in levels(cluster)] == [1, 2, 32]


def test_hosts_of_a_pod_may_have_fewer_devices_than_others() -> None:
    """4 pods of 27 devices: 6 hosts of 4 and one of 3 each. Devices 0 and 26 have unlike hosts."""
    fabric = fabric_of(wired("tpu-v4-pod", 27, kind="pods", shape=sourced([3, 3, 3])))
    assert fabric.num_endpoints == 108
    names = [fabric.link_name(link) for link in fabric.route(26, 27 + 26)]
    assert "devices to gateway 6" in names[0]
    assert "gateway 6 to devices" in names[-1]
    assert fabric.path_bytes_per_s(np.array([fabric.route(26, 27)]))[0] > 0


def test_nics_of_a_group_need_not_divide_over_its_switches() -> None:
    """Frontier nodes of 4 NICs in groups of 8, 5 switches each: NIC 32 is the first of group 1."""
    words = {"switches_per_group": 5, "global_links": 1, "routing": "minimal"}
    fabric: dict[str, object] = {"kind": "dragonfly", **{k: sourced(v) for k, v in words.items()}}
    groups = [("group", 8), ("global", 9408)]
    tiers = [
        {"name": name, "nodes_per_group": nodes, "oversubscription": 1, "hop": "500 ns"}
        for name, nodes in groups
    ]
    cluster = load_cluster(
        {
            "extends": "frontier",
            "fabric": fabric,
            "tiers": [{**tier, "source": SOURCE} for tier in tiers],
        },
        num_nodes=32,
    )
    network = network_of(cluster, Routing())
    for other, crosses in ((31, False), (32, True)):
        names = [network.link_name(link) for link in network.route(0, other)]
        assert any(name.startswith("groups 0") for name in names) == crosses
    # 32 over 5: switches of 7, 6, 7, 6 and 6; the other six of the first are two links away.
    assert sum(len(network.route(0, other)) == 2 for other in range(32)) == 6


def sites(nodes: int, each: int) -> Cluster:
    words = {"bandwidth": sourced("10 Gb/s"), "latency": sourced("30 ms")}
    return wired("dgx-h100-superpod", nodes, kind="wan", nodes_per_site=sourced(each), **words)


def test_sites_share_their_way_out() -> None:
    fabric = fabric_of(sites(8, 4))
    far = np.array([fabric.route(0, 63)])
    assert fabric.path_bytes_per_s(far)[0] == 1.25e9
    assert fabric.path_latency_s(far)[0] == pytest.approx(30e-3, rel=1e-3)
    assert fabric.path_bytes_per_s(np.array([fabric.route(0, 31)]))[0] == 50e9
    # Two devices of a site send to two of another: 1 GB each over one way of 1.25 GB/s.
    run = run_flows(fabric, [Flow(0, 40, 1e9), Flow(9, 50, 1e9)])
    assert run.makespan_s == pytest.approx(2 / 1.25 + 30e-3, rel=1e-3)


def test_nics_of_sites_meet_at_the_way_out() -> None:
    """7 nodes of 8 NICs on two sites of 4; port 4 * 8 is the first of the other site."""
    network = network_of(sites(7, 4), Routing())
    home, away = network.route(0, 31), network.route(0, 32)
    names = [network.link_name(link) for link in away]
    assert not any("way" in network.link_name(link) for link in home)
    assert [name for name in names if "port" not in name] == [
        "site 0: way out",
        "site0 to site1",
        "site 1: way in",
    ]
    assert sum("port" in name for name in names) == 2  # its NIC's and the other's
    assert network.path_bytes_per_s(np.array([away]))[0] == 1.25e9
    assert network_of(sites(4, 4), Routing()).name.startswith("fat tree")


def test_nics_do_not_say_how_a_torus_is_wired() -> None:
    pods = wired("tpu-v4-pod", 32, kind="pods", shape=sourced([4, 4, 4]))
    for cluster in (pods, load_cluster("tpu-v4-pod", num_nodes=32)):
        with pytest.raises(PlanError, match="joined by a torus"):
            network_of(cluster, Routing())


def test_a_graph_of_ones_own() -> None:
    links = [["node0", "sw", "400 Gb/s", "1 us"], ["node1", "sw", "200 Gb/s", "1 us"]]
    wiring = {"kind": "graph", "links": sourced(links)}
    cluster = load_cluster(
        {"extends": "dgx-h100-superpod", "num_nodes": sourced(2), "fabric": wiring}
    )
    fabric = fabric_of(cluster)
    assert fabric.path_bytes_per_s(np.array([fabric.route(0, 8)]))[0] == 25e9


def test_twists_of_shapes() -> None:
    assert twists_of((4, 4, 8)) == (Twist(0, 2, 4), Twist(1, 2, 4))
    assert twists_of((4, 8, 8)) == (Twist(0, 1, 4), Twist(0, 2, 4))
    assert twists_of((4, 4, 4)) == ()


@pytest.mark.parametrize(
    ("fabric", "words"),
    [
        ({"kind": "fat_tree"}, "source"),
        ({"kind": "fat_tree", "source": SOURCE, "rails": 4}, "unknown key 'rails'"),
        ({"kind": "star", "source": SOURCE}, "fabric"),
        ({"kind": "torus", "twisted": {"value": True, "source": SOURCE}}, "without a torus"),
        ({"kind": "graph", "links": {"value": [["a", "b", "1 GB/s"]], "source": SOURCE}}, "links"),
    ],
)
def test_wrong_wirings_are_refused(fabric: dict[str, object], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        load_cluster({"extends": "dgx-h100-superpod", "fabric": fabric}, num_nodes=2)


def test_more_nodes_than_there_are() -> None:
    with pytest.raises(PlanError, match="3 nodes of"):
        fabric_of(load_cluster("dgx-h100-superpod", num_nodes=2), 3)


@pytest.mark.parametrize("name", list_data("clusters"))
def test_every_cluster_is_drawn_and_folds(name: str) -> None:
    cluster = load_cluster(name)
    drawing = network_drawing(cluster)
    assert drawing.count("<rect") <= MAX_BOXES * len(levels(cluster))
    assert node_drawing(cluster.node).count("<rect") <= 80
    if cluster.num_nodes > MAX_BOXES:
        assert f"... {cluster.num_nodes - MAX_BOXES + 1:,} more" in drawing


def test_show_prints_and_draws(tmp_path: Path) -> None:
    page = tmp_path / "net.html"
    done = CliRunner().invoke(app, ["show", "frontier", "--nodes", "256", "--html", str(page)])
    assert done.exit_code == 0
    assert "2 x group" in done.output
    assert "Inside a node" in page.read_text(encoding="utf-8")
    data = json.loads(CliRunner().invoke(app, ["show", "frontier", "--json"]).output)
    assert [level["count"] for level in data["levels"]] == [1, 74, 9408]
    own = tmp_path / "own.yaml"
    own.write_text("extends: dgx-h100-superpod\nnum_nodes: {value: 4000, source: test}\n")
    more = CliRunner().invoke(app, ["show", str(own)])
    assert "note: core joins all 4,000 nodes at its oversubscription" in more.stderr
    wrong = CliRunner().invoke(app, ["show", "frontire"])
    assert wrong.exit_code == 2


def test_show_sends_traffic() -> None:
    """Hashed flows collide; four connections of a pair even that out to a part."""
    command = ["show", "meta-h100-roce-24k", "--nodes", "512", "--traffic", "--json"]
    done = CliRunner().invoke(app, command)
    sprayed, hashed, split = json.loads(done.output)["traffic"]
    worst = "slowest_slowdown"
    assert 1 <= sprayed[worst] < split[worst] < hashed[worst]
    assert [(one["spreading"], one["connections"]) for one in (sprayed, hashed, split)] == [
        *(("sprayed", 1), ("ecmp", 1), ("ecmp", 4))
    ]
    words = CliRunner().invoke(app, ["show", "frontier", "--nodes", "256", "--traffic"]).output
    assert "hashed, one connection" in words
    assert "sprayed" not in words  # packets of a dragonfly are not
    for cluster, problem in (("tpu-v4-pod", "torus"), ("dgx-h100-superpod --nodes 1", "one node")):
        wrong = CliRunner().invoke(app, ["show", *cluster.split(), "--traffic"])
        assert wrong.exit_code == 2
        assert problem in wrong.output


def test_the_python_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    root = Path(__file__).parents[2]
    (code,) = console.blocks((root / "docs" / "network.md").read_text(encoding="utf-8"), "python")
    exec(compile(code, "network.md", "exec"), {})
    makespan_s = float(capsys.readouterr().out.split()[0])
    # 63 GB out of one NIC of 50 GB/s.
    assert makespan_s == pytest.approx(63e9 / 50e9, rel=1e-3)


def test_a_torus_has_no_network_of_nics_alone() -> None:
    with pytest.raises(PlanError, match="joined by a torus") as caught:
        network_of(load_cluster("tpu-v4-pod"), Routing())
    assert "fabric_of" not in caught.value.hint
