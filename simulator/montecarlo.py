"""Noise on a step: the same graph run many times, with devices, links and ops drawn at random.

Every factor is log-normal with median 1, ``exp(spread * z)``: a device that is slower than the
median by one spread takes ``exp(spread)`` times as long for all it computes in a step. Draws
depend on the seed and the number of the sample alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Final

import numpy as np

from simulator.engine.breakdown import batch_period_s
from simulator.engine.maxplus import solve_batch
from simulator.errors import SpecError
from simulator.numeric import FloatArray, IntArray
from simulator.progress import Progress, silent
from simulator.scenario import Scenario, check
from simulator.step import Step, build_step

MAX_SAMPLES: Final = 100_000
MAX_CELLS: Final = 50_000_000
"""Most ops of all replicas of a job; one sample of them takes about 2 GB."""
MAX_SPREAD: Final = 1.0
"""A spread of 1 is a factor of 2.7 either way; anything above is no noise."""
_BLOCK_CELLS: Final = 4_000_000
"""Ops solved at once: some 100 MB."""
_SPEED, _LINK, _DURATION = range(3)
"""Every kind of noise has random numbers of its own, so that one leaves the others as they are."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Spreads: standard deviations of the logarithm of a time.

    Attributes:
        speed: of the compute of a device, one draw per device and step.
        link: of the communication of a pipeline rank of a replica, one draw each per step.
        duration: of an op (a pass of a microbatch, a message), one draw each.
    """

    speed: float = 0.0
    link: float = 0.0
    duration: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            spread = getattr(self, field.name)
            if not 0 <= spread <= MAX_SPREAD:
                raise SpecError(
                    f"noise {field.name} = {spread:g} is not between 0 and {MAX_SPREAD:g}",
                    where="--noise",
                    hint="0.02 means that a time varies by about 2 % either way",
                )


@dataclass(frozen=True, slots=True)
class Samples:
    """Step times under noise.

    Attributes:
        step_time_s: [samples], in the order drawn.
        noise_free_s: the same without noise.
        shares_links: links are shared, which the samples leave out: they are lower bounds.
    """

    noise: Noise
    seed: int
    step_time_s: FloatArray
    noise_free_s: float
    tokens_per_step: int
    shares_links: bool

    def percentile_s(self, percent: float) -> float:
        """Step time that so many percent of the samples do not exceed."""
        return float(np.percentile(self.step_time_s, percent))

    @property
    def mean_s(self) -> float:
        """Mean step time: that of a long training whose noise is drawn anew at every step."""
        return float(self.step_time_s.mean())

    def to_json(self) -> dict[str, object]:
        """Plain data with the samples."""
        times = {f"p{percent}": self.percentile_s(percent) for percent in (5, 50, 95)}
        return {
            "noise": asdict(self.noise),
            "seed": self.seed,
            "samples": len(self.step_time_s),
            "step_time_s": {"noise_free": self.noise_free_s, "mean": self.mean_s, **times},
            "tokens_per_s": self.tokens_per_step / self.mean_s,
            "shares_links": self.shares_links,
            "sampled_step_time_s": self.step_time_s.tolist(),
        }


def sample_steps(
    scenario: Scenario,
    noise: Noise,
    *,
    samples: int,
    seed: int = 0,
    progress: Progress = silent,
) -> Samples:
    """Step times of ``samples`` runs under noise.

    All data-parallel replicas run, each with draws of its own, and wait for one another at their
    collectives. In a pipeline rank the slowest of its tensor- and context-parallel devices sets
    the pace.

    Assumes: draws are independent; links are not shared (max-plus, a lower bound where they are).

    Args:
        scenario: what is trained.
        noise: how much varies.
        samples: how many runs.
        seed: of the random numbers; more samples of one seed begin with the same ones.
        progress: told before and after every block how many are drawn.

    Raises:
        PlanError, ScheduleError: if the plan breaks a rule.
        SpecError: if there are too many samples or ops.
    """
    check(scenario)
    step = build_step(scenario, as_batch=True)
    _refuse_too_many(step, samples)
    rows = _Rows.of(step)
    block = max(1, _BLOCK_CELLS // rows.device_s.size)
    times: list[FloatArray] = []
    progress("Drawing samples", 0, samples)
    for first in range(0, samples, block):
        numbers = range(first, min(first + block, samples))
        durations_s = np.concatenate([_noisy(rows, noise, (seed, n)) for n in numbers])
        times.append(_periods_s(step, durations_s, len(rows.device_s)))
        progress("Drawing samples", numbers.stop, samples)
    training = scenario.training
    return Samples(
        noise=noise,
        seed=seed,
        step_time_s=np.concatenate(times),
        noise_free_s=float(_periods_s(step, rows.device_s + rows.waiting_s, len(rows.device_s))[0]),
        tokens_per_step=training.global_batch_size * training.seq_length,
        shares_links=step.graph.has_shared_resources,
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    """All data-parallel replicas of a job without noise.

    Attributes:
        device_s, waiting_s: [replicas, ops], what scales with a device's speed and what does not.
        rank: [ops], pipeline rank.
        shape: replicas, pipeline ranks, devices of each.
    """

    device_s: FloatArray
    waiting_s: FloatArray
    rank: IntArray
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, step: Step) -> _Rows:
        plan, table = step.scenario.plan, step.table
        waiting_s = np.stack([table.waiting_s[graph.op_class] for graph in step.row_graphs])
        device_s = step.durations_s() - waiting_s
        members = np.repeat(
            np.arange(len(step.replicas)), [replica.multiplicity for replica in step.replicas]
        )
        ranks = np.array([stream.rank for stream in step.graph.streams])[step.graph.stream]
        shape = (plan.dp, plan.pp, plan.tp * plan.cp)
        return cls(device_s[members], waiting_s[members], ranks, shape)


def _noisy(rows: _Rows, noise: Noise, key: tuple[int, int]) -> FloatArray:
    """Durations of one sample. [replicas, ops]."""
    replicas, ranks, _ = rows.shape
    device_s, waiting_s = rows.device_s, rows.waiting_s
    if noise.speed:
        slowest = _factors(noise.speed, (*key, _SPEED), rows.shape).max(axis=-1)
        device_s = device_s * slowest[:, rows.rank]
    if noise.link:
        waiting_s = waiting_s * _factors(noise.link, (*key, _LINK), (replicas, ranks))[:, rows.rank]
    durations_s = device_s + waiting_s
    if noise.duration:
        durations_s *= _factors(noise.duration, (*key, _DURATION), durations_s.shape)
    return durations_s


def _factors(spread: float, key: tuple[int, ...], shape: tuple[int, ...]) -> FloatArray:
    """Log-normal factors of median 1."""
    return np.exp(spread * np.random.default_rng(key).standard_normal(shape))


def _periods_s(step: Step, durations_s: FloatArray, replicas: int) -> FloatArray:
    """Step time of every job, that of its slowest replica. [jobs] of [jobs * replicas, ops]."""
    ends_s = solve_batch(step.graph, durations_s, couple=True, replicas=replicas)
    joined = step.schedule.joins_before_optimizer
    return (
        batch_period_s(step.graph, durations_s, ends_s, joined=joined)
        .reshape(-1, replicas)
        .max(axis=1)
    )


def _refuse_too_many(step: Step, samples: int) -> None:
    if not 1 <= samples <= MAX_SAMPLES:
        raise SpecError(
            f"{samples} samples are not between 1 and {MAX_SAMPLES:,}",
            where="--samples",
            hint="a few hundred tell the 95th percentile to a few per mille",
        )
    cells = step.graph.num_ops * step.scenario.plan.dp
    if cells > MAX_CELLS:
        raise SpecError(
            f"{step.graph.num_ops:,} ops of {step.scenario.plan.dp} replicas are more than "
            f"{MAX_CELLS:,}",
            where="plan.dp",
            hint="sample a job of fewer replicas",
        )
