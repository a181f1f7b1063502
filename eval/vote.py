"""Self-consistency: the answer that most samples agree on (Wang et al., 2023).

Answers are counted by the spelling that their grader gives them. An unreadable answer does not vote. A tie goes to the
answer seen first in a prediction, and shares its credit in the metric, so that accuracy does not depend on the order of
samples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..solve import Grader, grade

Tally = Counter[str]
"""Votes by canonical answer, in the order in which the answers were first seen."""


def tally(answers: Sequence[str | None], grader: Grader = grade) -> Tally:
    """Count the answers that could be read."""
    return Counter(grader.canonical(answer) for answer in answers if answer is not None)


def majority(answers: Sequence[str | None], grader: Grader = grade) -> str | None:
    """The answer with most votes, as it was first written; None when nobody voted."""
    votes = tally(answers, grader)
    if not votes:
        return None
    winner = votes.most_common(1)[0][0]
    return next(answer for answer in answers if answer is not None and grader.canonical(answer) == winner)


def credit(answers: Sequence[str | None], gold: str, grader: Grader = grade) -> float:
    """1 when the gold answer wins the vote, 1 / (number of winners) when it ties for the win, else 0."""
    votes = tally(answers, grader)
    most = max(votes.values(), default=0)
    winners = [answer for answer, count in votes.items() if count == most]
    return 1.0 / len(winners) if grader.canonical(gold) in winners else 0.0
