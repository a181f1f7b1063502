"""Softer scores to show beside the verdicts: what papers reported, so that the difference is seen.

Divide-or-Conquer counted a GSM8K answer as right when the gold number stood anywhere in the output, and a Bamboogle
answer when the gold phrase stood anywhere behind "The answer is:"; DROP is usually reported by F1.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ...tasks.question import MeasureName, Question
from . import drop_spans

Measure = Callable[[str, str | None, Question], float]
"""From a solution's text, its answer and the question to a score between 0 and 1."""


def any_token(text: str, answer: str | None, question: Question) -> float:
    """Whether any word of the output is the gold number, as the authors' evaluation of GSM8K has it.

    Theirs cuts decimals off at the point, so that 12.5 passes for 12; so does this.
    """
    gold = question.answer.replace(",", "")
    words = (word.replace("$", "").removesuffix(".").replace(",", "") for word in text.split())
    return float(any(gold in (word, word.partition(".")[0]) for word in words))


def substring(text: str, answer: str | None, question: Question) -> float:
    """Whether a gold phrase stands behind the last "The answer is:", in lower case, without commas and quotes."""
    stated = _bare(re.split(r"the answer is:?", text, flags=re.IGNORECASE)[-1])
    return float(any(_bare(gold) in stated for gold in (question.answer, *question.aliases)))


def f1(text: str, answer: str | None, question: Question) -> float:
    """DROP's F1, against the gold answer that it is best for."""
    return max(drop_spans.f1(answer, gold) for gold in (question.answer, *question.aliases)) if answer else 0.0


def _bare(text: str) -> str:
    return re.sub(r"[,\"'\u201c\u201d\u2019]", "", text.lower()).strip()


MEASURES: dict[MeasureName, Measure] = {"any-token": any_token, "substring": substring, "f1": f1}
