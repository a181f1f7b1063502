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
import zlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

from .closed_form import Call, Form, Name, Number, forms
from .numerals import LONG, Numeral, rounds

_CLEAR = 1e-4
"""Of floating-point numbers, relative to the larger one or to 1: what differs more needs no closer look."""
_DIGITS = 50
"""Of the closer look."""
_CLOSE = 1e-40
"""Relative: how small the imaginary part of a real number of `_DIGITS` digits is."""
_SAFETY = 10**6
"""How many times its bound an error may be."""
_MANY = 1000
"""Digits of the last look, at what computer algebra calls equal."""
_LARGEST = 4096
"""Binary digits before or behind the point: beyond, a value is compared, and never written out."""
_MOST_BITS = 2**20
"""Of an exact value's numerator and denominator."""
_MOST_ROOT_BITS = 2**14
"""Of an exact value of which a root is taken that is not square."""
_HIGHEST = 2**14
"""Bits of an exponent, in the closer look: 3^(2^2007) is still worked out, 9^9^9^9 is not."""
_TALLEST = 170
"""Whose factorial is still a float."""
_NAMED = re.compile(r"^(?:[A-Za-z]{1,2}|\\theta|[A-Za-z]\([A-Za-z]\))=(?=[^=]*$)")
_DECIMAL = re.compile(r"-?(?:\d+\.\d+|\.\d+)")

Value = Fraction | complex | Any
"""The last is mpmath's complex number."""


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
        exact = _rational(a[0]), _rational(b[0])
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
    exact = _rational(one), _rational(other)
    if exact[0] is not None and exact[1] is not None:
        return exact[0] == exact[1]
    return _are_close(one, other, _DIGITS)


def are_close(one: str, other: str) -> bool:
    """Whether two tidied answers of one value each without letters agree to a thousand digits, or cannot be told apart
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

    first, second = _precise(one, digits), _precise(other, digits)
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
    value = _rational(form)
    if value is None and (found := _digits(form)) is not None:
        # Digits that do not end: a third is added far behind the last of them.
        value = found + Fraction(1, 3 * 10**_DIGITS)
    return value is not None and rounds(Numeral(Fraction(written), len(written.partition(".")[2])), value)


def _digits(form: Form) -> Fraction | None:
    """A real value to many digits."""
    found = None if _has_letters(form) else _precise(form, _DIGITS)
    if found is None or abs(found[0].imag) > _CLOSE * abs(found[0]):
        return None
    from mpmath import mag, nstr

    if found[0].real and abs(mag(found[0].real)) > _LARGEST:
        return None
    return Fraction(nstr(found[0].real, _DIGITS - 10))


class _NoValueError(Exception):
    """Not rational, infinite, or too large to be worked out."""


def _rational(form: Form) -> Fraction | None:
    """The exact value; None where there is none, or it is not rational."""
    try:
        return _exactly(form)
    except (_NoValueError, ArithmeticError):
        return None


def _exactly(form: Form) -> Fraction:
    if isinstance(form, Number):
        return form.value
    if isinstance(form, Name):
        raise _NoValueError
    rule = _EXACT.get(form.name)
    if rule is None:
        raise _NoValueError
    return rule(*map(_exactly, form.parts))


def _exact_power(base: Fraction, power: Fraction) -> Fraction:
    if power.denominator != 1:
        root = _exact_root(Fraction(power.denominator), base)
        return _exact_power(root, Fraction(power.numerator))
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if bits > 1 and abs(power) * bits > _MOST_BITS:
        raise _NoValueError
    return Fraction(base ** int(power))


def _exact_root(degree: Fraction, value: Fraction) -> Fraction:
    if degree.denominator != 1 or not 1 <= degree <= 64 or value < 0:
        raise _NoValueError
    found = Fraction(_whole_root(value.numerator, int(degree)), _whole_root(value.denominator, int(degree)))
    if found ** int(degree) != value:
        raise _NoValueError
    return found


def _whole_root(value: int, degree: int) -> int:
    """The whole number whose power is nearest from below, by Newton's method."""
    if value < 2 or degree == 1:
        return value
    if degree == 2:
        return math.isqrt(value)
    if value.bit_length() > _MOST_ROOT_BITS:
        raise _NoValueError
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
        raise _NoValueError
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


def _letter(name: str) -> Fraction:
    return Fraction(5, 4) + Fraction(zlib.crc32(name.encode()) % 9973, 7919)


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
    except (_NoValueError, ArithmeticError, ValueError):
        return None
    return found if cmath.isfinite(found) else None


def _floating(form: Form) -> complex:
    if isinstance(form, Number):
        return float(form.value)
    if isinstance(form, Name):
        return _CONSTANTS[form.name] if form.name in _CONSTANTS else float(_letter(form.name))
    parts = [_floating(part) for part in form.parts]
    return (_FUNCTIONS.get(form.name) or _FLOATING[form.name])(*parts)


def _float_natural(number: complex) -> int:
    if number.imag or not 0 <= number.real <= _TALLEST or number.real % 1:
        raise _NoValueError
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


@lru_cache(maxsize=4096)
def _precise(form: Form, digits: int) -> tuple[Any, Any] | None:
    """The value to so many digits, and a bound of its error; None where there is no value."""
    import mpmath

    with mpmath.workdps(digits + 10):
        try:
            return _precisely(form, mpmath.mpf(10) ** -(digits + 8))
        except (_NoValueError, ArithmeticError, ValueError, mpmath.libmp.NoConvergence):
            return None


def _precisely(form: Form, epsilon: Any) -> tuple[Any, Any]:
    """`epsilon` is the relative error of one operation."""
    import mpmath

    if isinstance(form, Number):
        value = mpmath.mpc(mpmath.mpf(form.value.numerator) / form.value.denominator)
        return value, abs(value) * epsilon
    if isinstance(form, Name):
        value = _precise_name(form.name)
        return value, abs(value) * epsilon
    parts = [_precisely(part, epsilon) for part in form.parts]
    value = _PRECISE[form.name](*(part for part, _ in parts))
    return value, _noise(form.name, value, parts) + abs(value) * epsilon


def _noise(operator: str, value: Any, parts: Sequence[tuple[Any, Any]]) -> Any:
    """What the errors of the parts come to: a sum that cancels out keeps theirs, and is all error."""
    (first, noise), (second, other) = parts[0], parts[-1]
    if operator in ("+", "negative", "absolute"):
        return sum(each for _, each in parts)
    if operator == "*":
        return abs(first) * other + abs(second) * noise
    if operator in _FUNCTIONS:
        return noise * (1 + abs(value) ** 2 + (1 / abs(first) if first else 1))
    relative = sum(each / abs(part) if part else 1 for part, each in parts)
    return abs(value) * relative * (1 + abs(second)) if operator == "^" else abs(value) * relative


def _precise_name(name: str) -> Any:
    import mpmath

    known = {"\\pi": mpmath.pi, "e": mpmath.e, "i": mpmath.mpc(0, 1), "\\infty": mpmath.mpf(10) ** 10**6}
    if name in known:
        return mpmath.mpc(known[name])
    letter = _letter(name)
    return mpmath.mpc(mpmath.mpf(letter.numerator) / letter.denominator)


def _precise_power(base: Any, power: Any) -> Any:
    import mpmath

    if base == 0:
        return mpmath.mpc(0 if power.real > 0 else 1) if power.real >= 0 else 1 / mpmath.mpf(0)
    if abs(power) > 1 and mpmath.mag(power) + mpmath.mag(mpmath.log(base) or 1) > _HIGHEST:
        raise _NoValueError
    return base**power


def _precise_factorial(value: Any) -> Any:
    import mpmath

    if value.imag or value.real < 0 or value.real != mpmath.floor(value.real) or mpmath.mag(value) > 256:
        raise _NoValueError
    return mpmath.exp(mpmath.loggamma(value + 1)) if value.real > 1000 else mpmath.factorial(value)


def _precise_binomial(above: Any, below: Any) -> Any:
    import mpmath

    if any(each.imag or each.real < 0 or mpmath.mag(each) > 64 for each in (above, below)):
        raise _NoValueError
    return mpmath.binomial(above.real, below.real)


def _precise_function(name: str) -> Callable[[Any], Any]:
    def worked_out(value: Any) -> Any:
        import mpmath

        if mpmath.mag(value) > 4096:
            raise _NoValueError
        names = {"\\arcsin": "asin", "\\arccos": "acos", "\\arctan": "atan", "\\ln": "log"}
        return getattr(mpmath, names.get(name, name[1:]))(value)

    return worked_out


_PRECISE: dict[str, Callable[..., Any]] = {
    "+": lambda a, b: a + b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "^": _precise_power,
    "negative": lambda a: -a,
    "factorial": _precise_factorial,
    "root": lambda degree, a: _precise_power(a, 1 / degree),
    "binomial": _precise_binomial,
    "absolute": abs,
    **{name: _precise_function(name) for name in _FUNCTIONS},
}


def real(answer: str) -> Fraction | None:
    """The real number that a tidied answer is, exactly or to many digits; None for letters and all else."""
    try:
        read = forms(answer)
        if read is None or len(read) != 1 or _has_letters(read[0]):
            return None
        exact = _rational(read[0])
        return _digits(read[0]) if exact is None else exact
    except RecursionError:
        return None


def _has_letters(form: Form) -> bool:
    if isinstance(form, Call):
        return any(map(_has_letters, form.parts))
    return isinstance(form, Name) and form.name not in ("\\pi", "e")
