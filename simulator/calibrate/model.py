"""Residuals of observed rows as a function of their stacks' scalars, on several processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from simulator.calibrate.observations import Observation
from simulator.calibrate.predict import step_times_s
from simulator.numeric import FloatArray


@dataclass(frozen=True, slots=True)
class ResidualModel:
    """log(predicted / measured) of some rows.

    Attributes:
        names: fitted scalars, in the order of the parameters.
        pool: None to work in this process.
    """

    rows: Sequence[Observation]
    names: Sequence[str]
    pool: ProcessPoolExecutor | None = None

    def residuals(self, values: Mapping[str, FloatArray]) -> FloatArray:
        """[points, rows] at [points] values of every scalar given."""
        work: Callable[[Observation], FloatArray] = partial(_residuals, values=values)
        if self.pool is None:
            columns = [work(row) for row in self.rows]
        else:
            columns = list(self.pool.map(work, self.rows, chunksize=4))
        return np.stack(columns, axis=-1)

    def at(self, log_values: FloatArray) -> FloatArray:
        """[points, rows] at [points, parameters]."""
        columns = np.exp(log_values).T
        return self.residuals(dict(zip(self.names, columns, strict=True)))


def _residuals(row: Observation, values: Mapping[str, FloatArray]) -> FloatArray:
    seconds = step_times_s(row.scenario, values) * row.contention
    return np.log(seconds / row.measured_s)
