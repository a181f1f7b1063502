"""The leak that only two phases have: a decomposition that already contains the answer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...solve.grading.numbers import number
from ...tasks.question import Question
from ...tasks.reading_comprehension import SEPARATOR


def leaks_answer(question: Question, subquestions: Sequence[str]) -> bool:
    """Whether a gold answer stands in the sub-questions and not in the question itself. A yes, a no and the letter of a
    choice cannot be told."""
    if question.grader in ("yes-no", "choice"):
        return False
    asked = " ".join(subquestions)
    golds = [span for gold in (question.answer, *question.aliases) for span in gold.split(SEPARATOR)]
    return any(_holds(asked, gold) and not _holds(question.prompt, gold) for gold in golds)


def _holds(text: str, answer: str) -> bool:
    if number(answer) is not None:
        found = re.findall(r"-?\$?\d[\d,]*(?:\.\d+|/\d+)?%?|\\[dt]?frac\{\d+\}\{\d+\}", text)
        return any(number(each.rstrip(",")) == number(answer) for each in found)
    return re.search(rf"(?<!\w){re.escape(answer.lower())}(?!\w)", text.lower()) is not None
