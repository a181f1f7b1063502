"""What closed forms are worth, exactly, where they are rational."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from fractions import Fraction

from .closed_form import Form, Name, Number

_MOST_BITS = 2**20
"""Of an exact value's numerator and denominator."""
_MOST_ROOT_BITS = 2**14
"""Of an exact value of which a root is taken that is not square."""


class NoValueError(Exception):
    """Not rational, infinite, or too large to be worked out."""


def rational(form: Form) -> Fraction | None:
    """The exact value; None where there is none, or it is not rational."""
    try:
        return _exactly(form)
    except (NoValueError, ArithmeticError):
        return None


def _exactly(form: Form) -> Fraction:
    if isinstance(form, Number):
        return form.value
    if isinstance(form, Name):
        raise NoValueError
    rule = _EXACT.get(form.name)
    if rule is None:
        raise NoValueError
    return rule(*map(_exactly, form.parts))


def _exact_power(base: Fraction, power: Fraction) -> Fraction:
    if power.denominator != 1:
        root = _exact_root(Fraction(power.denominator), base)
        return _exact_power(root, Fraction(power.numerator))
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if bits > 1 and abs(power) * bits > _MOST_BITS:
        raise NoValueError
    return Fraction(base ** int(power))


def _exact_root(degree: Fraction, value: Fraction) -> Fraction:
    if degree.denominator != 1 or not 1 <= degree <= 64 or value < 0:
        raise NoValueError
    found = Fraction(_whole_root(value.numerator, int(degree)), _whole_root(value.denominator, int(degree)))
    if found ** int(degree) != value:
        raise NoValueError
    return found


def _whole_root(value: int, degree: int) -> int:
    """The whole number whose power is nearest from below, by Newton's method."""
    if value < 2 or degree == 1:
        return value
    if degree == 2:
        return math.isqrt(value)
    if value.bit_length() > _MOST_ROOT_BITS:
        raise NoValueError
    root = 1 << -(-value.bit_length() // degree)
    while (nearer := ((degree - 1) * root + value // root ** (degree - 1)) // degree) < root:
        root = nearer
    return root


def _exact_factorial(value: Fraction) -> Fraction:
    return Fraction(math.factorial(_natural(value, 10_000)))


def _exact_binomial(above: Fraction, below: Fraction) -> Fraction:
    return Fraction(math.comb(_natural(above, 10_000), _natural(below, 10_000)))


def _natural(value: Fraction, most: int) -> int:
    if value.denominator != 1 or not 0 <= value <= most:
        raise NoValueError
    return int(value)


_EXACT: dict[str, Callable[..., Fraction]] = {
    "+": lambda a, b: a + b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "^": _exact_power,
    "negative": lambda a: -a,
    "factorial": _exact_factorial,
    "root": _exact_root,
    "binomial": _exact_binomial,
    "absolute": abs,
}


def letter(name: str) -> Fraction:
    return Fraction(5, 4) + Fraction(zlib.crc32(name.encode()) % 9973, 7919)
