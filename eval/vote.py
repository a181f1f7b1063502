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
    """1 when right answers win the vote, their share of the winners when they tie for it, else 0.

    `right` says of each answer whether it is the gold one.
    """
    votes = tally(classes)
    most = max(votes.values(), default=0)
    winners = [each for each, count in votes.items() if count == most]
    return sum(each in _right(classes, right) for each in winners) / len(winners) if winners else 0.0


@dataclass(frozen=True)
class Outcome:
    """What the samples of one question come to."""

    winner: int | None
    """The first sample with the winning answer; None when none could be read."""
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
    right = [verdict == "right" for verdict in verdicts]
    winner = majority(classes)
    if winner is None:
        return Outcome(None, "unreadable", 0.0)
    first = classes.index(winner)
    verdict: Verdict = "right" if winner in _right(classes, right) else verdicts[first]
    return Outcome(first, verdict, credit(classes, right))


def _right(classes: Sequence[Class], right: Sequence[bool]) -> set[Class]:
    return {each for each, is_right in zip(classes, right, strict=True) if is_right}
