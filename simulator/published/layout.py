"""Turns the parallelism and batch columns of a row into a plan."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from simulator.numeric import ceil_div
from simulator.published.families import Settings
from simulator.published.offload import offload_settings
from simulator.published.rows import CannotRunError, PublishedRow


@dataclass(frozen=True, slots=True)
class Degrees:
    """Sizes of the axes and of the batch, every one known."""

    tp: int
    pp: int
    dp: int
    virtual_stages: int
    micro_batch_size: int
    global_batch_size: int

    @property
    def num_devices(self) -> int:
        """Ranks of the job."""
        return self.tp * self.pp * self.dp


def degrees_of(row: PublishedRow) -> tuple[Degrees, list[str]]:
    """Sizes of the axes and of the batch; one of them may follow from the others.

    Raises:
        CannotRunError: if they are neither stated nor follow, or contradict one another.
    """
    if (row.integer("cp") or 1) > 1:
        raise CannotRunError(f"context parallelism (cp {row.integer('cp')}) is not modelled")
    devices = row.needed("n_gpus")
    tp, pp = row.integer("tp"), row.integer("pp")
    if tp is None and pp == 1 and row.lower("offload").startswith("cpu") and row.text("zero_stage"):
        tp = 1  # What ZeRO with offload does without; who adds tensor parallelism states it.
    if tp is None or pp is None:
        if devices > 1:
            raise CannotRunError("tp or pp is not stated")
        tp = pp = 1
    dp = row.integer("dp") or devices // (tp * pp)
    if tp * pp * dp != devices:
        raise CannotRunError(f"tp * pp * dp = {tp} * {pp} * {dp} is not n_gpus {devices}")
    micro, batch, notes = _batch(row, dp, pp)
    return Degrees(tp, pp, dp, row.integer("vpp") or 1, micro, batch), notes


def _batch(row: PublishedRow, dp: int, pp: int) -> tuple[int, int, list[str]]:
    """Microbatch and global batch size: batch = dp * micro * number of microbatches."""
    micro, batch = row.integer("micro_batch"), row.integer("global_batch")
    count = row.integer("n_microbatches")
    if batch is None:
        if micro is None or count is None:
            raise CannotRunError("global_batch is not stated")
        return micro, micro * count * dp, []
    if micro is not None:
        return micro, *_whole_batch(batch, dp * micro)
    if count is not None and batch % (count * dp) == 0:
        return batch // (count * dp), batch, []
    if pp == 1:
        # Without a pipeline, one microbatch per step is as usual as one sequence per microbatch.
        raise CannotRunError("micro_batch is not stated")
    return 1, batch, ["micro_batch not stated: 1"]


def _whole_batch(batch: int, per_pass: int) -> tuple[int, list[str]]:
    """The batch filled up to whole microbatches, where that changes it by at most 2 %.

    Some frameworks run a smaller last microbatch, which a scenario has no form for.
    """
    filled = ceil_div(batch, per_pass) * per_pass
    if filled == batch or filled > 1.02 * batch:
        return batch, []
    return filled, [f"global_batch {batch} filled up to {filled}"]


def plan_settings(
    row: PublishedRow, degrees: Degrees, num_layers: int
) -> tuple[Settings, list[str]]:
    """The scenario's ``plan``, and what was assumed.

    Raises:
        CannotRunError: if the row uses a schedule, sharding or offload that is not modelled.
    """
    offload = offload_settings(row)
    sharding, group, notes = _sharding(row, degrees)
    schedule, virtual_stages, schedule_notes = _schedule(row, degrees, num_layers)
    notes += schedule_notes
    plan: Settings = {
        "tp": degrees.tp,
        "pp": degrees.pp,
        "dp": degrees.dp,
        "virtual_stages": virtual_stages,
        "schedule": schedule,
        "sharding": sharding,
        "sequence_parallel": False,
    }
    if degrees.tp > 1:
        plan["sequence_parallel"], more = _sequence_parallel(row)
        notes += more
    if offload is not None:
        plan["offload"] = offload
    if "1-bit adam" in row.lower("framework"):
        # The figures are of the compression stage (DeepSpeed's blog post of 2020, figures 5 to 8).
        plan["exchange"] = {"policy": "one_bit"}
    if group is not None:
        plan["shard_group_size"] = group
    experts, more = _expert_parallel(row, degrees)
    plan |= experts
    notes += more
    split = (
        ceiling_split(num_layers, degrees.pp)
        if _counts_layers_only(row)
        else layer_split(num_layers, degrees.pp * virtual_stages)
    )
    if split is not None:
        plan["layers_per_stage"] = list(split)
        notes.append(f"{split[0]} layers in the first and {split[-1]} in the last stage")
    return plan, notes


def _expert_parallel(row: PublishedRow, degrees: Degrees) -> tuple[Settings, list[str]]:
    """Ranks that share the experts, and whether experts are cut over tp.

    Where there are more of them than replicas, they can only be ranks of tp as well.
    """
    ep = row.integer("ep") or 1
    if ep == 1:
        return {}, []
    if named := re.search(r"etp(\d+)", row.lower("model")):
        return {"ep": ep, "etp": int(named[1])}, []
    if degrees.tp == 1 or degrees.dp % ep == 0:
        return {"ep": ep}, []
    return {"ep": ep, "etp": 1}, [f"experts not cut over tp: ep {ep} exceeds dp {degrees.dp}"]


def layer_split(num_layers: int, num_stages: int) -> tuple[int, ...] | None:
    """Layers of each stage where they do not divide evenly, None where they do.

    Embedding and vocabulary projection stand for one layer each, so that the first and the last
    stage hold one less: Zero Bubble (arXiv 2401.10241, section 4.1), Llama 3 (arXiv 2407.21783,
    section 3.3.2) and BLOOM (arXiv 2211.05100, section 3.3.2) say so. What is still left over
    goes to the middle stages.
    """
    if num_layers % num_stages == 0 or num_stages > num_layers + 2:
        return None
    base, extra = divmod(num_layers + 2, num_stages)
    split = [base] * num_stages
    first = (num_stages - extra) // 2
    for stage in range(first, first + extra):
        split[stage] += 1
    split[0] -= 1
    split[-1] -= 1
    return tuple(split)


def ceiling_split(num_layers: int, num_stages: int) -> tuple[int, ...] | None:
    """Layers of each stage where all but the last hold the same, None where they divide evenly.

    DeepSpeed's partition of so many equal weights: the least possible maximum, reached by every
    stage until the layers end (microsoft/DeepSpeed, runtime/utils.py, partition_balanced).
    """
    most = ceil_div(num_layers, num_stages)
    if num_layers % num_stages == 0 or most * (num_stages - 1) > num_layers:
        return None
    return (*(most,) * (num_stages - 1), num_layers - most * (num_stages - 1))


def _counts_layers_only(row: PublishedRow) -> bool:
    """Whether its note says that embeddings are no layers to the partition."""
    return "partition counts transformer layers only" in row.lower("note")


def _schedule(row: PublishedRow, degrees: Degrees, num_layers: int) -> tuple[str, int, list[str]]:
    """Schedule, virtual stages per rank, and what was assumed."""
    text = row.lower("pp_schedule")
    if "dualpipe" in text:
        raise CannotRunError("the DualPipe schedule is not modelled")
    if degrees.pp == 1:
        return "1f1b", 1, []
    for words, schedule, virtual_stages in (
        ("zb-1p", "zb-h1", 1),
        ("zb-2p", "zb-2p", 1),
        ("zb-v", "zb-v", 2),
    ):
        if words in text:
            return schedule, virtual_stages, []
    # Megatron-LM's main branch of 2026 and PyTorch (distributed/pipelining/schedules.py,
    # ScheduleInterleaved1F1B) have no special case for as many microbatches as ranks.
    steady = re.search("megatron-lm main|pytorch", row.lower("framework"))
    interleaved = "interleaved-steady" if steady else "interleaved"
    if text.startswith("interleaved") and row.integer("vpp") is None:
        # The layers are then too few for more chunks: the first and last lack one (layer_split).
        chunks = ceil_div(num_layers, degrees.pp)
        return interleaved, chunks, [f"vpp not stated: {chunks}, one layer each"]
    if degrees.virtual_stages > 1:
        return interleaved, degrees.virtual_stages, []
    return "1f1b", 1, []


def _sequence_parallel(row: PublishedRow) -> tuple[bool, list[str]]:
    if "maxtext" in row.lower("framework"):
        # Its rule [activation_embed, tensor] (MaxText/configs/base.yml) cuts activations between
        # the linear layers over the tensor axis, along another axis at the same cost.
        return True, []
    text = row.lower("sequence_parallel")
    if text and text != "not stated":
        return text in ("1", "yes"), []
    # Korthikanti et al. published it in May 2022, together with selective recomputation;
    # frameworks switch it on since. BigScience's Megatron-DeepSpeed forked before.
    selective = row.lower("recompute").startswith("selective")
    descends = "megatron-deepspeed" not in row.lower("framework")
    assumed = selective or (descends and (row.integer("year") or 2024) > 2022)
    return assumed, [f"sequence_parallel not stated: {'on' if assumed else 'off'}"]


_STAGES: Final = (
    (r"zero\+\+", "zero++"),
    (r"zero-?3|fsdp|hsdp|fully sharded|^3", "zero3"),
    (r"zero-?2|^2", "zero2"),
    (r"zero-?1|distributed|^1", "zero1"),
    (r"ddp|^none|zero-?0|^0", "ddp"),
)


def _sharding(row: PublishedRow, degrees: Degrees) -> tuple[str, int | None, list[str]]:
    """Policy, ranks that share one copy of the states, and what was assumed."""
    text = row.lower("zero_stage")
    if "not resharded" in text or "shard_grad_op" in text:
        return "zero2", None, []
    policy = next((name for words, name in _STAGES if re.search(words, text)), None)
    if policy is None:
        if row.lower("framework").startswith("megascale"):
            return "zero2", None, []  # MegaScale (arXiv 2402.15627), section 3.2
        return "ddp", None, ["sharding not stated: ddp"] if degrees.dp > 1 else []
    return policy, _shard_group(text, row, degrees), []


def _shard_group(text: str, row: PublishedRow, degrees: Degrees) -> int | None:
    """Ranks over which states are divided, None for all of dp."""
    if found := re.search(r"over (\d+) ranks|node \((\d+)\)|sharded (\d+)-way", text):
        group = next(int(number) for number in found.groups() if number)
    elif found := re.search(r"within (\d+) gpus", text):
        group = int(found[1]) // (degrees.tp * degrees.pp)
    elif found := re.search(r"data parallel across (\d+) slices", text):
        group = ceil_div(degrees.dp, int(found[1]))
    elif text == "hsdp":
        group = row.integer("gpus_per_node") or degrees.dp
    else:
        return None
    return group if 0 < group < degrees.dp else None
