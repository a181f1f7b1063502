"""Numerals as people, programs and LaTeX write them, as exact values.

    numeral = ["-" | "+"] (mixed | fraction | decimal [power of ten]) | power of ten | numeral with its base

Thousands may be grouped by commas, points, spaces, apostrophes or underscores, in threes or as in India; a decimal may
repeat for ever, by a line, dots or brackets over its period, or an ellipsis behind it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

LONG = 6
"""So many significant digits, and a decimal may stand for the value that it rounds: 0.333333 for a third."""
_HIGHEST = 4_000
"""Digits of a power that is still worked out; Python writes no longer ones out."""

_GROUPED = r"""(?:
    \d{1,3}(?:,\d{3})+(?:\.\d+)? | \d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?
  | \d{1,3}(?:\.\d{3}){2,}(?:,\d+)? | \d{1,3}(?:\.\d{3})+,\d+
  | \d{1,3}(?:[ ]\d{3})+(?:[.,]\d+)? | \d{1,3}(?:'\d{3})+(?:\.\d+)? | \d{1,3}(?:_\d{3})+(?:\.\d+)?
)(?![\d_'] | [,.]\d)"""
_ELLIPSIS = r"(?:\.\.\.+|\\[lc]?dots\b)"
_REPEATING = rf"""(?:
    \d*\.\d*\\(?:overline|bar)\s*(?:\{{\d+\}}|\d) | \d*\.\d*\(\d+\)
  | \d*\.\d*\\dot\s*\{{?\d\}}?(?:\d*\\dot\s*\{{?\d\}}?)?
  | \d*\.\d+\s*{_ELLIPSIS}
)"""
_DECIMAL = r"(?:\d++(?:\.(?:\d++|(?![.\d])))? | \.\d++)"
_COMMA = r"(?:\d+,\d+)(?![\d,])"
"""A decimal comma: only where an answer is one number."""
_TIMES = r"\s*(?:\\times|\\cdot|\\ast|\*|[xX]|times\b|multiplied\s+by\b)\s*"
_ORDINALS = (
    *("first", "second", "third", "fourth", "fifth", "sixth"),
    *("seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth"),
)
_CARDINALS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_PARTS = {"a half": Fraction(1, 2), "one half": Fraction(1, 2), "a quarter": Fraction(1, 4), "a third": Fraction(1, 3),
          "one third": Fraction(1, 3), "three quarters": Fraction(3, 4), "two thirds": Fraction(2, 3)}  # fmt: skip


def _ten(behind: str) -> str:
    """A power of ten; its exponent in groups whose names end in `behind`."""
    said = rf"[+-]?\d+|(?:(?:minus|negative)\s+)?(?:\d+|{'|'.join((*_ORDINALS, *_CARDINALS))})"
    return rf"""(?:10|ten)\s*(?:
        \^\s*\{{?\s*\(?(?P<raised{behind}>[+-]?\d+)\)?\s*\}}?
      | \s*(?:raised\s+)?to\s+(?:the\s+)?(?:power\s+(?:of\s+)?)?(?P<said{behind}>{said})(?:st|nd|rd|th)?(?:\s+power)?
    )"""


_OVER = r"(?P<over>\d+)\s*(?:/|\bover\b)\s*(?P<under>\d+) | \\frac\s*\{(?P<over2>\d+)\}\s*\{(?P<under2>\d+)\}"
_PART = r"[+-]?\s*\d+(?:\.\d+)?"
_DIVISOR = r"(?P<divisor>[+-]?\d{1,3}(?:,\d{3})+ | [+-]?\d+(?:\.\d+)?)"


def _numeral(comma: str) -> re.Pattern[str]:
    return re.compile(
        rf"""(?P<sign>[+-]?)\s*(?:
            (?P<hexadecimal>0[xX][0-9A-Fa-f]+) | (?P<octal>0[oO][0-7]+) | (?P<binary>0[bB][01]+)
          | {_ten("_alone")}
          | (?P<repeating>{_REPEATING})
          | (?P<halves>\d+)\s+and\s+(?P<half>{"|".join(_PARTS).replace(" ", r"[ ]")})\b
          | (?P<base>\d{{1,6}})\s*\^\s*\{{?(?P<power>-?\d{{1,3}})\}}?(?!\d)
          | (?P<whole>\d+)\s*(?:\s|\band\s+|(?=\\))(?:{_OVER})
          | \\frac\s*\{{\s*(?P<above>{_PART})\s*\}}\s*\{{\s*(?P<below>{_PART})\s*\}}
          | (?:(?P<grouped>{_GROUPED}) | (?P<comma>{comma}) | (?P<decimal>{_DECIMAL}))
            (?: (?P<exponent>[eE][+-]?\d+)(?![\dA-Za-z.]) | {_TIMES}{_ten("")} | \s*(?:/|\bover\b)\s*{_DIVISOR} )?
        )""",
        re.VERBOSE,
    )


WITH_COMMA = _numeral(_COMMA)
"""A numeral where an answer is one number: `2,74` is a decimal."""
WITHOUT_COMMA = _numeral("(?!)")
"""A numeral where a comma may part a list."""


@dataclass(frozen=True)
class Numeral:
    """An exact value, and how it was written."""

    value: Fraction
    places: int | None = None
    """Digits behind the point of a decimal with at least `LONG` significant ones; None for others."""


def numeral(found: re.Match[str]) -> Numeral | None:
    """What a match is worth; None for a fraction of nothing, a mixed number that is none, and the like."""
    read = _unsigned(found)
    if read is None or not found["sign"].startswith("-"):
        return read
    return Numeral(-read.value, read.places)


def _unsigned(found: re.Match[str]) -> Numeral | None:
    if based := found["hexadecimal"] or found["octal"] or found["binary"]:
        return Numeral(Fraction(int(based, 0)))
    if found["half"]:
        return Numeral(int(found["halves"]) + _PARTS[found["half"].lower()])
    if found["base"]:
        number, power = int(found["base"]), int(found["power"])
        is_small = number > 0 and len(found["base"]) * abs(power) <= _HIGHEST
        return Numeral(Fraction(number) ** power) if is_small else None
    if found["repeating"]:
        return _repeating(found["repeating"])
    if found["whole"]:
        over, under = int(found["over"] or found["over2"]), int(found["under"] or found["under2"])
        return Numeral(int(found["whole"]) + Fraction(over, under)) if over < under else None
    if found["above"]:
        below = Fraction(found["below"].replace(" ", ""))
        return Numeral(Fraction(found["above"].replace(" ", "")) / below) if below else None
    if (alone := found["raised_alone"] or found["said_alone"]) and not (
        found["grouped"] or found["comma"] or found["decimal"]
    ):
        return _shifted(Numeral(Fraction(1)), _whole(alone))
    return _scaled(_digits(found), found)


def _digits(found: re.Match[str]) -> Numeral:
    """A decimal, whatever groups its thousands."""
    if found["comma"]:
        return _decimal(found["comma"].replace(",", "."))
    if not found["grouped"]:
        return _decimal(found["decimal"])
    text = re.sub(r"[ '_]", "", found["grouped"])
    if text.count(".") > 1 or ("," in text and text.rindex(",") > text.rfind(".") >= 0):
        text = text.replace(".", "").replace(",", ".")  # 1.234.567,8
    elif " " in found["grouped"] and "," in text:
        text = text.replace(",", ".")  # 1 234,5
    return _decimal(text.replace(",", ""))


def _decimal(text: str) -> Numeral:
    _, point, behind = text.partition(".")
    significant = text.replace(".", "").lstrip("0")
    return Numeral(Fraction(text.rstrip(".")), len(behind) if point and len(significant) >= LONG else None)


def _scaled(read: Numeral, found: re.Match[str]) -> Numeral | None:
    if found["exponent"]:
        return _shifted(read, int(found["exponent"][1:]))
    if power := found["raised"] or found["said"]:
        return _shifted(read, _whole(power))
    if found["divisor"]:
        below = Fraction(found["divisor"].replace(",", ""))
        return Numeral(read.value / below) if below else None
    return read


def _shifted(read: Numeral, power: int) -> Numeral | None:
    if abs(power) > _HIGHEST:
        return None
    return Numeral(read.value * Fraction(10) ** power)


def _whole(said: str) -> int:
    sign, word = (-1, said.split()[-1]) if re.match(r"minus|negative", said) else (1, said)
    for names in (_ORDINALS, _CARDINALS):
        if word in names:
            return sign * (names.index(word) + 1)
    return sign * int(word)


def _repeating(text: str) -> Numeral | None:
    """`0.1\\overline{6}`, `0.1(6)`, `0.1\\dot{6}` and `0.1666...` are a sixth."""
    if dotted := re.fullmatch(r"(\d*)\.(\d*)\\dot\s*\{?(\d)\}?(?:(\d*)\\dot\s*\{?(\d)\}?)?", text):
        whole, once, first, middle, last = dotted.groups()
        return _periodic(whole, once, first + (middle or "") + (last or ""))
    if marked := re.fullmatch(r"(\d*)\.(\d*)(?:\\(?:overline|bar)\s*\{?(\d+)\}?|\((\d+)\))", text):
        return _periodic(marked[1], marked[2], marked[3] or marked[4])
    written = re.match(r"(\d*)\.(\d+)", text)
    repeats = written and re.fullmatch(r"(\d*?)(\d+?)\2+(?:\d{0,0})", written[2])
    return _periodic(written[1], repeats[1], repeats[2]) if written and repeats else None


def _periodic(whole: str, once: str, period: str) -> Numeral:
    shift = 10 ** len(once)
    return Numeral(
        int(whole or 0) + Fraction(int(once or 0), shift) + Fraction(int(period), shift * (10 ** len(period) - 1))
    )


def same_value(one: Numeral, other: Numeral) -> bool:
    """Whether two are one number: exactly, or one is a long decimal that rounds the other at its last digit."""
    return one.value == other.value or rounds(one, other.value) or rounds(other, one.value)


def rounds(read: Numeral, value: Fraction) -> bool:
    """Whether a long decimal is a value of endless digits, rounded or cut off at its last place."""
    if read.places is None or _ends(value):
        return False
    off = abs(value) - abs(read.value)
    unit = Fraction(1, 10**read.places)
    return (read.value < 0) == (value < 0) and -unit / 2 <= off < unit


def _ends(value: Fraction) -> bool:
    """Whether the decimal digits of a value end."""
    below = value.denominator
    for prime in (2, 5):
        while below % prime == 0:
            below //= prime
    return below == 1
