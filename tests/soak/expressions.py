"""DynamoDB's condition expressions, as far as items with single attributes go (Developer Guide, "Condition and filter
expressions"): comparisons, AND, OR, NOT, parentheses, attribute_exists, attribute_not_exists, begins_with, names and
values by placeholder. A test compares it with moto's."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

Item = Mapping[str, Mapping[str, Any]]
Condition = Callable[[Item, Mapping[str, Mapping[str, Any]]], bool]

_TOKEN = re.compile(r"\s*(<>|<=|>=|[=<>(),]|[:#]?\w+)")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class InvalidExpression(ValueError):
    """DynamoDB would answer ValidationException."""


def holds(
    expression: str, item: Item, values: Mapping[str, Mapping[str, Any]], names: Mapping[str, str] | None = None
) -> bool:
    """Whether ``item`` (empty if there is none) satisfies the condition.

    Raises:
        InvalidExpression: it does not parse, or a placeholder is undefined or unused.
    """
    used = set(re.findall(r"[:#]\w+", expression))
    if used != {*values, *(names or {})}:
        raise InvalidExpression(f"placeholders {sorted(used ^ {*values, *(names or {})})} in {expression!r}")
    return _parse(expression, tuple(sorted((names or {}).items())))(item, values)


@lru_cache(maxsize=256)
def _parse(expression: str, names: tuple[tuple[str, str], ...]) -> Condition:
    tokens = _TOKEN.findall(expression)
    if "".join(tokens) != re.sub(r"\s", "", expression):
        raise InvalidExpression(expression)
    parser = _Parser(tokens, dict(names), expression)
    return parser.whole()


class _Parser:
    def __init__(self, tokens: list[str], names: Mapping[str, str], expression: str) -> None:
        self._tokens = [*tokens, ""]
        self._at = 0
        self._names = names
        self._expression = expression

    def _next(self) -> str:
        token = self._tokens[self._at]
        if not token:
            raise InvalidExpression(f"{self._expression!r} ends too early")
        self._at += 1
        return token

    def _is(self, *words: str) -> bool:
        return self._tokens[self._at].upper() in words

    def _expect(self, token: str) -> None:
        if self._next() != token:
            raise InvalidExpression(f"{token!r} expected in {self._expression!r}")

    def whole(self) -> Condition:
        condition = self._any()
        if self._tokens[self._at]:
            raise InvalidExpression(f"{self._tokens[self._at]!r} is too much in {self._expression!r}")
        return condition

    def _any(self) -> Condition:
        left = self._both()
        while self._is("OR"):
            self._next()
            left = _either(left, self._both())
        return left

    def _both(self) -> Condition:
        left = self._one()
        while self._is("AND"):
            self._next()
            left = _both(left, self._one())
        return left

    def _one(self) -> Condition:
        if self._is("NOT"):
            self._next()
            inner = self._one()
            return lambda item, values: not inner(item, values)
        if self._is("("):
            self._next()
            inner = self._any()
            self._expect(")")
            return inner
        if self._is("ATTRIBUTE_EXISTS", "ATTRIBUTE_NOT_EXISTS"):
            wanted = self._next().lower() == "attribute_exists"
            self._expect("(")
            name = self._name()
            self._expect(")")
            return lambda item, values: (name in item) is wanted
        if self._is("BEGINS_WITH"):
            self._next()
            self._expect("(")
            text = self._operand()
            self._expect(",")
            start = self._operand()
            self._expect(")")
            return lambda item, values: _begins(text(item, values), start(item, values))
        left = self._operand()
        compare = _COMPARE.get(self._next())
        if compare is None:
            raise InvalidExpression(self._expression)
        right = self._operand()
        return lambda item, values: _compared(compare, left(item, values), right(item, values))

    def _name(self) -> str:
        token = self._next()
        return self._names[token] if token.startswith("#") else token

    def _operand(self) -> Callable[[Item, Mapping[str, Any]], Any]:
        if self._tokens[self._at].startswith(":"):
            placeholder = self._next()
            return lambda item, values: values[placeholder]
        name = self._name()
        return lambda item, values: item.get(name)


def _either(left: Condition, right: Condition) -> Condition:
    return lambda item, values: left(item, values) or right(item, values)


def _both(left: Condition, right: Condition) -> Condition:
    return lambda item, values: left(item, values) and right(item, values)


def _compared(compare: Callable[[Any, Any], bool], left: Any, right: Any) -> bool:
    if compare in (operator.eq, operator.ne):
        # An attribute that is not there differs from everything.
        return compare(left, right)
    if left is None or right is None:
        return False
    ((left_type, left_value),), ((right_type, right_value),) = left.items(), right.items()
    if left_type != right_type or left_type not in ("S", "N"):
        return False
    return compare(float(left_value), float(right_value)) if left_type == "N" else compare(left_value, right_value)


def _begins(text: Any, start: Any) -> bool:
    return text is not None and "S" in text and "S" in start and text["S"].startswith(start["S"])
