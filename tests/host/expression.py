"""Expressions of knobs: C-like arithmetic over other knobs, evaluated at a frame."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

__all__ = ["ExpressionError", "evaluate"]


class ExpressionError(RuntimeError):
    """An expression that cannot be read, or names something that is not there."""


_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>\$?[A-Za-z_][A-Za-z0-9_]*(?:\."
    r"[A-Za-z0-9_]+)*)|(?P<tcl>\[)|(?P<op>\*\*|&&|\|\||==|!=|<=|>=|[-+*/%<>!?:(),]))"
)

_FUNCTIONS: dict[str, Callable[..., float]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "fabs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "sqrt": math.sqrt,
    "int": math.trunc,
    "trunc": math.trunc,
    "rint": lambda x: math.floor(x + 0.5),
    "pow": math.pow,
    "exp": math.exp,
    "log": math.log,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "atan2": math.atan2,
    "fmod": math.fmod,
    "clamp": lambda x, low=0.0, high=1.0: min(max(x, low), high),
    "lerp": lambda a, b, x: a + (b - a) * x,
    "step": lambda edge, x: float(x >= edge),
    "hypot": math.hypot,
    "radians": math.radians,
    "degrees": math.degrees,
}

_LEVELS = (("||",), ("&&",), ("==", "!="), ("<", "<=", ">", ">="), ("+", "-"), ("*", "/", "%"))


def evaluate(text: str, lookup: Callable[[str], float], tcl: Callable[[str], str]) -> float:
    """The value of `text`. lookup: the number behind a dotted name; tcl: the result of an embedded [command].

    Raises ExpressionError.
    """
    parser = _Parser(_tokens(text, tcl), lookup, text)
    value = parser.ternary()
    parser.expect_end()
    return float(value)


def _tokens(text: str, tcl: Callable[[str], str]) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    place = 0
    text = text.rstrip()
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise ExpressionError(f"cannot read {text[place : place + 20]!r} in the expression {text!r}")
        place = found.end()
        kind = str(found.lastgroup)
        if kind == "tcl":
            end = _closing(text, place - 1)
            answer = tcl(text[place - 1 : end])
            try:
                tokens.append(("number", str(float(answer))))
            except ValueError:
                raise ExpressionError(f"{text[place - 1 : end]} gives {answer!r}, which is no number") from None
            place = end
        else:
            tokens.append((kind, found[kind]))
    return tokens


def _closing(text: str, start: int) -> int:
    depth = 0
    for place in range(start, len(text)):
        depth += {"[": 1, "]": -1}.get(text[place], 0)
        if depth == 0:
            return place + 1
    raise ExpressionError(f"a bracket is not closed in the expression {text!r}")


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]], lookup: Callable[[str], float], text: str) -> None:
        self.tokens, self.lookup, self.text, self.place = tokens, lookup, text, 0

    def peek(self) -> str:
        return self.tokens[self.place][1] if self.place < len(self.tokens) else ""

    def take(self) -> tuple[str, str]:
        if self.place >= len(self.tokens):
            raise ExpressionError(f"the expression {self.text!r} ends too early")
        self.place += 1
        return self.tokens[self.place - 1]

    def expect(self, wanted: str) -> None:
        if self.take()[1] != wanted:
            raise ExpressionError(f"{wanted!r} is missing in the expression {self.text!r}")

    def expect_end(self) -> None:
        if self.place < len(self.tokens):
            raise ExpressionError(f"{self.peek()!r} is too much in the expression {self.text!r}")

    def ternary(self) -> float:
        condition = self.binary(0)
        if self.peek() != "?":
            return condition
        self.take()
        yes = self.ternary()
        self.expect(":")
        no = self.ternary()
        return yes if condition else no

    def binary(self, level: int) -> float:
        if level == len(_LEVELS):
            return self.unary()
        value = self.binary(level + 1)
        while self.peek() in _LEVELS[level] and self.tokens[self.place][0] == "op":
            operator = self.take()[1]
            value = self.operate(operator, value, self.binary(level + 1))
        return value

    def operate(self, operator: str, a: float, b: float) -> float:
        if operator in ("/", "%") and b == 0:
            raise ExpressionError(f"division by zero in the expression {self.text!r}")
        table: dict[str, Callable[[], float]] = {
            "||": lambda: float(bool(a) or bool(b)),
            "&&": lambda: float(bool(a) and bool(b)),
            "==": lambda: float(a == b),
            "!=": lambda: float(a != b),
            "<": lambda: float(a < b),
            "<=": lambda: float(a <= b),
            ">": lambda: float(a > b),
            ">=": lambda: float(a >= b),
            "+": lambda: a + b,
            "-": lambda: a - b,
            "*": lambda: a * b,
            "/": lambda: a / b,
            "%": lambda: math.fmod(a, b),
        }
        return table[operator]()

    def unary(self) -> float:
        if self.peek() in ("-", "+", "!"):
            operator = self.take()[1]
            value = self.unary()
            return {"-": -value, "+": value, "!": float(not value)}[operator]
        value = self.atom()
        if self.peek() == "**":
            self.take()
            return float(value ** self.unary())
        return value

    def atom(self) -> float:
        kind, word = self.take()
        if kind == "number":
            return float(word)
        if word == "(":
            value = self.ternary()
            self.expect(")")
            return value
        if kind != "name":
            raise ExpressionError(f"{word!r} cannot stand there in the expression {self.text!r}")
        if self.peek() != "(":
            return math.pi if word == "pi" else self.lookup(word)
        self.take()
        arguments = []
        while self.peek() != ")":
            arguments.append(self.ternary())
            if self.peek() == ",":
                self.take()
        self.expect(")")
        if word not in _FUNCTIONS:
            raise ExpressionError(f"the stand-in knows no function {word} (expression {self.text!r})")
        return float(_FUNCTIONS[word](*arguments))
