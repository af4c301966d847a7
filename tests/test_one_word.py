"""One idea has one word, in YAML, in Python and in what is echoed."""

import ast
from collections import Counter
from pathlib import Path

import simulator
from simulator.spec.load import load_scenario
from simulator.spec.scenario import OverlapSpec
from simulator.workload.links import Links

ROOT = Path(simulator.__file__).parent


def test_overlap_has_one_polarity_and_one_name() -> None:
    """What ``plan.overlap`` calls ``replicas`` the plan and its links call ``overlap_replicas``."""
    scenario = load_scenario("palm-540b-exchange-after-backward")
    assert scenario.plan.overlap_replicas is False
    assert scenario.normalised["plan"]["overlap"]["replicas"] is False
    for axis in OverlapSpec.model_fields:
        assert hasattr(scenario.plan, f"overlap_{axis}")
    assert "overlap_replicas" in Links.__slots__


def test_no_two_schemas_or_facts_share_a_name() -> None:
    """Classes that two modules would export under one name are told apart by what they are."""
    names = Counter(
        node.name
        for folder in (ROOT, ROOT / "spec")
        for path in folder.glob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in names.items() if count > 1] == []
