"""A cluster, or that of a scenario."""

from pathlib import Path

import pytest

from simulator.errors import TrainsimError, UnknownNameError
from simulator.spec.any_cluster import load_any_cluster
from simulator.spec.hardware import load_cluster
from simulator.spec.load import load_scenario

SCENARIO = "gpt3-175b-a100-64"


def test_a_cluster_stays_a_cluster() -> None:
    assert load_any_cluster("selene", num_nodes=8) == load_cluster("selene", num_nodes=8)


@pytest.mark.parametrize("name", [SCENARIO, f"scenarios/{SCENARIO}.yaml"])
def test_a_scenario_means_its_cluster(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    assert load_any_cluster(name) == load_scenario(SCENARIO).cluster
    assert load_any_cluster(name, num_nodes=16).num_nodes == 16


def test_an_inline_cluster(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(
        "model: gpt2-xl\ntraining: {global_batch_size: 8, seq_length: 1024}\n"
        "cluster: {extends: selene, name: mine, num_nodes: {value: 4, source: test}}\n"
    )
    assert load_any_cluster(str(path)).num_nodes == 4
    shown = load_any_cluster(str(path), num_nodes=6)
    assert (shown.name, shown.num_nodes) == ("mine", 6)


def test_what_is_neither(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown cluster 'selenium'"):
        load_any_cluster("selenium")
    with pytest.raises(TrainsimError, match="there is no file"):
        load_any_cluster(str(tmp_path / "none.yaml"))
    with pytest.raises(TrainsimError, match="is a directory"):
        load_any_cluster(f"{tmp_path}/")
    with pytest.raises(TrainsimError, match="100000 nodes asked of cluster 'selene'"):
        load_any_cluster(SCENARIO, num_nodes=100_000)


def test_nodes_of_a_description_are_num_nodes() -> None:
    with pytest.raises(TrainsimError, match="unknown key 'nodes'") as caught:
        load_cluster({"extends": "selene", "nodes": 8})
    assert "num_nodes: {value: 8, source: ...}" in caught.value.hint
