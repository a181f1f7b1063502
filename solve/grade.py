"""Whether an answer is the gold answer: a grader is a way to spell answers, and equal spellings are equal answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from ..tasks import GraderName
from .hendrycks import tidy

Verdict = Literal["right", "wrong", "unreadable"]

_NUMBER = re.compile(r"(-?)(\d+(?:\.\d+)?|\.\d+)(?:/(\d+))?")
_UNIT = re.compile(r"\s*(?:%|percent)?(?:\s*/?\s*[A-Za-z°][A-Za-z°.'-]*){0,3}\s*(?:\([^()\d]*\))?\s*\.?")
"""What may stand behind a number without changing it: a percent sign, up to three words, a remark in brackets."""
_LONGEST = 64
"""Digits beyond this are no answer that a data set holds; comparing them as text is enough."""


@dataclass(frozen=True)
class Grader:
    """A rule for when two answers are one: in verdicts, and in votes."""

    canonical: Callable[[str], str]
    """One spelling for equal answers."""

    def __call__(self, answer: str | None, gold: str) -> Verdict:
        """`unreadable` when there is no answer; else `right` when it equals the gold one, else `wrong`."""
        if answer is None:
            return "unreadable"
        return "right" if self.canonical(answer) == self.canonical(gold) else "wrong"


def canonical(answer: str) -> str:
    """A reduced fraction where the answer is a number, else lower-case words.

    `1,000`, `$1000.00` and `1000 dollars` are one answer.
    """
    value = number(answer)
    if value is not None:
        return str(value)
    return " ".join(re.sub(r"[^\w\s.%/+-]", " ", answer.lower()).split()).rstrip(".")


grade = Grader(canonical)
"""Numbers by value, all else by its words."""

GRADERS: dict[GraderName, Grader] = {"number": grade, "hendrycks": Grader(tidy)}


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
