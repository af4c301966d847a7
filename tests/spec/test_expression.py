"""Expressions mean what Python means by them, and nothing else is let in."""

import operator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import SpecError
from simulator.spec.expression import MAX_CHARACTERS, Value, parse_expression

VALUES: dict[str, Value] = {"plan.tp": 4, "plan.pp": 2, "devices": 64, "plan.sharding": "zero1"}
SIGNS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
    "/": operator.truediv,
}


def value(text: str) -> Value:
    return parse_expression(text).value(VALUES.__getitem__)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("devices // (plan.tp * plan.pp)", 8),  # 64 // (4 * 2)
        ("plan.tp * plan.pp == 8", True),
        ("1 < plan.pp < plan.tp", True),
        ("1 < plan.tp < plan.pp", False),
        ("plan.sharding == 'zero1' and not plan.pp == 1", True),
        ("plan.sharding != 'zero1' or plan.pp > 2", False),
        ("-plan.tp + 0.5", -3.5),
        ("True", True),
    ],
)
def test_values(text: str, expected: Value) -> None:
    assert value(text) == expected
    assert type(value(text)) is type(expected)


def test_names_are_found_once_in_order() -> None:
    expression = parse_expression("plan.pp * plan.tp <= plan.pp * a.b.c")
    assert expression.names == ("plan.pp", "plan.tp", "a.b.c")


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "open('x')",
        "plan.tp ** 9",
        "plan.tp << 9",
        "[1][0]",
        "(lambda: 1)()",
        "'a'.upper",
        "(plan.tp).real.x()",
        "f'{devices}'",
        "x := 1",
        "1 if devices else 2",
        "plan.tp in [1]",
        "b'x'",
        "None",
        "1j",
        "x; y",
        "",
        "(",
        "(" * 250,
        "1\0",
    ],
)
def test_all_else_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        parse_expression(text)


def test_a_long_one_is_refused() -> None:
    text = "+".join(["1"] * (MAX_CHARACTERS // 2 + 1))
    with pytest.raises(SpecError, match="more than 300"):
        parse_expression(text)
    assert value("-" * (MAX_CHARACTERS - 1) + "1") == -1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("devices % (plan.tp - 4)", "divides by zero"),
        ("plan.sharding * 9", "no number"),
        ("plan.sharding < 'b'", "no number"),
        ("(plan.tp == 4) + 1", "no number"),
    ],
)
def test_wrong_operands(text: str, problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        value(text)


@st.composite
def trees(draw: st.DrawFn, depth: int = 3) -> tuple[str, float]:
    """An expression in full brackets, and its value worked out beside it."""
    if depth == 0 or draw(st.booleans()):
        number = draw(st.integers(0, 50))
        return str(number), number
    sign = draw(st.sampled_from(sorted(SIGNS)))
    (left, a), (right, b) = draw(trees(depth - 1)), draw(trees(depth - 1))
    if sign in {"//", "%", "/"} and b == 0:
        sign = "+"
    return f"({left} {sign} {right})", SIGNS[sign](a, b)


@settings(deadline=None)
@given(trees())
def test_arithmetic_is_that_of_python(tree: tuple[str, float]) -> None:
    text, expected = tree
    if len(text) <= MAX_CHARACTERS:
        assert value(text) == expected


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_an_expression_or_an_error_of_the_user(text: str) -> None:
    # Anything but a SpecError fails the test.
    with suppress(SpecError):
        parse_expression(text).value(lambda name: 1)
