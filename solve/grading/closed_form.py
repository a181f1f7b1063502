"""What a closed form is worth: enough arithmetic to see that two answers differ, without computer algebra.

Nearly all answers that are not plainly equal are plainly different, and a floating-point number or two show it. A
letter stands for a fixed number of its own, so that expressions which are equal for all values are equal here. Only a
clear difference counts: whether close values mean the same is for computer algebra to say. Nothing is evaluated but
this:

    answer   = [name "="] row | matrix
    row      = sum (("," | ";") sum)*, bare or in brackets; one "±" makes two rows of it
    sum      = ["+" | "-"] product (("+" | "-") product)*
    product  = power ((dot | times | "/" | nothing) power)*
    power    = atom "!"* ["^" group]
    atom     = number | letter | "(" sum ")" | "|" sum "|" | fraction | root | binomial | function power
"""

from __future__ import annotations

import cmath
import math
import re
import zlib
from collections.abc import Callable
from functools import lru_cache

Values = tuple[complex, ...]
"""One, or those of a tuple, list, set or interval in their order."""

_CLEAR = 1e-4
"""Relative and absolute. `math-verify` rounds to six decimals, so that 0.333333 is a third; this stays well away."""
_TALLEST = 170
"""Whose factorial is still a float."""
_TOKEN = re.compile(r"\d+(?:\.\d+)?|\.\d+|\\[A-Za-z]+|\\.|\S")
_NAMED = re.compile(r"^(?:[A-Za-z]{1,2}|\\theta|[A-Za-z]\([A-Za-z]\))=(?=[^=]*$)")
_MATRIX = re.compile(r"\\begin\{[pb]matrix\}(.*?)(?:\\\\)?\\end\{[pb]matrix\}")
_GREEK = frozenset(
    rf"\{name}"
    for name in (
        *("alpha", "beta", "gamma", "delta", "epsilon", "theta", "lambda", "mu", "nu"),
        *("rho", "sigma", "tau", "phi", "varphi", "omega", "psi", "ell"),
    )
)
_CLOSING = {"(": ")", "{": "}", "|": "|"}
_CONSTANTS: dict[str, complex] = {"\\pi": math.pi, "e": math.e, "i": 1j, "\\infty": 1e300}
_FUNCTIONS: dict[str, Callable[[complex], complex]] = {
    "\\sin": cmath.sin,
    "\\cos": cmath.cos,
    "\\tan": cmath.tan,
    "\\sec": lambda x: 1 / cmath.cos(x),
    "\\csc": lambda x: 1 / cmath.sin(x),
    "\\cot": lambda x: 1 / cmath.tan(x),
    "\\arcsin": cmath.asin,
    "\\arccos": cmath.acos,
    "\\arctan": cmath.atan,
    "\\ln": cmath.log,
}


def differ(one: str, other: str) -> bool:
    """Whether two tidied answers (`latex.tidy`) have values, and clearly different ones."""
    if ("=" in one) != ("=" in other):
        one, other = _NAMED.sub("", one), _NAMED.sub("", other)
    a, b = values(one), values(other)
    return a is not None and b is not None and not (_within(a, b) and _within(b, a))


def _within(some: Values, others: Values) -> bool:
    """Whether each value is close to one of the others: order and repetition are not judged here."""
    return all(any(abs(x - y) <= _CLEAR * max(1.0, abs(x), abs(y)) for y in others) for x in some)


@lru_cache(maxsize=65536)
def values(answer: str) -> Values | None:
    """The values in a tidied answer; None for one outside the grammar, and for one that has no finite value."""
    try:
        return tuple(_Reader(part).whole() for part in _parts(answer))
    except (_UnknownError, ArithmeticError, ValueError):
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


class _UnknownError(Exception):
    """Something that is not in the grammar."""


class _Reader:
    """Recursive descent over one closed form; what is deep was refused before (`limits`)."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = _TOKEN.findall(text)
        self._at = 0

    def whole(self) -> complex:
        found = self.sum()
        if self._next() or not cmath.isfinite(found):
            raise _UnknownError
        return found

    def sum(self) -> complex:
        total = self._signed(self._product)
        while operator := self.take("+", "-"):
            total += self._product() if operator == "+" else -self._product()
        return total

    def group(self) -> complex:
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

    def _signed(self, read: Callable[[], complex]) -> complex:
        return -read() if self.take("+", "-") == "-" else read()

    def _product(self) -> complex:
        total = self._power()
        while True:
            if self.take("\\cdot", "\\times", "*"):
                total *= self._signed(self._power)
            elif self.take("/", "\\div"):
                total /= self._signed(self._power)
            elif self._starts_atom():
                total *= self._power()
            else:
                return total

    def _starts_atom(self) -> bool:
        """Whether a product goes on without a sign. Two numbers on end are none."""
        token = self._next()
        return token in ("(", "{", "|") or token in _FORMS or token in _FUNCTIONS or _is_name(token)

    def _power(self) -> complex:
        base = self._atom()
        while self.take("!"):
            base = float(math.factorial(_natural(base)))
        return base ** self.group() if self.take("^") else base

    def _atom(self) -> complex:
        token = self._next()
        self._at += 1
        if token[:1].isdigit() or token[:1] == ".":
            return self._mixed(float(token))
        if token in _CLOSING:
            found = self.sum()
            self.must(_CLOSING[token])
            return abs(found) if token == "|" else found
        if token in _FORMS:
            return _FORMS[token](self)
        if token in _FUNCTIONS:
            return self._function(_FUNCTIONS[token])
        if token in _CONSTANTS:
            return _CONSTANTS[token]
        if _is_name(token):
            return 1.25 + zlib.crc32(token.encode()) % 9973 / 7919
        raise _UnknownError

    def _mixed(self, whole: float) -> complex:
        r"""`2\frac{1}{2}` is two and a half, `2\frac{x}{2}` a product."""
        rest = self._tokens[self._at : self._at + 7]
        if whole % 1 == 0 and rest[:2] == ["\\frac", "{"] and rest[3:5] == ["}", "{"] and rest[6:] == ["}"]:
            above, below = rest[2], rest[5]
            if above.isdigit() and below.isdigit() and int(above) < int(below):
                self._at += 7
                return whole + int(above) / int(below)
        return whole

    def _function(self, function: Callable[[complex], complex]) -> complex:
        power = self.group() if self.take("^") else 1.0
        if power == -1:
            raise _UnknownError  # the inverse function, not the reciprocal
        argument = self._power()
        while self._starts_atom() and self._next() not in ("(", *_FUNCTIONS):
            argument *= self._power()
        return function(argument) ** power


def _is_name(token: str) -> bool:
    return token in _CONSTANTS or token in _GREEK or (len(token) == 1 and token.isascii() and token.isalpha())


def _fraction(reader: _Reader) -> complex:
    above = reader.group()
    return above / reader.group()


def _root(reader: _Reader) -> complex:
    degree: complex = 2
    if reader.take("["):
        degree = reader.sum()
        reader.must("]")
    return reader.group() ** (1 / degree)


def _binomial(reader: _Reader) -> complex:
    above = _natural(reader.group())
    return float(math.comb(above, _natural(reader.group())))


_FORMS: dict[str, Callable[[_Reader], complex]] = {"\\frac": _fraction, "\\sqrt": _root, "\\binom": _binomial}


def _natural(number: complex) -> int:
    if number.imag or not 0 <= number.real <= _TALLEST or number.real % 1:
        raise _UnknownError
    return int(number.real)
