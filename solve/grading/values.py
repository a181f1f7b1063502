"""What closed forms are worth: exactly where they are rational, else to fifty digits.

Nearly all answers that are not plainly equal are plainly different, and arithmetic shows it. A letter stands for a
fixed number of its own, so that expressions which are equal for all values are equal here. Two rational values are
equal or different, exactly. Of others only a clear difference counts, relative to their size, however large or small
they are: whether close values mean the same is for computer algebra to say.
"""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

from .closed_form import Form, Name, Number, Operation, forms
from .exact_values import NoValueError, letter, rational
from .numerals import LONG, Numeral, rounds
from .precise_values import precise

_CLEAR = 1e-4
"""Of floating-point numbers, relative to the larger one or to 1: what differs more needs no closer look."""
_DIGITS = 50
"""Of the closer look."""
_CLOSE = 1e-40
"""Relative: how small the imaginary part of a real number of `_DIGITS` digits is."""
_SAFETY = 10**6
"""How many times its bound an error may be."""
_MANY = 200
"""Digits of the last look, at what computer algebra calls equal."""
_LARGEST = 4096
"""Binary digits before or behind the point: beyond, a value is compared, and never written out."""
_TALLEST = 170
"""Whose factorial is still a float."""
_NAMED = re.compile(r"^(?:[A-Za-z]{1,2}|\\theta|[A-Za-z]\([A-Za-z]\))=(?=[^=]*$)")
_DECIMAL = re.compile(r"-?(?:\d+\.\d+|\.\d+)")


def compare(one: str, other: str) -> bool | None:
    """Whether two tidied answers (`latex.tidy`) are equal: True or False of rational values, False of clearly
    different ones; None where that cannot be told by arithmetic."""
    if ("=" in one) != ("=" in other):
        one, other = _NAMED.sub("", one), _NAMED.sub("", other)
    try:
        return _compared(one, other)
    except RecursionError:
        return None


def _compared(one: str, other: str) -> bool | None:
    a, b = forms(one), forms(other)
    if a is None or b is None:
        return None
    if len(a) == len(b) == 1:
        if _rounds(one, b[0]) or _rounds(other, a[0]):
            return True
        exact = rational(a[0]), rational(b[0])
        if exact[0] is not None and exact[1] is not None:
            return exact[0] == exact[1]
    return None if _within(a, b) and _within(b, a) else False


def differ(one: str, other: str) -> bool:
    """Whether two tidied answers have values, and clearly different ones."""
    return compare(one, other) is False


def _within(some: Sequence[Form], others: Sequence[Form]) -> bool:
    """Whether each value may be one of the others: order and repetition are not judged here."""
    return all(any(_may_equal(x, y) for y in others) for x in some)


def _may_equal(one: Form, other: Form) -> bool:
    a, b = _float(one), _float(other)
    if a is not None and b is not None and abs(a - b) > _CLEAR * max(1.0, abs(a), abs(b)):
        return False
    exact = rational(one), rational(other)
    if exact[0] is not None and exact[1] is not None:
        return exact[0] == exact[1]
    return _are_close(one, other, _DIGITS)


def are_close(one: str, other: str) -> bool:
    """Whether two tidied answers of one value each without letters agree to two hundred digits, or cannot be told apart
    so: computer algebra that compares floating-point numbers calls `\\sqrt{10^{40} + 1}` and 10^20 equal."""
    try:
        a, b = forms(one), forms(other)
        if a is None or b is None or not len(a) == len(b) == 1 or _has_letters(a[0]) or _has_letters(b[0]):
            return True
        return _are_close(a[0], b[0], _MANY)
    except RecursionError:
        return True


def _are_close(one: Form, other: Form, digits: int) -> bool:
    """Whether two values of so many digits are too close to tell, given the bounds of their errors."""
    import mpmath

    first, second = precise(one, digits), precise(other, digits)
    if first is None or second is None:
        return True
    (a, noise), (b, other_noise) = first, second
    if _magnitudes_differ(a, b):
        return False
    with mpmath.workdps(digits + 10):
        return bool(abs(a - b) <= _SAFETY * (noise + other_noise))


def _magnitudes_differ(a: Any, b: Any) -> bool:
    """Whether the logarithms of two values tell them apart, of which one is too large for its digits to."""
    from mpmath import mag

    if not a or not b or max(mag(a), mag(b)) <= _LARGEST:
        return False
    return bool(abs(mag(a) - mag(b)) > max(64, abs(mag(a)) // 10**10, abs(mag(b)) // 10**10))


def _rounds(written: str, form: Form) -> bool:
    """Whether a long decimal is the value of a form, rounded or cut off at its last place."""
    if not _DECIMAL.fullmatch(written) or len(written.lstrip("-0.").replace(".", "")) < LONG:
        return False
    value = rational(form)
    if value is None and (found := _digits(form)) is not None:
        # Digits that do not end: a third is added far behind the last of them.
        value = found + Fraction(1, 3 * 10**_DIGITS)
    return value is not None and rounds(Numeral(Fraction(written), len(written.partition(".")[2])), value)


def _digits(form: Form) -> Fraction | None:
    """A real value to many digits."""
    found = None if _has_letters(form) else precise(form, _DIGITS)
    if found is None or abs(found[0].imag) > _CLOSE * abs(found[0]):
        return None
    from mpmath import mag, nstr

    if found[0].real and abs(mag(found[0].real)) > _LARGEST:
        return None
    return Fraction(nstr(found[0].real, _DIGITS - 10))


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


@lru_cache(maxsize=65536)
def _float(form: Form) -> complex | None:
    """The value as floating-point numbers have it; None where they have none."""
    try:
        found = _floating(form)
    except (NoValueError, ArithmeticError, ValueError):
        return None
    return found if cmath.isfinite(found) else None


def _floating(form: Form) -> complex:
    if isinstance(form, Number):
        return float(form.value)
    if isinstance(form, Name):
        return _CONSTANTS[form.name] if form.name in _CONSTANTS else float(letter(form.name))
    parts = [_floating(part) for part in form.parts]
    return (_FUNCTIONS.get(form.name) or _FLOATING[form.name])(*parts)


def _float_natural(number: complex) -> int:
    if number.imag or not 0 <= number.real <= _TALLEST or number.real % 1:
        raise NoValueError
    return int(number.real)


_FLOATING: dict[str, Callable[..., complex]] = {
    "+": lambda a, b: a + b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "^": lambda a, b: a**b,
    "negative": lambda a: -a,
    "factorial": lambda a: float(math.factorial(_float_natural(a))),
    "root": lambda degree, a: a ** (1 / degree),
    "binomial": lambda a, b: float(math.comb(_float_natural(a), _float_natural(b))),
    "absolute": abs,
}


def real(answer: str) -> Fraction | None:
    """The real number that a tidied answer is, exactly or to many digits; None for letters and all else."""
    try:
        read = forms(answer)
        if read is None or len(read) != 1 or _has_letters(read[0]):
            return None
        exact = rational(read[0])
        return _digits(read[0]) if exact is None else exact
    except RecursionError:
        return None


def _has_letters(form: Form) -> bool:
    if isinstance(form, Operation):
        return any(map(_has_letters, form.parts))
    return isinstance(form, Name) and form.name not in ("\\pi", "e")
