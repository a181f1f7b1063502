"""Self-consistency: the answer that most samples agree on (Wang et al., 2023).

Answers vote by what they mean, in the classes that their grader makes of them. An unreadable answer does not vote.
A tie goes to the answer seen first in a prediction, and shares its credit in the metric, so that accuracy does not
depend on the order of samples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..solve import GRADERS, Verdict, grade
from ..solve.grade import Class, classify
from ..tasks import Question

Tally = Counter[int]
"""Votes by class, in the order in which the classes were first seen."""


def tally(classes: Sequence[Class]) -> Tally:
    """Count the answers that could be read."""
    return Counter(each for each in classes if each is not None)


def majority(classes: Sequence[Class]) -> Class:
    """The class with most votes; None when nobody voted."""
    votes = tally(classes)
    return votes.most_common(1)[0][0] if votes else None


def credit(classes: Sequence[Class], right: Sequence[bool]) -> float:
    """1 when a right answer wins the vote, the right share of the winners when some tie for it, else 0.

    `right` says of each answer whether it is the gold one; a class is right when the answer that stands for it is.
    """
    votes = tally(classes)
    most = max(votes.values(), default=0)
    winners = [each for each, count in votes.items() if count == most]
    return sum(right[each] for each in winners) / len(winners) if winners else 0.0


@dataclass(frozen=True)
class Outcome:
    """What the samples of one question come to."""

    winner: int | None
    """The sample whose answer stands for the winners; None when none could be read."""
    verdict: Verdict
    """Of the winning answer."""
    credit: float


def decide(questions: Sequence[Question], samples: Sequence[Sequence[str | None]]) -> list[Outcome]:
    """The vote on every question, with all answers compared and graded together."""
    graded = iter(grade((a, q) for q, answers in zip(questions, samples, strict=True) for a in answers))
    verdicts = [[next(graded) for _ in answers] for answers in samples]
    classed = classify(samples, [GRADERS[question.grader] for question in questions])
    return [_outcome(classes, of) for classes, of in zip(classed, verdicts, strict=True)]


def _outcome(classes: Sequence[Class], verdicts: Sequence[Verdict]) -> Outcome:
    winner = majority(classes)
    if winner is None:
        return Outcome(None, "unreadable", 0.0)
    return Outcome(winner, verdicts[winner], credit(classes, [verdict == "right" for verdict in verdicts]))
