"""The leak that only two phases have: a decomposition that already contains the answer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..solve.number import canonical, number
from ..tasks import Question


def leaks_answer(question: Question, subquestions: Sequence[str]) -> bool:
    """Whether the gold answer stands in the sub-questions and not in the question itself."""
    asked = " ".join(subquestions)
    return _holds(asked, question.answer) and not _holds(question.prompt, question.answer)


def _holds(text: str, answer: str) -> bool:
    if number(answer) is not None:
        found = re.findall(r"-?\$?\d[\d,]*(?:\.\d+)?%?", text)
        return any(canonical(each.rstrip(",")) == canonical(answer) for each in found)
    return re.search(rf"(?<!\w){re.escape(answer.lower())}(?!\w)", text.lower()) is not None
