"""Interleaved 1F1B: several chunks per rank divide the bubble by their number."""

from __future__ import annotations

import numpy as np

from simulator.errors import ScheduleError
from simulator.numeric import IntArray
from simulator.schedule.action import Phase, Schedule, looping_placement
from simulator.schedule.weave import Lane, assemble, existing, require_sizes, weave


def interleaved_steady(num_ranks: int, num_microbatches: int, num_chunks: int) -> Schedule:
    """``interleaved`` as Megatron-LM's main branch of 2026 runs it: m == p is no special case.

    Its last rank then starts a backward after (v - 1) p + 1 forwards also when m == p, so that
    the logits of one microbatch are held instead of those of all.

    Source: Megatron-LM, core/pipeline_parallel/schedules.py, ``get_pp_rank_microbatches``.

    Raises:
        ScheduleError: as ``interleaved``.
    """
    return _interleaved(num_ranks, num_microbatches, num_chunks, steady=True)


def interleaved(num_ranks: int, num_microbatches: int, num_chunks: int) -> Schedule:
    """Megatron-LM's interleaved 1F1B. Bubble (p - 1)(F + B) / v, F and B of all of a rank's chunks.

    A rank runs its m * v forwards in groups of p microbatches, chunk by chunk, and its backwards
    likewise with the chunks reversed; after its warm-up (``warmup_forwards``) a forward and a
    backward take turns.

    Source: Narayanan et al. 2021 (arXiv 2104.04473), section 2.2.2; Megatron-LM,
    core/pipeline_parallel/schedules.py, forward_backward_pipelining_with_interleaving.

    Raises:
        ScheduleError: if a size is not positive, there are fewer than 2 chunks, or the
            microbatches are not a multiple of the ranks.
    """
    return _interleaved(num_ranks, num_microbatches, num_chunks, steady=False)


def _interleaved(
    num_ranks: int, num_microbatches: int, num_chunks: int, *, steady: bool
) -> Schedule:
    require_sizes(num_ranks, num_microbatches)
    if num_chunks < 2:
        raise ScheduleError(
            f"schedule 'interleaved' needs at least 2 virtual stages per rank, got {num_chunks}",
            where="plan.virtual_stages",
            hint="set plan.virtual_stages to 2 or more, or plan.schedule to '1f1b'",
        )
    if num_microbatches % num_ranks:
        below = num_microbatches // num_ranks * num_ranks
        near = [n for n in (below, below + num_ranks) if n]
        raise ScheduleError(
            f"schedule 'interleaved' needs microbatches in multiples of the pipeline ranks: "
            f"{num_microbatches} is not divisible by pp = {num_ranks}",
            where="plan.pp",
            hint=f"choose global_batch_size / (dp * micro_batch_size) = "
            f"{' or '.join(map(str, near))}, or plan.schedule '1f1b' with plan.virtual_stages 1",
        )
    total = num_microbatches * num_chunks
    ranks = [
        _rank_rows(
            min(total, steady_warmup(rank, num_ranks, num_chunks))
            if steady
            else warmup_forwards(rank, num_ranks, num_microbatches, num_chunks),
            num_ranks,
            num_microbatches,
            num_chunks,
        )
        for rank in range(num_ranks)
    ]
    return assemble(ranks, looping_placement(num_ranks, num_chunks), num_microbatches)


def warmup_forwards(rank: int, num_ranks: int, num_microbatches: int, num_chunks: int) -> int:
    """Forwards of single chunks before the first forward-backward pair.

    min(m v, 2 (p - rank - 1) + (v - 1) p); all m v when m == p, as Megatron-LM does.
    """
    total = num_microbatches * num_chunks
    if num_microbatches == num_ranks:
        return total
    return min(total, steady_warmup(rank, num_ranks, num_chunks))


def steady_warmup(rank: int, num_ranks: int, num_chunks: int) -> int:
    """Warm-up with many microbatches: 2 (p - rank - 1) + (v - 1) p."""
    return 2 * (num_ranks - rank - 1) + (num_chunks - 1) * num_ranks


def _rank_rows(warmup: int, num_ranks: int, num_microbatches: int, num_chunks: int) -> IntArray:
    """Rows (phase, chunk, microbatch) of one rank, from a weave over k-th chunk passes."""
    total = num_microbatches * num_chunks
    passes = existing(
        np.concatenate(
            [
                weave(warmup, Lane(Phase.F, 0, 0)),
                weave(total, Lane(Phase.F, 0, warmup), Lane(Phase.B, 0, 0)),
            ]
        ),
        total,
    )
    phase, pass_index = passes[:, 0], passes[:, 2]
    group, within = np.divmod(pass_index, num_ranks * num_chunks)
    chunk, member = np.divmod(within, num_ranks)
    chunk = np.where(phase == Phase.B, num_chunks - 1 - chunk, chunk)
    return np.stack([phase, chunk, group * num_ranks + member], axis=1)
