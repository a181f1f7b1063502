"""Reading closed forms: the grammar of answers that can be worked out without computer algebra.

answer   = [name "="] row | matrix
row      = sum (("," | ";") sum)*, bare or in brackets; one "±" makes two rows of it
sum      = ["+" | "-"] product (("+" | "-") product)*
product  = power ((dot | times | "/" | nothing) power)*
power    = atom "!"* ["^" group]
atom     = number | letter | "(" sum ")" | "|" sum "|" | fraction | root | binomial | function power
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

Operator = Literal["+", "*", "/", "^", "negative", "factorial", "root", "binomial", "absolute"]


@dataclass(frozen=True)
class Number:
    """A numeral."""

    value: Fraction


@dataclass(frozen=True)
class Name:
    """A letter, which stands for something, or a constant."""

    name: str


@dataclass(frozen=True)
class Operation:
    """An operator, or a function of its name, of one or two parts."""

    name: str
    parts: tuple[Form, ...]


Form = Number | Name | Operation
"""A closed form that has been read."""

_TOKEN = re.compile(r"\d+(?:\.\d+)?|\.\d+|\\[A-Za-z]+|\\.|\S")
_MATRIX = re.compile(r"\\begin\{[pb]matrix\}(.*?)(?:\\\\)?\\end\{[pb]matrix\}")
_GREEK = frozenset(
    rf"\{name}"
    for name in (
        *("alpha", "beta", "gamma", "delta", "epsilon", "theta", "lambda", "mu", "nu"),
        *("rho", "sigma", "tau", "phi", "varphi", "omega", "psi", "ell"),
    )
)
_CLOSING = {"(": ")", "{": "}", "|": "|"}
CONSTANTS = frozenset({"\\pi", "e", "i", "\\infty"})
FUNCTIONS = frozenset(
    ("\\sin", "\\cos", "\\tan", "\\sec", "\\csc", "\\cot", "\\arcsin", "\\arccos", "\\arctan", "\\ln")
)


@lru_cache(maxsize=65536)
def forms(answer: str) -> tuple[Form, ...] | None:
    """One form, or those of a tuple, list, set or interval in their order; None for an answer outside the grammar."""
    try:
        return tuple(_Reader(part).whole() for part in _parts(answer))
    except (_UnknownError, ValueError, RecursionError):
        return None


def _parts(answer: str) -> list[str]:
    if answer.count("\\pm") == 1:
        return [part for sign in "+-" for part in _parts(answer.replace("\\pm", sign))]
    if matrix := _MATRIX.fullmatch(answer):
        return matrix[1].replace("\\\\", "&").split("&")
    if answer[:1] in ("(", "[") and answer[-1:] in (")", "]") and _is_one_bracket(answer):
        answer = answer[1:-1]
    elif answer.startswith("\\{") and answer.endswith("\\}"):
        answer = answer[2:-2]
    return re.split(r"[,;]", answer)


def _is_one_bracket(answer: str) -> bool:
    """Whether the last bracket closes the first."""
    depth = 0
    for character in answer[:-1]:
        depth += (character in "([") - (character in ")]")
        if depth == 0:
            return False
    return True


@lru_cache(maxsize=4096)
def _fraction_of(numeral: str) -> Fraction:
    return Fraction(numeral)


class _UnknownError(Exception):
    """Something that is not in the grammar."""


class _Reader:
    """Recursive descent over one closed form; what is deep was refused before (`limits`)."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = _TOKEN.findall(text)
        self._at = 0

    def whole(self) -> Form:
        found = self.sum()
        if self._next():
            raise _UnknownError
        return found

    def sum(self) -> Form:
        total = self._signed(self._product)
        while operator := self.take("+", "-"):
            term = self._product()
            total = Operation("+", (total, term if operator == "+" else Operation("negative", (term,))))
        return total

    def group(self) -> Form:
        """What a command takes: a group in braces, or the one next character."""
        if self.take("{"):
            found = self.sum()
            self.must("}")
            return found
        if self._next()[:-1].isdigit():
            # TeX takes one digit and leaves the others; who writes 2^10 means something else.
            raise _UnknownError
        return self._signed(self._atom)

    def take(self, *wanted: str) -> str:
        """The next token, when it is one of these; else empty."""
        token = self._next()
        if token not in wanted:
            return ""
        self._at += 1
        return token

    def must(self, wanted: str) -> None:
        if not self.take(wanted):
            raise _UnknownError

    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _signed(self, read: Callable[[], Form]) -> Form:
        return Operation("negative", (read(),)) if self.take("+", "-") == "-" else read()

    def _product(self) -> Form:
        total = self._power()
        while True:
            if self.take("\\cdot", "\\times", "*"):
                total = Operation("*", (total, self._signed(self._power)))
            elif self.take("/", "\\div"):
                total = Operation("/", (total, self._signed(self._power)))
            elif self._starts_atom():
                total = Operation("*", (total, self._power()))
            else:
                return total

    def _starts_atom(self) -> bool:
        """Whether a product goes on without a sign. Two numbers on end are none."""
        token = self._next()
        return token in ("(", "{", "|") or token in _FORMS or token in FUNCTIONS or _is_name(token)

    def _power(self) -> Form:
        base = self._atom()
        while self.take("!"):
            base = Operation("factorial", (base,))
        return Operation("^", (base, self.group())) if self.take("^") else base

    def _atom(self) -> Form:
        token = self._next()
        self._at += 1
        if token[-1:].isdigit():
            return self._mixed(_fraction_of(token))
        if token in _CLOSING:
            found = self.sum()
            self.must(_CLOSING[token])
            return Operation("absolute", (found,)) if token == "|" else found
        if token in _FORMS:
            return _FORMS[token](self)
        if token in FUNCTIONS:
            return self._function(token)
        if _is_name(token):
            return Name(token)
        raise _UnknownError

    def _mixed(self, whole: Fraction) -> Form:
        r"""`2\frac{1}{2}` is two and a half, `2\frac{x}{2}` a product."""
        rest = self._tokens[self._at : self._at + 7]
        if whole.denominator == 1 and rest[:2] == ["\\frac", "{"] and rest[3:5] == ["}", "{"] and rest[6:] == ["}"]:
            above, below = rest[2], rest[5]
            if above.isdigit() and below.isdigit() and int(above) < int(below):
                self._at += 7
                return Number(whole + Fraction(int(above), int(below)))
        return Number(whole)

    def _function(self, name: str) -> Form:
        power = self.group() if self.take("^") else None
        if power == Operation("negative", (Number(Fraction(1)),)):
            raise _UnknownError  # the inverse function, not the reciprocal
        argument = self._power()
        while self._starts_atom() and self._next() not in ("(", *FUNCTIONS):
            argument = Operation("*", (argument, self._power()))
        called = Operation(name, (argument,))
        return called if power is None else Operation("^", (called, power))


def _is_name(token: str) -> bool:
    return token in CONSTANTS or token in _GREEK or (len(token) == 1 and token.isascii() and token.isalpha())


def _fraction(reader: _Reader) -> Form:
    above = reader.group()
    return Operation("/", (above, reader.group()))


def _root(reader: _Reader) -> Form:
    degree: Form = Number(Fraction(2))
    if reader.take("["):
        degree = reader.sum()
        reader.must("]")
    return Operation("root", (degree, reader.group()))


def _binomial(reader: _Reader) -> Form:
    above = reader.group()
    return Operation("binomial", (above, reader.group()))


_FORMS: dict[str, Callable[[_Reader], Form]] = {"\\frac": _fraction, "\\sqrt": _root, "\\binom": _binomial}
