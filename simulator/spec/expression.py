"""Constraints and derived values of a sweep: arithmetic over names, parsed, never evaluated.

``plan.tp * plan.pp <= 64 and plan.sharding != 'ddp'``: numbers, words in quotes, names with dots,
``+ - * / // %``, comparisons, ``and``, ``or``, ``not`` and brackets. Nothing else is Python here:
no calls, no indices, no powers.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from simulator.errors import SpecError, as_written

Value: TypeAlias = int | float | str | bool | None
Lookup: TypeAlias = Callable[[str], Value]

MAX_CHARACTERS: Final = 300
"""Longest expression; also bounds how deep one can nest."""
_GRAMMAR: Final = (
    "write names such as plan.tp, numbers, quoted words, "
    "+ - * / // %, == != < <= > >=, and, or, not"
)

_ARITHMETIC: Final[Mapping[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
}
_EQUALITY: Final[Mapping[type[ast.cmpop], Callable[[Value, Value], bool]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ORDER: Final[Mapping[type[ast.cmpop], Callable[[float, float], bool]]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression.

    Attributes:
        text: as it was written.
        names: every name in it, in order, once.
        tree: its syntax, of allowed nodes only.
    """

    text: str
    names: tuple[str, ...]
    tree: ast.expr

    def value(self, lookup: Lookup) -> Value:
        """What it comes to.

        Args:
            lookup: the value of a name.

        Raises:
            SpecError: if an operand is of the wrong kind or a divisor is zero.
        """
        try:
            return _value(self.tree, lookup)
        except ZeroDivisionError:
            raise SpecError(f"'{self.text}' divides by zero") from None
        except _WrongOperandError as error:
            raise SpecError(
                f"'{self.text}' calculates with {as_written(error.value)}, which is no number",
                hint="compare words with == and != only",
            ) from None


class _WrongOperandError(Exception):
    """A word, a truth value or nothing where a number is needed."""

    def __init__(self, value: Value) -> None:
        self.value = value
        super().__init__(str(value))


def parse_expression(text: str) -> Expression:
    """The expression that a text stands for.

    Raises:
        SpecError: if it is too long or holds anything but the allowed syntax.
    """
    if len(text) > MAX_CHARACTERS:
        raise SpecError(
            f"an expression of {len(text)} characters, more than {MAX_CHARACTERS}",
            hint="split it into several constraints: all of them must hold",
        )
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise SpecError(f"'{text}' is not an expression", hint=_GRAMMAR) from None
    names: dict[str, None] = {}
    _check(tree, text, names)
    return Expression(text, tuple(names), tree)


def _check(node: ast.expr, text: str, names: dict[str, None]) -> None:
    """Refuses every node that is not on the list, and collects the names."""
    match node:
        case ast.Name() | ast.Attribute():
            names[_dotted(node, text)] = None
        case ast.Constant(value=int() | float() | str() | bool()):
            pass
        case ast.BinOp(op=op) if type(op) in _ARITHMETIC:
            _check(node.left, text, names)
            _check(node.right, text, names)
        case ast.UnaryOp(op=ast.USub() | ast.Not()):
            _check(node.operand, text, names)
        case ast.BoolOp():
            for part in node.values:
                _check(part, text, names)
        case ast.Compare() if all(type(op) in {*_EQUALITY, *_ORDER} for op in node.ops):
            for part in (node.left, *node.comparators):
                _check(part, text, names)
        case _:
            part = ast.get_source_segment(text.strip(), node) or type(node).__name__
            raise SpecError(f"'{part}' is not allowed in '{text}'", hint=_GRAMMAR)


def _dotted(node: ast.expr, text: str) -> str:
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return f"{_dotted(node.value, text)}.{node.attr}"
        case _:
            raise SpecError(f"'{text}' takes an attribute of a value", hint=_GRAMMAR)


def _value(node: ast.expr, lookup: Lookup) -> Value:
    match node:
        case ast.Name() | ast.Attribute():
            return lookup(_dotted(node, ""))
        case ast.Constant(value=int() | float() | str() | bool() as constant):
            return constant
        case ast.BinOp():
            left, right = _value(node.left, lookup), _value(node.right, lookup)
            return _ARITHMETIC[type(node.op)](_number(left), _number(right))
        case ast.UnaryOp(op=ast.USub()):
            return -_number(_value(node.operand, lookup))
        case ast.UnaryOp():
            return not _value(node.operand, lookup)
        case ast.BoolOp(op=ast.And()):
            return all(_value(part, lookup) for part in node.values)
        case ast.BoolOp():
            return any(_value(part, lookup) for part in node.values)
        case ast.Compare():
            return _compared(node, lookup)
        case _:
            raise AssertionError(ast.dump(node))


def _compared(node: ast.Compare, lookup: Lookup) -> bool:
    """Chains as Python does: ``1 < plan.tp <= 8`` is ``1 < plan.tp and plan.tp <= 8``."""
    left = _value(node.left, lookup)
    for op, comparator in zip(node.ops, node.comparators, strict=True):
        right = _value(comparator, lookup)
        if type(op) in _EQUALITY:
            holds = _EQUALITY[type(op)](left, right)
        else:
            holds = _ORDER[type(op)](_number(left), _number(right))
        if not holds:
            return False
        left = right
    return True


def _number(value: Value) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _WrongOperandError(value)
    return value
