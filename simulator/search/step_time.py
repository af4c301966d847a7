"""Step times of a batch, as columns: passes, then the end of the step.

Follows ``workload/lower``: what that adds to the graph is added here to columns, in the same
order, so that sums are equal to the last bit.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from simulator.numeric import FloatArray, IntArray
from simulator.search.batch import Batch
from simulator.search.gathered import gathered_bound_s
from simulator.search.pass_work import StepPrices, pass_work
from simulator.search.passes import Ends, solve_passes
from simulator.search.policies import gathers_after_step, gathers_before_use
from simulator.search.single import single_rank_s
from simulator.search.unique import first_rows

_PASSES: Final = (
    "microbatches",
    "tp",
    "micro_batch_size",
    "sequence_parallel",
    "overlap_tp",
    "recompute",
    "recompute_layers",
)
"""Columns that price a pass."""


def step_times_s(batch: Batch) -> FloatArray:
    """Step times. [candidates].

    Lower bounds where the weights of a pipeline are gathered before every use.
    """
    prices = StepPrices.of(batch)
    if batch.schedule.num_ranks == 1:
        return single_rank_s(batch, prices)
    step_s = _pipeline_s(batch, prices)
    rows = np.flatnonzero(gathers_before_use(batch.candidates))
    if rows.size:
        own = prices.take(rows)
        step_s[rows] = gathered_bound_s(
            batch.pipeline, batch.candidates.take(rows), own.ranks, own.phases_s, step_s[rows]
        )
    return step_s


def _pipeline_s(batch: Batch, prices: StepPrices) -> FloatArray:
    """Several pipeline ranks: the passes once per distinct row, then what follows them."""
    candidates, columns = batch.candidates, batch.candidates.columns()
    beside_key = _beside_key(batch)
    # Rows that send beside compute come last: they have more to do.
    firsts, inverse = first_rows(
        [candidates.overlap_pp, *(columns[name] for name in _PASSES), beside_key]
    )
    halves = np.split(firsts, [np.count_nonzero(candidates.overlap_pp[firsts] == 0)])
    parts: list[Ends] = []
    for rows in halves:
        if rows.size:
            work = pass_work(batch.take(rows), prices.take(rows), beside_key[rows])
            parts.append(solve_passes(batch.schedule, work, batch.prices.begin_s))
    return _end_of_step_s(batch, prices, Ends.joined(parts).take(inverse))


def _beside_key(batch: Batch) -> IntArray:
    """What data parallelism does beside the passes, see ``pass_work``; no other changes them."""
    candidates = batch.candidates
    beside = (candidates.overlap_dp == 1) & ~gathers_before_use(candidates)
    return np.where(beside, 1 + gathers_after_step(candidates), 0)


def _end_of_step_s(batch: Batch, prices: StepPrices, ends: Ends) -> FloatArray:
    """Reductions, tied table, optimizer and gathers after the passes; then the period."""
    candidates, schedule, ranks = batch.candidates, batch.schedule, prices.ranks
    begin_s = batch.prices.begin_s
    compute, reduced = ends.compute_s, ends.data_s
    beside = candidates.overlap_dp == 1
    has_dp = candidates.dp > 1
    compute = np.where(~beside & has_dp, compute + ranks.reduce_s, compute)
    if prices.data.has_tied:
        first, last = int(schedule.stage_rank[0]), int(schedule.stage_rank[-1])
        ready = np.maximum(compute[[first, last]], reduced[[first, last]]).max(axis=0)
        compute[first] = ready + ranks.tied_s
        compute[last] = ready + ranks.tied_s
    joined = schedule.joins_before_optimizer
    own = np.maximum(compute, reduced)
    compute = (own.max(axis=0) if joined else own) + ranks.optimizer_s
    gathers = gathers_after_step(candidates)
    compute = np.where(~beside & gathers, compute + ranks.gather_s, compute)
    makespan = compute.max(axis=0)
    if joined:
        return makespan
    # As engine/breakdown.period_s: the neighbouring steps fill the waits at both ends.
    starts = ends.first_start_s
    gathered = np.where(beside & gathers, ranks.lead_gather_s, 0.0)
    lead = starts - begin_s
    waited = np.clip(gathered - begin_s, 0.0, lead)
    idle = lead - waited + makespan - compute
    return (makespan - idle).max(axis=0)
