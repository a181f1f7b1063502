"""Numerals with a base: `101_2`, `(101)_{two}`, `101 base 2`, `0b101`."""

from __future__ import annotations

import re
from fractions import Fraction

from .numbers import number

_NAMES = (
    *("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen"),
)
_WORDS = dict(zip(_NAMES, range(2, 17), strict=True))
_BASE = r"(?:\\(?:text|mathrm|mbox)\s*\{\s*)?\(?(\d{1,2}|" + "|".join(_WORDS) + r")\)?\s*\}?"
_DIGITS = r"(-?)\(?\s*(?:\\(?:text|mathrm|mbox)\s*\{)?\s*([0-9A-Za-z]+)\s*\}?\s*\)?"
_SAID = rf"\(?\s*(?:\\(?:text|mbox)\s*\{{)?\s*(?:in\s+)?base[\s-]*\}}?\s*{_BASE}\s*\)?"
_NUMERAL = re.compile(rf"{_DIGITS}\s*(?:_\s*\{{?\s*{_BASE}\s*\}}?|{_SAID})", re.IGNORECASE)
_MAYBE = re.compile(r"_|base|0[xXbBoO]", re.IGNORECASE)
_PREFIXED = re.compile(r"-?0[xXbBoO][0-9A-Fa-f]+")


def same(one: str, other: str) -> bool | None:
    """Whether two answers are one number, where at least one has a base; None where neither has.

    Where one base is left out, the digits may be those, or the number may be meant in base ten.
    """
    if not _MAYBE.search(one) and not _MAYBE.search(other):
        return None
    a, b = _read(one), _read(other)
    if a is None and b is None:
        return None
    if a is not None and b is not None:
        return a[0] == b[0]
    digits, value = (one, b) if a is None else (other, a)
    assert value is not None
    plain = number(digits)
    if plain is None:
        return re.sub(r"\s", "", digits).lower() == value[1]
    return plain == value[0] or (plain.denominator == 1 and str(plain) == value[1])


def _read(answer: str) -> tuple[Fraction, str] | None:
    """The value, and the digits in lower case."""
    text = re.sub(r"\\[,;:! ]|\$", "", answer.strip()).rstrip(".")
    if _PREFIXED.fullmatch(text):
        try:
            return Fraction(int(text, 0)), text.lower()
        except ValueError:
            return None
    found = _NUMERAL.fullmatch(text)
    if found is None:
        return None
    said = found[3] or found[4]
    base = _WORDS.get(said.lower()) or int(said)
    if not re.search(r"\d", found[2]) and not (base > 10 and found[2].isupper()):
        return None  # a name with an index
    try:
        return Fraction(int(found[1] + found[2], base)), (found[1] + found[2]).lower()
    except ValueError:
        return None
