"""An executed graph: when every op ran."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.numeric import FloatArray
from simulator.workload.op import OpGraph


@dataclass(frozen=True, slots=True)
class Timeline:
    """Start and end of every op of ``graph``. [ops] each, seconds from the start of the step."""

    graph: OpGraph
    start_s: FloatArray
    end_s: FloatArray
    engine: str

    @property
    def makespan_s(self) -> float:
        """When the last op ends."""
        return float(self.end_s.max(initial=0.0))
