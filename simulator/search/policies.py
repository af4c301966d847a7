"""What the sharding policies of candidates do, as columns."""

from __future__ import annotations

from typing import Final

import numpy as np

from simulator.numeric import BoolArray
from simulator.search.space import SHARDING_NAMES, Candidates
from simulator.sharding import SHARDING

_POLICIES: Final = [SHARDING[name] for name in SHARDING_NAMES]
_BEFORE_USE: Final = np.array([policy.gather == "before_use" for policy in _POLICIES])
_AFTER_STEP: Final = np.array([policy.gather == "after_step" for policy in _POLICIES])
_EVERY_MICROBATCH: Final = np.array([policy.reduce_every_microbatch for policy in _POLICIES])
_SHARDED_GRADIENTS: Final = np.array([policy.shard_gradients for policy in _POLICIES])


def gathers_before_use(candidates: Candidates) -> BoolArray:
    """Whether weights are gathered before every use. [candidates]."""
    return _BEFORE_USE[candidates.sharding] & (candidates.dp > 1)


def gathers_after_step(candidates: Candidates) -> BoolArray:
    """Whether weights are gathered once a step. [candidates]."""
    return _AFTER_STEP[candidates.sharding] & (candidates.dp > 1)


def reduces_every_microbatch(candidates: Candidates) -> BoolArray:
    """Whether gradients are reduced after every microbatch. [candidates]."""
    return _EVERY_MICROBATCH[candidates.sharding] & (candidates.dp > 1)


def shards_gradients(candidates: Candidates) -> BoolArray:
    """Whether gradients are sharded, be it over one replica. [candidates]."""
    return _SHARDED_GRADIENTS[candidates.sharding]
