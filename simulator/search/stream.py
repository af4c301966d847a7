"""A stream that serves ops in order while they become ready at a steady pace."""

from __future__ import annotations

import numpy as np

from simulator.numeric import FloatArray, IntArray


def served_s(
    free_s: FloatArray,
    ready_s: FloatArray,
    pace_s: FloatArray,
    count: IntArray,
    serve_s: FloatArray,
) -> FloatArray:
    """When a stream has served its ops.

    The last of n ops ends no earlier than if the stream had been busy since op i was ready, at
    ``ready_s + i * pace_s + (n - i) * serve_s``. That is linear in i, so the first op, the last, or
    what the stream did before holds up the end. Exact in whole ticks.

    Args:
        free_s: when the stream is free.
        ready_s: when the first op is ready.
        pace_s: from one op to the next.
        count: ops, 0 for none.
        serve_s: that an op takes.
    """
    from_first_s = np.maximum(free_s, ready_s) + count * serve_s
    from_last_s = ready_s + (count - 1) * pace_s + serve_s
    served: FloatArray = np.where(count > 0, np.maximum(from_first_s, from_last_s), free_s)
    return served
