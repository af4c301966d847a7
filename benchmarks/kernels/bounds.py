"""How close any curve can come to the tables of all-reduce over two and four nodes.

    python -m benchmarks.kernels.bounds

The least mean absolute error of a time that never falls with the payload, and of one that is also
concave, as every minimum over lines of protocols and algorithms is: linear programmes. Needs scipy.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

from benchmarks.kernels.evaluate import MEASURED_APART, Sample, Table, network_collective_samples
from simulator.numeric import FloatArray

SYSTEMS = ("p5", "p4de", "p6-b200")


def least_error(payload: FloatArray, measured: FloatArray, *, concave: bool) -> float:
    """Mean of |t / measured - 1| at the best curve t; variables are t / measured and the errors."""
    n = len(payload)
    one, scale = np.eye(n), np.diag(measured)
    rows = [np.hstack([one, -one]), np.hstack([-one, -one])]  # |t / measured - 1| <= error
    rises = np.diff(scale, axis=0)
    rows.append(np.hstack([-rises, np.zeros_like(rises)]))
    limits = [np.ones(n), -np.ones(n), np.zeros(n - 1)]
    if concave:
        bends = np.diff(rises / np.diff(payload)[:, None], axis=0) * np.diff(payload)[1:, None]
        rows.append(np.hstack([bends, np.zeros_like(bends)]))
        limits.append(np.zeros(n - 2))
    cost = np.hstack([np.zeros(n), np.ones(n) / n])
    return float(linprog(cost, A_ub=np.vstack(rows), b_ub=np.hstack(limits), method="highs").fun)


def main() -> None:
    """One line per table."""
    tables = dict(Table.read("collective_network").split("system"))
    samples: dict[str, Sample] = {
        s.subject: s for s in network_collective_samples() if s.subset == "all"
    }
    for name in SYSTEMS:
        payload, measured = tables[(name,)].numbers("bytes"), samples[name].measured_s
        for least in (0.0, MEASURED_APART) if name == "p6-b200" else (0.0,):
            rows = payload >= least
            rising, bent = (
                least_error(payload[rows], measured[rows], concave=concave)
                for concave in (False, True)
            )
            print(f"{name} from {least:.0f} B: rising {rising:.1%}, concave {bent:.1%}")


if __name__ == "__main__":
    main()
