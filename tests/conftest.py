"""Hypothesis profiles, and the option that writes the goldens anew."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# No deadline anywhere: two runs of one example differ by caches and by load of the machine.
settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True)
settings.register_profile("nightly", max_examples=5000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "dev"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-goldens", action="store_true", help="write tests/golden/*.json anew")
