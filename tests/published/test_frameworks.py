from __future__ import annotations

import pytest

from simulator.published.corrections import corrected
from simulator.published.frameworks import DOCUMENTED, Documented
from simulator.published.rows import PublishedRow, read_rows
from simulator.published.validate import published_paths
from simulator.spec.models import ModelSpec
from simulator.spec.stacks import StackSpec


@pytest.fixture(scope="module")
def rows() -> list[PublishedRow]:
    return [corrected(row)[0] for path in published_paths() for row in read_rows(path)]


@pytest.mark.parametrize("rule", DOCUMENTED, ids=lambda rule: rule.framework)
def test_every_rule_is_of_a_published_framework_and_sets_known_keys(
    rule: Documented, rows: list[PublishedRow]
) -> None:
    assert any(rule.matches(row) for row in rows)
    assert rule.stack or rule.model
    assert set(rule.stack) <= set(StackSpec.model_fields)
    assert set(rule.model) <= set(ModelSpec.model_fields)
