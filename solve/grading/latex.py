"""One spelling for mathematical answers that differ in dressing only: spaces, sizes, units, separators, a full stop.

Looser than the string rule of `hendrycks` where that one is arbitrary, and stricter where it throws away what matters:
`6 \\text{ or } 10` is not 6, `y = 3` is not `x = 3`.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from .math_string import braced_fractions
from .numbers import is_unit, number

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
_DEGREE = r"(\d+(?:\.\d+)?)\s*(?:\^\s*(?:\\circ|\{\s*\\circ\s*\})|\\degree(?![A-Za-z]))"
_ANGLE = re.compile(rf"\{{\s*{_DEGREE}\s*\}}|{_DEGREE}")
_OF_ANGLES = re.compile(r"\\(?:sin|cos|tan|sec|csc|cot)(?![a-z])")
_OR = re.compile(r",?\s*(?:\\text\s*\{\s*,?\s*(?:or|and)\s*\}|(?<![A-Za-z\\])(?:or|and)(?![A-Za-z]))")
_TEXT = r"\\(?:text(?:bf|it|rm|normal)?|mbox|math(?:rm|bf|it))\s*\{"
_WORDS = re.compile(_TEXT + r"([^{}]*)\}")
_UNIT = re.compile(r"(?<=[\w})\].,])\s*" + _TEXT + r"([^{}\d=]*)\}(?:\s*\^\s*\{?\d\}?)?[.,;]?$")
_CHOICE = re.compile(r"\(([A-E])\)(?=[\d\\(.-])")
_SEPARATOR = re.compile(r"(?<=\d)(?:\{,\}|,\\!|\\,|,\s*\\!)(?=\d{3}(?!\d))")
"""Of thousands, as only LaTeX writes it."""
_COMMA = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_LIST = re.compile(r"[(\[;]|\\\{|\\cup|,\s|,(?!\d{3}(?!\d))|(?<![A-Za-z\\])(?:or|and)(?![A-Za-z])")
"""What makes commas between digits the commas of a list."""


@lru_cache(maxsize=65536)
def tidy(answer: str) -> str:
    """The spelling of an answer; empty when nothing is left of it. Equal spellings are equal answers."""
    plain = None if _LIST.search(_SEPARATOR.sub("", answer)) and "," in answer else number(answer)
    if plain is not None:
        return str(plain)
    text = _undressed(answer)
    value = _rational(text)
    return text if value is None else str(value)


def radians(answer: str) -> str:
    """Degrees in an answer with angles as what they are: the sine of 30 degrees is not the sine of 30."""
    if not _OF_ANGLES.search(answer):
        return answer
    return _ANGLE.sub(lambda found: f"(\\frac{{{found[1] or found[2]}\\pi}}{{180}})", answer)


def says_more(answer: str) -> bool:
    """Whether an answer ends in words that are no unit: `6\\text{ or more}`, `5\\text{ a.m.}`."""
    found = _UNIT.search(answer.strip())
    return found is not None and len(re.sub(r"[^A-Za-z]", "", found[1])) > 1 and not is_unit(found[1])


def _undressed(answer: str) -> str:
    text = answer.strip()
    for character, command in _UNICODE.items():
        text = text.replace(character, command)
    text = _SEPARATOR.sub("", text)
    if not _LIST.search(text):
        text = _COMMA.sub("", text)
    text = _DRESSING.sub("", re.sub(r"\\[dtc]frac(?![A-Za-z])", r"\\frac", text))
    text = _DEGREES.sub("", radians(text))
    text = _SPACING.sub(" ", text).strip()
    text = _UNIT.sub(_without_unit, _OR.sub(",", text))
    text = _WORDS.sub(r"\1", text)
    text = re.sub(r"\{\s*([,:])\s*\}", r"\1", text)
    text = braced_fractions(_joined(text).rstrip(".,;"))
    text = re.sub(r"^\(([A-Za-z])\)$", r"\1", text)
    text = _CHOICE.sub("", text, count=1) if _CHOICE.match(text) else text
    return text.lower() if re.fullmatch(r"[A-Za-z]*[a-z]{2}[A-Za-z]*", text) else text


def _without_unit(found: re.Match[str]) -> str:
    return "" if is_unit(found[1]) else found[0]


def _joined(text: str) -> str:
    r"""Without spaces, but for those that end a command (`\pi r`) or part two numbers."""
    return re.sub(
        r"(\\[A-Za-z]+)\s+(?=[A-Za-z])|(?<=\d)\s+(?=\d)|\s+",
        lambda found: f"{found[1]} " if found[1] else " " if _is_between_digits(found) else "",
        text,
    )


def _is_between_digits(found: re.Match[str]) -> bool:
    around = found.string[found.start() - 1 : found.start()] + found.string[found.end() : found.end() + 1]
    return len(around) == 2 and around.isdigit()


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
