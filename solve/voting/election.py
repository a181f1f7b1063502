"""The vote over samples of one question, with the rules that studies vote by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import exp
from typing import NamedTuple, Protocol

from ...core.errors import ConfigError
from ...lm.types import Usage
from ...tasks.question import GraderName, Question
from ..grading.grade import GRADERS, PLAIN_MATH, classify
from ..solution import Solution
from . import rules


class Sample(NamedTuple):
    """A sample that may vote."""

    text: str | None
    """None does not vote: a call of a tool, say."""
    logprob: float | None
    """The mean log-probability of its tokens, where it was asked for."""


class VoteResult(NamedTuple):
    """What the samples come to."""

    winner: int | None
    """The first sample with the winning answer; None when no answer could be read."""
    share: float
    """How many of all samples gave it."""


NOBODY = VoteResult(None, 0.0)
"""What comes of a vote without voters."""


class Scorer(Protocol):
    """A ranker, as a vote sees it."""

    def __call__(self, question: Question, solutions: Sequence[Solution]) -> list[float | None]:
        """A score a solution; None where it has none."""
        ...


class Election:
    """Votes by a rule's name."""

    def __init__(self, grader: GraderName, scorer: Scorer | None = None, *, algebra: bool = True) -> None:
        """Without `algebra` expressions are one only where that is plain."""
        self._grader = grader
        self._rule = PLAIN_MATH if grader == "math" and not algebra else GRADERS[grader]
        self._scorer = scorer

    def __call__(self, question: str, samples: Sequence[Sample], rule: str) -> VoteResult:
        """Raises ConfigError for a rule that cannot be voted by."""
        asked = Question("asked", question, answer="", grader=self._grader)
        read = [self.solution(sample) for sample in samples]
        (classes,) = classify([[solution.answer for solution in read]], [self._rule])
        won = rules.winners(rules.tally(classes, rules.named(rule), self._scores(rule, asked, read)))
        if not won:
            return NOBODY
        return VoteResult(won[0], classes.count(won[0]) / len(samples))

    def solution(self, sample: Sample) -> Solution:
        """A sample's text with the answer in it."""
        read = Solution.read(sample.text or "", Usage(), pattern=GRADERS[self._grader].pattern)
        return replace(read, logprob=sample.logprob)

    def _scores(self, rule: str, asked: Question, read: Sequence[Solution]) -> list[float | None] | None:
        match rules.score_of(rule):
            case "probability":
                return [None if solution.logprob is None else exp(solution.logprob) for solution in read]
            case "rank":
                if self._scorer is None:
                    raise ConfigError("there is no ranker to vote by; give vote.ranker")
                return self._scorer(asked, read)
            case _:
                return None
