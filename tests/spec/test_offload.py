from __future__ import annotations

import pytest

from simulator.errors import PlanError, TrainsimError
from simulator.offload import Home, Offload
from simulator.scenario import Scenario
from simulator.search.chosen import chosen_candidates
from simulator.search.evaluate import evaluate
from simulator.spec.load import parse_scenario


def scenario(offload: object, **changes: object) -> Scenario:
    cluster = changes.pop("cluster", "dgx-2-cluster")
    plan = {"dp": 16, "sharding": "zero3", "offload": offload} | changes
    return parse_scenario(
        {
            "model": {
                "num_layers": 4,
                "hidden_size": 1024,
                "num_attention_heads": 8,
                "vocab_size": 1024,
                "max_position_embeddings": 512,
            },
            "training": {"global_batch_size": 32, "seq_length": 512, "precision": "fp16"},
            "plan": plan,
            "cluster": {"preset": cluster, "nodes": 1},
            "stack": "deepspeed-zero-infinity",
        }
    )


def test_a_word_is_a_home_for_all_of_it() -> None:
    offload = scenario({"optimizer": "nvme", "gradients": {"tier": "host", "fraction": 0.5}})
    assert offload.plan.offload == Offload(optimizer=Home("nvme"), gradients=Home("host", 0.5))


def test_a_home_divides_between_its_tier_and_the_device() -> None:
    home = Home("host", 0.25)
    shares = [home.share("device"), home.share("host"), home.share("nvme"), home.away, home.on_nvme]
    assert shares == [0.75, 0.25, 0.0, 0.25, 0.0]
    assert (Home().share("device"), Home().away) == (1.0, 0.0)


def test_everything_on_the_device_is_no_offload() -> None:
    assert scenario({}).plan.offload is None
    assert "'offload'" not in str(scenario({}).normalised["plan"])


def test_normalised_data_gives_the_same_plan() -> None:
    written = scenario(
        {
            "weights": {"tier": "nvme", "fraction": 0.25},
            "optimizer": {"tier": "host", "fraction": 0.5},
            "pinned_buffer_bytes": "512 MiB",
            "optimizer_moment": "in_backward",
        }
    )
    assert parse_scenario(dict(written.normalised)).plan == written.plan


@pytest.mark.parametrize(
    ("offload", "words"),
    [
        ({"weights": "disk"}, "disk"),
        ({"weights": {"tier": "host", "fraction": 0}}, "fraction"),
        (
            {"weights": {"tier": "device", "fraction": 0.5}},
            "fraction 0.5 of what lives on the device",
        ),
        ({"pinned_buffers": 0}, "pinned_buffers"),
        ({"speed": 3}, "unknown key 'speed'"),
        ({"gradients": "host"}, "the optimizer that reads them on the device"),
        ({"optimizer": "host", "pinned_buffer_bytes": "1 kB"}, "less than 1 MiB"),
    ],
)
def test_wrong_homes_are_named(offload: dict[str, object], words: str) -> None:
    with pytest.raises(TrainsimError) as error:
        scenario(offload)
    assert words in f"{error.value.problem} {error.value.where}"
    assert "plan" in error.value.where


def test_a_node_without_nvme_has_no_room_on_it() -> None:
    with pytest.raises(PlanError, match="has none"):
        scenario({"weights": "nvme"}, cluster="pcie-8xrtx4090-cluster", dp=8)


def test_gradients_that_add_up_on_the_device_live_there() -> None:
    with pytest.raises(PlanError, match="adds them up on the device over 2 microbatches"):
        scenario({"gradients": "host", "optimizer": "host"}, sharding="ddp")


def test_everything_stays_where_the_backward_is_split() -> None:
    with pytest.raises(PlanError, match="schedule zb-h1 together"):
        scenario({"activations": "host"}, pp=2, dp=4, schedule="zb-h1", sharding="zero1")


def test_a_search_says_that_it_knows_no_offload() -> None:
    base = scenario({"optimizer": "host"})
    with pytest.raises(PlanError, match="plans with offload cannot be searched"):
        evaluate(base, 16, chosen_candidates(base, [base]))
