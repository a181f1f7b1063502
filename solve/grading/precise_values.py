"""What closed forms are worth to many digits, with a bound of the error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from .closed_form import FUNCTIONS, Form, Name, Number
from .exact_values import NoValueError, letter

_HIGHEST = 2**14
"""Bits of an exponent, in the closer look: 3^(2^2007) is still worked out, 9^9^9^9 is not."""


@lru_cache(maxsize=4096)
def precise(form: Form, digits: int) -> tuple[Any, Any] | None:
    """The value to so many digits, and a bound of its error; None where there is no value."""
    import mpmath

    with mpmath.workdps(digits + 10):
        try:
            return _precisely(form, mpmath.mpf(10) ** -(digits + 8))
        except (NoValueError, ArithmeticError, ValueError, mpmath.libmp.NoConvergence):
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
    if operator in FUNCTIONS:
        return noise * (1 + abs(value) ** 2 + (1 / abs(first) if first else 1))
    relative = sum(each / abs(part) if part else 1 for part, each in parts)
    return abs(value) * relative * (1 + abs(second)) if operator == "^" else abs(value) * relative


def _precise_name(name: str) -> Any:
    import mpmath

    known = {"\\pi": mpmath.pi, "e": mpmath.e, "i": mpmath.mpc(0, 1), "\\infty": mpmath.ldexp(1, 3 * 10**6)}
    if name in known:
        return mpmath.mpc(known[name])
    stands_for = letter(name)
    return mpmath.mpc(mpmath.mpf(stands_for.numerator) / stands_for.denominator)


def _precise_power(base: Any, power: Any) -> Any:
    import mpmath

    if base == 0:
        return mpmath.mpc(0 if power.real > 0 else 1) if power.real >= 0 else 1 / mpmath.mpf(0)
    if abs(power) > 1 and mpmath.mag(power) + mpmath.mag(mpmath.log(base) or 1) > _HIGHEST:
        raise NoValueError
    return base**power


def _precise_factorial(value: Any) -> Any:
    import mpmath

    if value.imag or value.real < 0 or value.real != mpmath.floor(value.real) or mpmath.mag(value) > 256:
        raise NoValueError
    return mpmath.exp(mpmath.loggamma(value + 1)) if value.real > 1000 else mpmath.factorial(value)


def _precise_binomial(above: Any, below: Any) -> Any:
    import mpmath

    if any(each.imag or each.real < 0 or mpmath.mag(each) > 64 for each in (above, below)):
        raise NoValueError
    return mpmath.binomial(above.real, below.real)


def _precise_function(name: str) -> Callable[[Any], Any]:
    def worked_out(value: Any) -> Any:
        import mpmath

        if mpmath.mag(value) > 4096:
            raise NoValueError
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
    **{name: _precise_function(name) for name in FUNCTIONS},
}
