"""Equality of mathematical answers, the cheap ways first: as numbers, by their values, then by computer algebra."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from .closed_form import differ
from .latex import radians, says_more, tidy
from .limits import explosive
from .sympy_pool import EQUIVALENCE, Pair

_FRACTION = re.compile(r"-?\d+(?:/\d+)?")
_DECIMALS = re.compile(r"\.\d{6,}")
_NUMERAL = re.compile(r"(-?\d+)_(?:\{(\d+)\}|(\d+))")
_WORD = re.compile(r"[A-Za-z]{4,}|[a-z]*[A-Z][A-Za-z]{2,}")
_HALF = re.compile(r"(?<=\d)[ap]\.?m\.?$")
"""Of the day."""
_ROUNDED = Fraction(1, 2 * 10**6)
"""`math-verify` rounds to six decimals, so that 0.333333 is a third."""


def equal(pairs: Sequence[Pair]) -> list[bool | None]:
    """Whether the two answers of each pair are equal; None where finding out would take too much, or did. Symmetric.

    Values only tell answers apart; that two expressions are equal is for `math-verify` to say.
    """
    found = [_known(one, other) for one, other in pairs]
    hard = [i for i, same in enumerate(found) if same is None and not any(map(explosive, pairs[i]))]
    asked = [(radians(one), radians(other)) for one, other in (pairs[i] for i in hard)]
    for i, same in zip(hard, EQUIVALENCE(asked), strict=True):
        found[i] = same
    return found


def plainly(pairs: Sequence[Pair]) -> list[bool | None]:
    """The same without computer algebra, at once: what only it could find equal counts as different."""
    return [bool(_known(one, other)) for one, other in pairs]


def _known(one: str, other: str) -> bool | None:
    """What needs no computer algebra: numbers, numerals, words, and answers that are clearly different."""
    if _spaceless(one) == _spaceless(other):
        return True
    a, b = tidy(one), tidy(other)
    if _WORD.fullmatch(a) and _WORD.fullmatch(b):
        return a.lower() == b.lower()
    if (numerals := _numerals(a, b)) is not None:
        return numerals
    if a != b and _hour(a) == _hour(b):
        return not (_HALF.search(a) and _HALF.search(b))  # one says which half of the day; the other need not
    if says_more(one) or says_more(other):
        return False  # `math-verify` would not read what they say
    if "%" in one or "%" in other:
        return None  # a percentage may be meant as a number or as a share
    if _FRACTION.fullmatch(a) and _FRACTION.fullmatch(b):
        rounded = bool(_DECIMALS.search(one)) != bool(_DECIMALS.search(other))
        return rounded and abs(Fraction(a) - Fraction(b)) <= _ROUNDED
    return False if differ(a, b) else None


def _spaceless(answer: str) -> str:
    """Without the spaces that part nothing."""
    return re.sub(r"(?<!\w)\s+|\s+(?!\w)", "", answer.strip())


def _hour(answer: str) -> str:
    """A time without its half of the day."""
    return _HALF.sub("", answer)


def _numerals(one: str, other: str) -> bool | None:
    """Of numerals with a base: equal when they are the same number, or the same digits where one base is left out."""
    a, b = _NUMERAL.fullmatch(one), _NUMERAL.fullmatch(other)
    if a and b:
        return _number(a) == _number(b)
    if (a or b) and _FRACTION.fullmatch(other if a else one):
        return (a[1] if a else one) == (b[1] if b else other)
    return None


def _number(numeral: re.Match[str]) -> int | str:
    base = int(numeral[2] or numeral[3])
    try:
        return int(numeral[1], base)
    except ValueError:
        return numeral[0]
