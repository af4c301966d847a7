"""Valid scenarios by construction: small models on small machines, with every kind of plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from hypothesis import strategies as st

from simulator.scenario import Scenario
from simulator.spec.load import parse_scenario

UNFUSED: Final = ("megatron-lm-2021", "deepspeed-zero-2020")
STACKS: Final = ("ideal", "megatron-lm-2023", "megascale", "pytorch-fsdp-2024", *UNFUSED)
CLUSTERS: Final[dict[str, tuple[int, tuple[str, ...], tuple[str, ...]]]] = {
    "selene": (8, ("bf16", "fp16", "tf32"), STACKS),
    "dgx-h100-superpod": (8, ("bf16", "fp8"), STACKS),
    "dgx-2-cluster": (16, ("fp16",), UNFUSED),
    "dgx-1v-cluster": (8, ("fp16",), UNFUSED),
    "frontier": (8, ("bf16", "fp16"), STACKS),
    "pcie-8xrtx3090-cluster": (8, ("bf16",), STACKS),
}
"""Cluster -> devices per node, precisions, stacks (no flash attention on V100): switches, cube
mesh, shared NICs, host bridges."""
SPLIT_BACKWARD: Final = ("zb-h1", "zb-h2", "zb-2p", "zb-v")
"""Schedules without a barrier in the step: its time is a period, not a makespan."""


@st.composite
def model_settings(draw: st.DrawFn, num_layers: int, tp: int) -> dict[str, object]:
    """A GPT or a Llama whose heads divide over ``tp``."""
    head_dim = draw(st.sampled_from([64, 128]))
    wide_enough = [n for n in (1, 2, 4, 8, 16) if n * tp * head_dim >= 256]
    heads = tp * draw(st.sampled_from(wide_enough))
    hidden = min(heads * head_dim, 2048)
    groups = draw(st.sampled_from([n for n in (1, 2, 4, 8) if heads % n == 0] + [heads]))
    modern = draw(st.booleans())
    return {
        "num_layers": num_layers,
        "hidden_size": hidden,
        "ffn_hidden_size": tp * draw(st.sampled_from([64, 256, 512])) * (3 if modern else 4),
        "num_attention_heads": heads,
        "num_query_groups": groups,
        "head_dim": head_dim,
        "vocab_size": draw(st.integers(1000, 60_000)),
        "gated_mlp": modern,
        "normalization": "rmsnorm" if modern else "layernorm",
        "position_embedding": "rotary" if modern else "learned",
        "max_position_embeddings": 0 if modern else 2048,
        "tied_embeddings": draw(st.booleans()),
        "parallel_block": draw(st.booleans()),
        "causal": draw(st.booleans()),
        "use_bias": not modern,
    }


@st.composite
def _pipelines(draw: st.DrawFn, pp: int) -> tuple[str, int, int]:
    """A schedule that exists for pp ranks, its chunks per rank, and the microbatches."""
    names = ["gpipe", "1f1b", "zb-h1", "zb-h2", "zb-2p", "zb-v"]
    schedule = draw(st.sampled_from([*names, "interleaved"] if pp > 1 else names))
    microbatches = draw(st.integers(1, 8))
    if schedule == "interleaved":
        return schedule, draw(st.integers(2, 3)), pp * draw(st.integers(1, 3))
    return schedule, 2 if schedule == "zb-v" else 1, microbatches


@st.composite
def _layers(draw: st.DrawFn, num_stages: int) -> list[int]:
    """Layers of every stage: 1 to 8 in all, even or not."""
    most = max(8 // num_stages, 1)
    if draw(st.booleans()):
        return [draw(st.integers(1, most))] * num_stages
    return draw(
        st.lists(st.integers(0, most), min_size=num_stages, max_size=num_stages).filter(sum)
    )


@st.composite
def _degrees(draw: st.DrawFn, max_ranks: int, tensor: tuple[int, ...]) -> tuple[int, int, int]:
    """tp, pp and dp whose product is at most ``max_ranks``."""
    tp = draw(st.sampled_from([n for n in tensor if n <= max_ranks]))
    pp = draw(st.sampled_from([n for n in (1, 2, 3, 4) if n * tp <= max_ranks]))
    dp = draw(st.integers(1, min(max_ranks // (tp * pp), 16)))
    return tp, pp, dp


@st.composite
def shardings(draw: st.DrawFn, dp: int) -> dict[str, object]:
    """A policy and, if it shards anything, the size of its groups."""
    policy = draw(st.sampled_from(["ddp", "zero1", "zero2", "zero3"]))
    sizes = [size for size in range(1, dp + 1) if dp % size == 0]
    group = {} if policy == "ddp" else {"shard_group_size": draw(st.sampled_from(sizes))}
    return {"sharding": policy, **group}


@st.composite
def scenario_settings(
    draw: st.DrawFn, max_ranks: int = 64, tensor: tuple[int, ...] = (1, 2, 4, 8)
) -> dict[str, object]:
    """A scenario as the content of its file; its tp is one of ``tensor``."""
    tp, pp, dp = draw(_degrees(max_ranks, tensor))
    schedule, chunks, microbatches = draw(_pipelines(pp))
    layers = draw(_layers(pp * chunks))
    micro_batch = draw(st.integers(1, 4))
    cluster = draw(st.sampled_from(sorted(CLUSTERS)))
    per_node, precisions, stacks = CLUSTERS[cluster]
    recompute: dict[str, object] = {"mode": draw(st.sampled_from(["none", "selective", "full"]))}
    if recompute["mode"] == "full" and draw(st.booleans()):
        recompute["num_layers"] = draw(st.integers(1, max(layers)))
    booleans = st.booleans()
    return {
        "name": "drawn",
        "model": draw(model_settings(sum(layers), tp)),
        "training": {
            "global_batch_size": dp * micro_batch * microbatches,
            "micro_batch_size": micro_batch,
            "seq_length": 128 * draw(st.integers(1, 8)),
            "precision": draw(st.sampled_from(precisions)),
            "recompute": recompute,
        },
        "plan": {
            "tp": tp,
            "pp": pp,
            "dp": dp,
            "virtual_stages": chunks,
            "schedule": schedule,
            "layers_per_stage": layers,
            **draw(shardings(dp)),
            "sequence_parallel": tp > 1 and draw(booleans),
            "prefetch_depth": draw(st.integers(1, 2)),
            "axis_order": list(
                draw(st.sampled_from([("tp", "cp", "dp", "pp"), ("tp", "pp", "cp", "dp")]))
            ),
            "overlap": {"dp": draw(booleans), "tp": draw(booleans), "pp": draw(booleans)},
            "bucket_bytes": f"{draw(st.sampled_from([1, 10, 1000]))} MB",
        },
        "cluster": {"preset": cluster, "nodes": -(-tp * pp * dp // per_node)},
        "stack": {"preset": draw(st.sampled_from(stacks))},
    }


def scenarios(
    max_ranks: int = 64, tensor: tuple[int, ...] = (1, 2, 4, 8)
) -> st.SearchStrategy[Scenario]:
    """Checked scenarios of at most ``max_ranks`` ranks, all of them equally fast."""
    return scenario_settings(max_ranks, tensor).map(parse_scenario)


@st.composite
def uneven_scenarios(draw: st.DrawFn, max_ranks: int = 64) -> Scenario:
    """Scenarios in which some ranks are slower than the others."""
    scenario = draw(scenarios(max_ranks))
    ranks = st.integers(0, scenario.plan.num_devices - 1)
    speeds = draw(st.dictionaries(ranks, st.floats(0.5, 1.0), max_size=12))
    return replace(scenario, stragglers=tuple(sorted(speeds.items())))
