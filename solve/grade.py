"""Whether an answer is the gold answer: exact numbers first, then normalised text."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Literal

Verdict = Literal["right", "wrong", "unreadable"]

_NUMBER = re.compile(r"(-?)(\d+(?:\.\d+)?|\.\d+)(?:/(\d+))?")
_LONGEST = 64
"""Digits beyond this are no answer that a data set holds; comparing them as text is enough."""


def grade(answer: str | None, gold: str) -> Verdict:
    """`unreadable` when there is no answer; else `right` when it equals the gold one, else `wrong`."""
    if answer is None:
        return "unreadable"
    return "right" if canonical(answer) == canonical(gold) else "wrong"


def canonical(answer: str) -> str:
    """One spelling for equal answers: a reduced fraction where it is a number, else lower-case words.

    Equal spellings are what votes are counted by, so `1,000`, `$1000.00` and `1000 dollars` are one answer.
    """
    value = number(answer)
    return (
        str(value) if value is not None else " ".join(re.sub(r"[^\w\s.%/+-]", " ", answer.lower()).split()).rstrip(".")
    )


def number(answer: str) -> Fraction | None:
    """The value of an answer that is one number, perhaps with a currency sign, separators or a unit; else None."""
    text = answer.replace("−", "-").replace("\\$", "$").replace("\\%", "%").replace("\\", "")
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"^(-?)\s*(?:US)?[$€£¥]\s*(?=[-\d.])", r"\1", text.strip())
    found = _NUMBER.match(re.sub(r"\s*/\s*", "/", text))
    if not found or len(text) > _LONGEST or not _is_unit(re.sub(r"\s*/\s*", "/", text)[found.end() :]):
        return None
    sign, value, below = found.groups()
    if below is not None and int(below) == 0:
        return None
    return Fraction(value) / int(below or 1) * (-1 if sign else 1)


def _is_unit(rest: str) -> bool:
    """Whether what follows a number may be ignored: nothing, a percent sign, or up to three words without digits."""
    return re.fullmatch(r"\s*(?:%|percent)?(?:\s*[A-Za-z°][A-Za-z°.'-]*){0,3}\s*\.?", rest) is not None
