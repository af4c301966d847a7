"""Generated pages are those of today's sources; the nomenclature knows every key."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel

from docs import console, equations
from docs.generate import ACCURACY, BEGIN, END, GENERATED, headline_of, with_headline
from simulator.report.report import MEMORY_TERMS, TIME_TERMS
from simulator.spec.batch import AutoFitSpec
from simulator.spec.fine_tuning import FineTuningSpec
from simulator.spec.models import ModelInput
from simulator.spec.offload import HomeSpec, OffloadSpec
from simulator.spec.optimizers import OptimizerSpec
from simulator.spec.scenario import (
    ClusterPreset,
    OverlapSpec,
    PlanSpec,
    RecomputeSpec,
    ScenarioSpec,
    StragglerSpec,
    TrainingSpec,
)
from simulator.spec.stacks import StackSpec
from simulator.spec.sweep import SweepSpec

ROOT = Path(__file__).parents[1]
SCHEMAS: list[type[BaseModel]] = [
    ScenarioSpec,
    ModelInput,
    TrainingSpec,
    OptimizerSpec,
    AutoFitSpec,
    FineTuningSpec,
    RecomputeSpec,
    PlanSpec,
    OverlapSpec,
    OffloadSpec,
    HomeSpec,
    ClusterPreset,
    StragglerSpec,
    StackSpec,
    SweepSpec,
]
LINK = re.compile(r"\]\((?!http)([^)#]+)\)")


@pytest.mark.parametrize(("page", "make"), GENERATED.items(), ids=lambda v: getattr(v, "name", ""))
def test_generated_page_is_up_to_date(page: Path, make: Callable[[], str]) -> None:
    same = page.read_text(encoding="utf-8") == make()
    assert same, f"{page.name} is stale: python -m docs.generate"


@pytest.mark.parametrize("schema", SCHEMAS)
def test_nomenclature_knows_every_key(schema: type[BaseModel]) -> None:
    known = nomenclature()
    assert [key for key in schema.model_fields if key not in known] == []


def test_nomenclature_knows_every_term_of_a_report() -> None:
    known = nomenclature()
    assert [term for term in (*TIME_TERMS, *MEMORY_TERMS) if term not in known] == []


def nomenclature() -> set[str]:
    page = (ROOT / "docs" / "nomenclature.md").read_text(encoding="utf-8")
    return set(re.findall(r"`(\w+)`", page))


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_to_files(page: str) -> None:
    targets = LINK.findall((ROOT / page).read_text(encoding="utf-8"))
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_decisions_are_numbered_without_a_gap() -> None:
    names = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("*.md"))
    assert [name[:4] for name in names] == [f"{i:04}" for i in range(1, len(names) + 1)]
    for name in names:
        text = (ROOT / "docs" / "decisions" / name).read_text(encoding="utf-8")
        assert text.startswith(f"# {name[:4]}: ")
        assert [part for part in ("Context", "Choice", "Cost") if f"**{part}.**" not in text] == []


def test_equations_are_read_from_docstrings(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        '"""Costs.\n\nSource: the paper,\nsection 2.\n"""\n\n'
        'RATE = 2.0\n"""A rate. Source: table 1."""\n\n'
        "PLAIN = 3.0\n"
        '"""No origin."""\n\n'
        'def cost_s(x: float) -> float:\n    """Time: a + b.\n\n'
        "    Args:\n        x: size.\n\n"
        '    Source: equation 3,\n        corrected.\n    Assumes: no cache.\n    """\n'
        "    return x\n\n"
        'def _hidden() -> None:\n    """Not public."""\n'
    )
    source, found = equations.equations(module)
    assert source == "the paper, section 2."
    assert [(e.name, e.what, e.source, e.assumes) for e in found] == [
        ("RATE", "A rate.", "table 1.", ""),
        ("cost_s()", "Time: a + b.", "equation 3, corrected.", "no cache."),
    ]


def test_the_readme_shows_the_headline_of_the_accuracy_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = headline_of(readme)
    assert shown == headline_of(ACCURACY.read_text(encoding="utf-8")), "python -m docs.generate"
    assert 4 <= len(shown.splitlines()) <= 12


def test_a_headline_is_replaced_and_nothing_else() -> None:
    page = f"a\n{BEGIN}\nold\n{END}\nb\n"
    new = f"{BEGIN}\nnew\n{END}"
    assert with_headline(page, new) == f"a\n{new}\nb\n"
    assert headline_of(with_headline(page, new)) == new


PAGE = """
```yaml
# mine.yaml
key: value
```

```console
$ trainsim list
first
...
last
$ trainsim check none
error
$ echo $?
2
```
"""


def test_console_blocks_are_parsed() -> None:
    assert console.files(PAGE) == {"mine.yaml": "# mine.yaml\nkey: value\n"}
    assert console.examples(PAGE) == [
        console.Example("trainsim list", ("first", "...", "last"), 0),
        console.Example("trainsim check none", ("error",), 2),
    ]


@pytest.mark.parametrize(
    ("shown", "missing"),
    [
        (("a", "b", "c"), None),
        (("a", "..."), None),
        (("...", "c"), None),
        (("a", "...", "c"), None),
        (("a", "c"), "c"),  # b is left out without a sign
        (("a", "b"), "c"),  # the end is left out without a sign
        (("...", "b", "...", "a"), "a"),  # the order counts
        (("...", "d", "..."), "d"),
    ],
)
def test_shown_lines_must_occur(shown: tuple[str, ...], missing: str | None) -> None:
    assert console.missing_line(shown, ("a", "b", "c")) == missing
