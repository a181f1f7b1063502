"""The vote over samples of one question, with the rules that studies vote by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..eval import vote
from ..lm import Usage
from ..solve import GRADERS, Solution
from ..solve.grade import PLAIN_MATH, classify
from ..tasks import GraderName, Question
from ..tasks.errors import ConfigError

if TYPE_CHECKING:
    from ..distill.ranker import Ranker


class Ballot(NamedTuple):
    """A sample that may vote."""

    text: str | None
    """None does not vote: a call of a tool, say."""
    logprob: float | None
    """The mean log-probability of its tokens, where it was asked for."""


class Elected(NamedTuple):
    """What the samples come to."""

    winner: int | None
    """The first sample with the winning answer; None when no answer could be read."""
    share: float
    """How many of all samples gave it."""


NOBODY = Elected(None, 0.0)
"""What comes of a vote without voters."""


class Electing:
    """Votes by a rule's name."""

    def __init__(self, grader: GraderName, ranker: Path | None, *, algebra: bool = True) -> None:
        """Without `algebra` expressions are one only where that is plain. Raises ConfigError when there is no ranker in
        its directory.
        """
        self._grader = grader
        self._rule = PLAIN_MATH if grader == "math" and not algebra else GRADERS[grader]
        self._directory = ranker
        if ranker is not None:
            from ..distill.ranker import recipe_of

            recipe_of(ranker)

    def __call__(self, question: str, ballots: Sequence[Ballot], rule: str) -> Elected:
        """Raises ConfigError for a rule that cannot be voted by."""
        asked = Question("asked", question, answer="", grader=self._grader)
        read = [self.solution(ballot) for ballot in ballots]
        (classes,) = classify([[solution.answer for solution in read]], [self._rule])
        won = vote.winners(vote.tally(classes, vote.named(rule), self._scores(rule, asked, read)))
        if not won:
            return NOBODY
        return Elected(won[0], classes.count(won[0]) / len(ballots))

    def warm(self) -> None:
        """Load the ranker now."""
        if self._directory is not None:
            self._ranker  # noqa: B018  # for its effect

    def solution(self, ballot: Ballot) -> Solution:
        """A sample's text with the answer in it."""
        read = Solution.read(ballot.text or "", Usage(), seek=GRADERS[self._grader].seek)
        return replace(read, logprob=ballot.logprob)

    @cached_property
    def _ranker(self) -> Ranker:
        from ..distill.ranker import load

        if self._directory is None:
            raise ConfigError("there is no ranker to vote by; give vote.ranker")
        return load(self._directory)

    def _scores(self, rule: str, asked: Question, read: Sequence[Solution]) -> list[float | None] | None:
        match vote.score_of(rule):
            case "probability":
                return [None if solution.logprob is None else exp(solution.logprob) for solution in read]
            case "rank":
                from ..distill.ranker import Group

                (scores,) = self._ranker.score([Group(asked, tuple(read))])
                return scores
            case _:
                return None
