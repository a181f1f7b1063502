"""Answers to DROP: one or several spans, numbers or dates, compared as its authors do (Dua et al., 2019).

Two answers match exactly when they hold the same normalised spans. F1 compares words: each span is matched with at
most one of the other answer's so that their F1 summed is highest, spans without a number in common count nothing, and
the sum is divided by the larger number of spans.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from . import moments
from .unicode_math import letters

_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_GIVEN = re.compile(r"\s*[;\n]\s*")
_LISTED = re.compile(r"\s*(?:[;\n]|,(?!\d)|\band\b)\s*")


def spans(answer: str) -> str:
    """The normalised spans in a fixed order, a line each: equal ones are an exact match."""
    return _normal(_GIVEN, answer)


def listed(pairs: Sequence[tuple[str, str]]) -> list[bool | None]:
    """Whether one of two answers, read as a list with commas and "and", holds the spans that the other gives."""
    return [_normal(_LISTED, a) == spans(b) or _normal(_LISTED, b) == spans(a) for a, b in pairs]


def _normal(split: re.Pattern[str], answer: str) -> str:
    return "\n".join(sorted(normal for span in split.split(answer.strip()) if (normal := _normalised(span))))


def f1(answer: str, gold: str) -> float:
    """Between 0 and 1.

    Commas and "and" may stand between the spans of an answer or inside one; the better reading counts.
    """
    right = _bags(_GIVEN.split(gold))
    return max(_aligned(_bags(reading.split(answer)), right) for reading in (_GIVEN, _LISTED))


def _bags(found: Sequence[str]) -> list[frozenset[str]]:
    return [frozenset(words) for span in found if (words := _normalised(span).split())]


def _aligned(answer: Sequence[frozenset[str]], gold: Sequence[frozenset[str]]) -> float:
    if not answer or not gold:
        return 0.0
    from scipy.optimize import linear_sum_assignment

    scores = [[_overlap(bag, other) for bag in answer] for other in gold]
    rows, columns = linear_sum_assignment(scores, maximize=True)
    total: float = sum(scores[row][column] for row, column in zip(rows, columns, strict=True))
    return round(total / max(len(answer), len(gold)), 2)


def _overlap(answer: frozenset[str], gold: frozenset[str]) -> float:
    numbers = {word for word in gold if _value(word) is not None}
    if numbers and not numbers & answer:
        return 0.0
    shared = len(answer & gold)
    return 2 * shared / (len(answer) + len(gold))


def _normalised(span: str) -> str:
    span = letters(span)
    if (moment := moments.read(span)) is not None and str(moment)[0] != "T":
        return str(moment)
    words = (_word(word) for word in re.split(r"[ -]", span.lower()))
    return " ".join(word for word in words if word) or span.strip().lower()


def _word(word: str) -> str:
    if _value(word) is None:
        word = "".join(character for character in word if character not in string.punctuation)
    value = _value(word)
    return str(value) if value is not None else " ".join(_ARTICLE.sub(" ", word).split())


def _value(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None
