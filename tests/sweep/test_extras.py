from __future__ import annotations

from importlib import import_module

import pytest

from simulator.errors import SpecError
from simulator.sweep.extras import needs


def test_a_missing_package_is_named_with_its_extra() -> None:
    with (
        pytest.raises(SpecError, match="rows of Parquet needs the package 'no_such_package'") as e,
        needs("sweep", "rows of Parquet"),
    ):
        import_module("no_such_package")
    assert e.value.hint == "pip install 'trainsim[sweep]'"


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), needs("sweep", "rows"):
        raise KeyError
