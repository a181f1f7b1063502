"""Answers that are one number, as people and models write them."""

from __future__ import annotations

import re
from fractions import Fraction

_NUMBER = re.compile(r"(-?)(\d+(?:\.\d+)?|\.\d+)(?:/(\d+))?")
_UNIT = re.compile(r"\s*(?:%|percent)?(?:\s*/?\s*[A-Za-z°][A-Za-z°.'-]*){0,3}\s*(?:\([^()\d]*\))?\s*\.?")
"""What may stand behind a number without changing it: a percent sign, up to three words, a remark in brackets."""
_LONGEST = 64
"""Digits beyond this are no answer that a data set holds; comparing them as text is enough."""


def canonical(answer: str) -> str:
    """A reduced fraction where the answer is a number, else lower-case words.

    `1,000`, `$1000.00` and `1000 dollars` are one answer.
    """
    value = number(answer)
    if value is not None:
        return str(value)
    return " ".join(re.sub(r"[^\w\s.%/+-]", " ", answer.lower()).split()).rstrip(".")


def number(answer: str) -> Fraction | None:
    """The value of an answer that is one number, perhaps with a currency sign, separators or a unit; else None."""
    text = _plain(answer)
    found = _NUMBER.match(text)
    if not found or len(text) > _LONGEST or not _UNIT.fullmatch(text[found.end() :]):
        return None
    sign, value, below = found.groups()
    if below is not None and int(below) == 0:
        return None
    return Fraction(value) / int(below or 1) * (-1 if sign else 1)


def _plain(answer: str) -> str:
    """A number without LaTeX dressing, separators and currency signs."""
    text = re.sub(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}", r" \1", answer)
    text = re.sub(r"\\[dt]?frac\s*(?:\{(\d+)\}\s*\{(\d+)\}|(\d)(\d))", r"\1\3/\2\4", text)
    text = re.sub(r"\\[!,;: ]", "", text).replace("{,}", ",").replace("\N{MINUS SIGN}", "-").replace("\\", "")
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"^(-?)\s*(?:US)?[$€£¥]\s*(?=[-\d.])", r"\1", text.strip())
    return re.sub(r"\s*/\s*(?=\d)", "/", text.removesuffix("$").strip())
