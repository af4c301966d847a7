from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.published.layout import (
    Degrees,
    ceiling_split,
    degrees_of,
    layer_split,
    plan_settings,
)
from simulator.published.rows import CannotRunError, PublishedRow

MakeRow = Callable[..., PublishedRow]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({}, Degrees(1, 1, 8, 1, 4, 32)),
        # dp = 64 / (8 * 4) = 2; 64 sequences / (2 replicas * 8 microbatches) = 4.
        (
            {"n_gpus": "64", "tp": "8", "pp": "4", "dp": "", "micro_batch": ""}
            | {"global_batch": "64", "n_microbatches": "8"},
            Degrees(8, 4, 2, 1, 4, 64),
        ),
        # 8 replicas * 3 microbatches of 4.
        ({"global_batch": "", "n_microbatches": "3"}, Degrees(1, 1, 8, 1, 4, 96)),
        ({"n_gpus": "1", "tp": "", "pp": "", "dp": ""}, Degrees(1, 1, 1, 1, 4, 32)),
        # 22 microbatches of 12 on 8 ranks are 2112, 3.1 % more than 2048: left to the checks.
        ({"global_batch": "2048", "micro_batch": "12"}, Degrees(1, 1, 8, 1, 12, 2048)),
        # 43 microbatches of 6 on 8 ranks are 2064, 0.8 % more.
        ({"global_batch": "2048", "micro_batch": "6"}, Degrees(1, 1, 8, 1, 6, 2064)),
    ],
)
def test_degrees(make_row: MakeRow, cells: dict[str, str], expected: Degrees) -> None:
    assert degrees_of(make_row(**cells))[0] == expected


def test_microbatch_of_a_pipeline_is_assumed(make_row: MakeRow) -> None:
    row = make_row(pp="8", dp="1", micro_batch="", vpp="3")
    assert degrees_of(row) == (Degrees(1, 8, 1, 3, 1, 32), ["micro_batch not stated: 1"])


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"cp": "2"}, r"context parallelism \(cp 2\)"),
        ({"tp": ""}, "tp or pp is not stated"),
        ({"n_gpus": ""}, "n_gpus is not stated"),
        ({"dp": "4"}, "1 . 1 . 4 is not n_gpus 8"),
        ({"micro_batch": ""}, "micro_batch is not stated"),
        ({"global_batch": ""}, "global_batch is not stated"),
    ],
)
def test_open_degrees(make_row: MakeRow, cells: dict[str, str], reason: str) -> None:
    with pytest.raises(CannotRunError, match=reason):
        degrees_of(make_row(**cells))


def plan_of(row: PublishedRow) -> dict[str, object]:
    degrees, _ = degrees_of(row)
    return plan_settings(row, degrees, row.needed("layers"))[0]


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("0", "ddp"),
        ("none (DDP)", "ddp"),
        ("0 (not stated)", "ddp"),
        ("1", "zero1"),
        ("distributed optimizer (NeMo default, ZeRO-1)", "zero1"),
        ("distributed_fused_adam (ZeRO-1)", "zero1"),
        ("2", "zero2"),
        ("FSDP shard_grad_op (ZeRO-2)", "zero2"),
        ("FSDP (optimizer+grad sharded; params not resharded after fwd)", "zero2"),
        ("3", "zero3"),
        ("FSDP full_shard (ZeRO-3)", "zero3"),
        ("fully sharded 256-way in pod", "zero3"),
        ("3 + ZeRO++ (qwZ+hpZ+qgZ)", "zero++"),
    ],
)
def test_sharding_words(make_row: MakeRow, text: str, policy: str) -> None:
    assert plan_of(make_row(zero_stage=text))["sharding"] == policy


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("ZeRO-1 over 4 ranks (of DP 8)", 4),
        ("FSDP (ZeRO-3) inside node (4), data parallel across 2 nodes", 4),
        ("FSDP (ZeRO-3) inside slice, data parallel across 2 slices (DCN)", 4),
        ("FSDP (ZeRO-3) within 2 GPUs, DP replicate 4", 2),
        ("ZeRO-1 over 8 ranks (of DP 8)", None),
    ],
)
def test_shard_groups(make_row: MakeRow, text: str, group: int | None) -> None:
    assert plan_of(make_row(zero_stage=text)).get("shard_group_size") == group


@pytest.mark.parametrize(
    ("cells", "schedule", "virtual_stages"),
    [
        ({}, "1f1b", 1),
        ({"pp": "4", "dp": "2", "pp_schedule": "1F1B"}, "1f1b", 1),
        ({"pp": "4", "dp": "2", "vpp": "3"}, "interleaved", 3),
        (
            {"pp": "4", "dp": "2", "vpp": "3", "framework": "Megatron-LM main"},
            *("interleaved-steady", 3),
        ),
        (
            {"pp": "4", "dp": "2", "vpp": "3", "framework": "Meta internal (PyTorch FSDP+PP)"},
            *("interleaved-steady", 3),
        ),
        ({"pp": "4", "dp": "2", "pp_schedule": "ZB-1p"}, "zb-h1", 1),
        ({"pp": "4", "dp": "2", "pp_schedule": "ZB-2p"}, "zb-2p", 1),
        ({"pp": "4", "dp": "2", "pp_schedule": "ZB-V"}, "zb-v", 2),
        # 24 layers on 4 ranks, one per chunk.
        ({"pp": "4", "dp": "2", "pp_schedule": "interleaved-1F1B, tuned"}, "interleaved", 6),
        ({"vpp": "3"}, "1f1b", 1),  # chunks without a pipeline mean nothing
    ],
)
def test_schedule_words(
    make_row: MakeRow, cells: dict[str, str], schedule: str, virtual_stages: int
) -> None:
    plan = plan_of(make_row(**cells))
    assert (plan["schedule"], plan["virtual_stages"]) == (schedule, virtual_stages)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"offload": "CPU optimizer"}, "offload"),
        ({"note": "compile; CPU offload with fused optimizer"}, "offload"),
        ({"recompute": "policy:custom(context=offload)"}, "offload"),
        ({"pp": "4", "dp": "2", "pp_schedule": "DualPipe"}, "DualPipe"),
    ],
)
def test_plans_that_are_not_modelled(make_row: MakeRow, cells: dict[str, str], reason: str) -> None:
    with pytest.raises(CannotRunError, match=reason):
        plan_of(make_row(**cells))


@pytest.mark.parametrize(
    ("layers", "stages", "expected"),
    [
        (32, 8, None),
        # Zero Bubble, table 3: 30 layers on 8 stages are 3, six times 4, 3.
        (30, 8, (3, 4, 4, 4, 4, 4, 4, 3)),
        # Llama 3 405B: 126 layers on 16 stages.
        (126, 16, (7, *(8,) * 14, 7)),
        # 11 + 2 over 5 stages is 2 and 3 left, which the middle stages take.
        (11, 5, (1, 3, 3, 3, 1)),
        (2, 8, None),
    ],
)
def test_layer_split(layers: int, stages: int, expected: tuple[int, ...] | None) -> None:
    assert layer_split(layers, stages) == expected


@pytest.mark.parametrize(
    ("layers", "stages", "expected"),
    [
        # BLOOM's search, "Re-do": "the last stage has 1 block, while the rest have 7".
        (78, 12, (*(7,) * 11, 1)),
        (72, 12, None),
        # 2 each for 8 stages would be 16 of 13 layers: not of this form.
        (13, 9, None),
    ],
)
def test_ceiling_split(layers: int, stages: int, expected: tuple[int, ...] | None) -> None:
    assert ceiling_split(layers, stages) == expected


def test_a_note_says_how_the_layers_are_divided(make_row: MakeRow) -> None:
    cells = {"layers": "26", "pp": "4", "dp": "2"}
    noted = plan_of(make_row(**cells, note="partition counts transformer layers only"))
    assert noted["layers_per_stage"] == [7, 7, 7, 5]
    assert plan_of(make_row(**cells))["layers_per_stage"] == [6, 7, 7, 6]


@settings(deadline=None)
@given(layers=st.integers(1, 200), stages=st.integers(1, 64))
def test_split_keeps_all_layers(layers: int, stages: int) -> None:
    split = layer_split(layers, stages)
    if split is not None:
        assert sum(split) == layers
        assert len(split) == stages
        assert min(split) >= 0
        # Only the ends, which also hold embedding and projection, may have fewer.
        assert max(split) - min(split[1:-1], default=max(split)) <= 1


def test_sequence_parallelism(make_row: MakeRow) -> None:
    tensor = {"tp": "8", "dp": "1"}
    assert plan_of(make_row(**tensor, sequence_parallel="yes"))["sequence_parallel"] is True
    assert plan_of(make_row(**tensor, sequence_parallel="0"))["sequence_parallel"] is False
    # Not stated: off before 2023, on since.
    assert plan_of(make_row(**tensor, sequence_parallel=""))["sequence_parallel"] is False
    # It was published together with selective recomputation.
    selective = make_row(**tensor, sequence_parallel="", recompute="selective (core_attn)")
    assert plan_of(selective)["sequence_parallel"] is True
    # MaxText's logical axis rules divide activations over the tensor axis.
    maxtext = make_row(**tensor, sequence_parallel="0", framework="MaxText (JAX)")
    assert plan_of(maxtext)["sequence_parallel"] is True
    late = make_row(**tensor, sequence_parallel="", year="2024")
    assert plan_of(late)["sequence_parallel"] is True
    older = make_row(**tensor, sequence_parallel="", year="2024", framework="Megatron-DeepSpeed")
    assert plan_of(older)["sequence_parallel"] is False
    assert plan_of(make_row(sequence_parallel="yes"))["sequence_parallel"] is False  # tp 1
    maxtext = make_row(**tensor, sequence_parallel="0", framework="MaxText (JAX)")
    assert plan_of(maxtext)["sequence_parallel"] is True


def test_experts_are_spread_as_the_row_says(make_row: MakeRow) -> None:
    def plan(**cells: str) -> tuple[dict[str, object], list[str]]:
        row = make_row(**cells)
        return plan_settings(row, degrees_of(row)[0], 24)

    assert "ep" not in plan()[0]
    assert plan(ep="4")[0]["ep"] == 4
    assert plan(ep="4", tp="2", dp="4", model="gpt_etp1")[0]["etp"] == 1
    # 8 ranks with tp 2 are 4 replicas: 8 ranks that share experts are ranks of tp, too.
    settings, notes = plan(ep="8", tp="2", dp="4")
    assert (settings["ep"], settings["etp"]) == (8, 1)
    assert "experts not cut over tp: ep 8 exceeds dp 4" in notes
