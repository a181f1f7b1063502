"""One spelling for mathematical answers that differ in dressing only: spaces, sizes, units, separators, a full stop.

Looser than the string rule of `hendrycks` where that one is arbitrary, and stricter where it throws away what matters:
`6 \\text{ or } 10` is not 6, `y = 3` is not `x = 3`.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from .hendrycks import braced_fractions
from .number import number

_UNICODE = {
    "\N{MINUS SIGN}": "-",
    "\N{GREEK SMALL LETTER PI}": "\\pi ",
    "\N{INFINITY}": "\\infty ",
    "\N{DEGREE SIGN}": "^\\circ ",
    "\N{MULTIPLICATION SIGN}": "\\times ",
    "\N{MIDDLE DOT}": "\\cdot ",
    "\N{SQUARE ROOT}": "\\sqrt ",
}
_SPACING = re.compile(r"(?<!\\)\\[!,;:> ]|~|\\(?:q?quad|displaystyle|left|right|[bB]igg?[lr]?)(?![A-Za-z])")
_DRESSING = re.compile(r"\\?\$|\\?%")
_DEGREES = re.compile(r"\^\s*\{?\s*\\circ\s*\}?|\\degree(?![A-Za-z])")
_ANGLES = re.compile(r"\\(?:sin|cos|tan|sec|csc|cot)")
_OR = re.compile(r",?\s*(?:\\text\s*\{\s*,?\s*(?:or|and)\s*\}|(?<![A-Za-z\\])(?:or|and)(?![A-Za-z]))")
_TEXT = r"\\(?:text(?:bf|it|rm|normal)?|mbox|math(?:rm|bf|it))\s*\{"
_WORDS = re.compile(_TEXT + r"([^{}]*)\}")
_UNIT = re.compile(r"(?<=[\w})\].,])\s*" + _TEXT + r"[^{}\d=]*\}(?:\s*\^\s*\{?\d\}?)?[.,;]?$")
_CHOICE = re.compile(r"\(([A-E])\)(?=[\d\\(.-])")
_PRODUCT = re.compile(r"\d\s*[A-Za-z](?![A-Za-z])|\\[A-Za-z]")


@lru_cache(maxsize=65536)
def tidy(answer: str) -> str:
    """The spelling of an answer; empty when nothing is left of it. Equal spellings are equal answers."""
    plain = None if _PRODUCT.search(answer) else number(answer)
    if plain is not None:
        return str(plain)
    text = _undressed(answer)
    value = _rational(text)
    return text if value is None else str(value)


def _undressed(answer: str) -> str:
    text = answer.strip()
    for character, command in _UNICODE.items():
        text = text.replace(character, command)
    text = _DRESSING.sub("", re.sub(r"\\[dtc]frac(?![A-Za-z])", r"\\frac", text))
    if not _ANGLES.search(text):
        # The sine of 30 degrees is not the sine of 30.
        text = _DEGREES.sub("", text)
    text = _SPACING.sub(" ", text).strip()
    text = _WORDS.sub(r"\1", _UNIT.sub("", _OR.sub(",", text)))
    text = re.sub(r"\{\s*([,:])\s*\}", r"\1", text)
    text = braced_fractions(_joined(text).rstrip(".,;"))
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"^\(([A-Za-z])\)$", r"\1", text)
    return _CHOICE.sub("", text, count=1) if _CHOICE.match(text) else text


def _joined(text: str) -> str:
    """Without spaces, but for the one that ends a command: `\\pi r`."""
    return re.sub(r"(\\[A-Za-z]+)\s+(?=[A-Za-z])|\s+", lambda found: f"{found[1]} " if found[1] else "", text)


_RATIONAL = re.compile(
    r"(?P<sign>-?)(?:(?P<decimal>\d+(?:\.\d*)?|\.\d+)"
    r"|(?P<whole>\d+)?\\frac\{(?P<above>-?\d+)\}\{(?P<below>\d+)\}"
    r"|(?P<over>\d+)/(?P<under>\d+))"
)


def _rational(text: str) -> Fraction | None:
    """The value of a whole number, decimal, fraction or mixed number."""
    found = _RATIONAL.fullmatch(text)
    if found is None:
        return None
    if found["decimal"]:
        value = Fraction(found["decimal"].rstrip("."))
    else:
        above, below = int(found["above"] or found["over"]), int(found["below"] or found["under"])
        if below == 0 or (found["whole"] and not 0 <= above < below):
            return None
        value = int(found["whole"] or 0) + Fraction(above, below)
    return -value if found["sign"] else value
