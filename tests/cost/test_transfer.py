"""Point-to-point messages."""

import numpy as np
import pytest

from simulator.cost.transfer import p2p_s
from simulator.machine import PathLink


def test_by_hand():
    # 64 MB at 200 GB/s is 320 us, plus 5 us.
    assert p2p_s(64e6, PathLink(200e9, 5e-6)) == pytest.approx(325e-6, rel=1e-12)


def test_scalar_equals_row():
    payload = np.array([0.0, 1e3, 1e9])
    rows = p2p_s(payload, PathLink(np.array([1e9, 2e9, 3e9]), 1e-6))
    single = [p2p_s(s, PathLink(b, 1e-6)) for s, b in zip(payload, (1e9, 2e9, 3e9), strict=True)]
    np.testing.assert_allclose(rows, single, rtol=1e-14)
