"""Votes over the answers of a question's samples: a rule makes weights of scores, and the heaviest answer wins.

Answers vote by what they mean, in the classes that their grader makes of them. An unreadable answer does not vote. A
tie goes to the answer seen first in a prediction, and shares its credit in the metric, so that accuracy does not
depend on the order of samples. Adding a rule is a function and a line in `RULES`.

The rules carry their formulas as names, since the literature's names clash and its texts leave the formulas open
(Li et al., *Turning Dust into Gold*, AAAI 2024, calls a vote that a ranking model weighs ASC; elsewhere ASC is a
stopping rule, `solve/voting/stopping.py`). The aliases say which formula is taken for which name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp
from typing import Literal

import numpy as np
import numpy.typing as npt

from ...core.errors import ConfigError
from ...tasks.question import Question
from ..grading.grade import Class, Verdict, classify, grade, grader_of

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Score = Literal["rank", "probability", "certainty"]
"""What a rule weighs samples by: the ranker's score of the solution in (0, 1); the solver's own probability of it,
length-normalised (the geometric mean over tokens); self-certainty, KL(uniform || prediction) averaged over tokens."""
TIE = 1e-9
"""Totals and scores that differ by no more than this share are the same: sums in two orders are."""


@dataclass(frozen=True)
class ByScore:
    """A weight that a sample's own score decides."""

    weigh: Callable[[Array], Array]
    """Never negative."""


@dataclass(frozen=True)
class ByRank:
    """A weight that a sample's place among the others decides."""

    weigh: Callable[[Array, Array, Array], Array]
    """From how many have a lower score, how many the same (itself included), and how many there are. Never negative."""


@dataclass(frozen=True)
class Rule:
    """A way to weigh votes."""

    line: str
    """What it is, in a line."""
    weight: ByScore | ByRank
    score: Score | None = None
    """None: it asks for none."""


def plus(constant: float, slope: float) -> ByScore:
    """constant + slope x score."""
    return ByScore(lambda score: constant + slope * score)


def best() -> ByRank:
    """1 for the highest score, shared or not, else 0: best of n."""
    return ByRank(lambda lower, equal, there: (lower + equal == there).astype(np.float64))


def borda(power: float) -> ByRank:
    """(n - place + 1) ** power, place 1 being the highest of n scores; equal scores share the mean of their places.

    Kang et al., *Scalable Best-of-N Selection via Self-Certainty* (2025).
    """
    return ByRank(lambda lower, equal, there: (lower + (equal + 1) / 2) ** power)


RULES = {
    "count": Rule("one sample, one vote: self-consistency", plus(1, 0)),
    "rank_sum": Rule("sum of the ranker's scores", plus(0, 1), "rank"),
    "rank_1_plus": Rule("sum of 1 + the ranker's score", plus(1, 1), "rank"),
    "rank_1_plus_2": Rule("sum of 1 + 2 x the ranker's score", plus(1, 2), "rank"),
    "rank_best": Rule("the sample that the ranker likes best", best(), "rank"),
    "rank_borda": Rule("sum of places in the ranker's order", borda(1), "rank"),
    "prob_sum": Rule("sum of length-normalised probabilities", plus(0, 1), "probability"),
    "prob_best": Rule("the sample that the solver finds most probable", best(), "probability"),
    "certainty_best": Rule("the sample that the solver is most certain of", best(), "certainty"),
    "certainty_borda": Rule("sum of places in the order of self-certainty", borda(1), "certainty"),
}
ALIASES = {"sc": "count", "ws": "prob_sum", "asc": "rank_1_plus"}
"""The literature's names. Which formula Turning Dust into Gold reports as ASC, and which as WS, is not known."""

LEARNED = "rank_1_plus_learned"
"""Stands for the `rank_1_plus_X` whose X does best on held-out questions; a cell is called by the X."""

_WEIGHTED = re.compile(r"rank_1_plus_(\d+(?:\.\d+)?)")


def named(name: str) -> Rule:
    """The rule of a name, an alias, or `rank_1_plus_X` with any number X. Raises ConfigError for others."""
    if rule := RULES.get(ALIASES.get(name, name)):
        return rule
    if found := _WEIGHTED.fullmatch(name):
        return Rule(f"sum of 1 + {found[1]} x the ranker's score", plus(1, float(found[1])), "rank")
    raise ConfigError(f"no vote {name!r}; there are {', '.join([*ALIASES, *RULES, LEARNED])}")


def score_of(name: str) -> Score | None:
    """What the rule of a name weighs by. Raises ConfigError for a name that is none."""
    return "rank" if name == LEARNED else named(name).score


def scores_by_kind(
    logprobs: Sequence[float | None], certainties: Sequence[float | None], ranks: Sequence[float | None] | None
) -> dict[Score, list[float | None]]:
    """What rules can weigh samples by: the ranker's scores, probabilities (length-normalised), self-certainty."""
    return {
        "rank": [None] * len(logprobs) if ranks is None else list(ranks),
        "probability": [None if log is None else exp(log) for log in logprobs],
        "certainty": list(certainties),
    }


def weights(rule: Rule, voting: Bools, scores: Array) -> Array:
    """What each sample's vote counts (samples, ...), 0 where it has none.

    A missing score (NaN) takes the mean of the other voters' scores, and 1 where nobody has one.
    """
    known = voting & ~np.isnan(scores)
    count = known.sum(0)
    mean = np.where(count > 0, np.where(known, scores, 0.0).sum(0) / np.maximum(count, 1), 1.0)
    filled = np.where(voting, np.where(known, scores, mean), np.nan)
    if isinstance(rule.weight, ByScore):
        return np.where(voting, rule.weight.weigh(filled), 0.0)
    lower = np.array([how_many(below(filled, own)) for own in filled], dtype=np.float64)
    equal = np.array([how_many(alike(filled, own)) for own in filled], dtype=np.float64)
    return np.where(voting, rule.weight.weigh(lower, equal, how_many(voting).astype(np.float64)), 0.0)


def below(a: Array, b: Array) -> Bools:
    """Whether a < b by more than rounding: the mean of equal scores is one of them."""
    return np.asarray(a < b - TIE * np.abs(b))


def alike(a: Array, b: Array) -> Bools:
    """Whether a and b are one score, but for rounding."""
    return np.asarray(np.abs(a - b) <= TIE * np.abs(b))


def how_many(true: Bools) -> npt.NDArray[np.int16]:
    """Of (samples, ...): a narrow sum, which takes a quarter of the time of numpy's own."""
    return np.asarray(np.add.reduce(true.view(np.int8), axis=0, dtype=np.int16))


Tally = dict[int, float]
"""Weight by class, in the order in which the classes were first seen."""


def tally(classes: Sequence[Class], rule: Rule = RULES["count"], scores: Sequence[float | None] | None = None) -> Tally:
    """The votes of one question's samples; with no scores all are missing."""
    given = np.array([np.nan if score is None else score for score in scores or [None] * len(classes)], dtype=float)
    each = weights(rule, np.array([of is not None for of in classes], dtype=bool), given)
    votes: Tally = {}
    for of, weight in zip(classes, each.tolist(), strict=True):
        if of is not None:
            votes[of] = votes.get(of, 0.0) + weight
    return votes


def winners(votes: Tally) -> list[int]:
    """The classes that nothing outweighs, the one seen first at the front."""
    most = max(votes.values(), default=0.0)
    return [of for of, weight in votes.items() if weight >= most - TIE * abs(most)]


def credit(votes: Tally, right: Sequence[bool]) -> float:
    """1 when a right answer wins, the right share of the winners when some tie for it, else 0.

    `right` says of each sample whether its answer is the gold one; a class is right when the sample that stands for it
    is.
    """
    won = winners(votes)
    return sum(right[of] for of in won) / len(won) if won else 0.0


def learn(
    classes: Sequence[Sequence[Class]],
    right: Sequence[Sequence[bool]],
    scores: Sequence[Sequence[float | None]],
    slopes: Sequence[float] = (0, 0.25, 0.5, 1, 2, 4, 8, 16, 32),
) -> float:
    """The X of `rank_1_plus_X` that does best on held-out questions; the least of equals."""

    def total(slope: float) -> float:
        rule = Rule("", plus(1, slope), "rank")
        each = zip(classes, right, scores, strict=True)
        return sum(credit(tally(of, rule, ranked), labels) for of, labels, ranked in each)

    return max(slopes, key=total)


@dataclass(frozen=True)
class Outcome:
    """What the samples of one question come to."""

    winner: int | None
    """The sample whose answer stands for the winners; None when none could be read."""
    verdict: Verdict
    """Of the winning answer."""
    credit: float


@dataclass(frozen=True)
class Judged:
    """One question's answers, compared with one another and with the gold one."""

    classes: tuple[Class, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def right(self) -> list[bool]:
        return [verdict == "right" for verdict in self.verdicts]

    def vote(self, rule: Rule = RULES["count"], scores: Sequence[float | None] | None = None) -> Outcome:
        """What the samples come to under a rule."""
        votes = tally(self.classes, rule, scores)
        won = winners(votes)
        return Outcome(won[0], self.verdicts[won[0]], credit(votes, self.right)) if won else _OPEN


_OPEN = Outcome(None, "unreadable", 0.0)


def judge(questions: Sequence[Question], samples: Sequence[Sequence[str | None]]) -> list[Judged]:
    """The answers of every question, all compared and graded together."""
    graded = iter(grade((a, q) for q, answers in zip(questions, samples, strict=True) for a in answers))
    verdicts = [tuple(next(graded) for _ in answers) for answers in samples]
    classed = classify(samples, [grader_of(question) for question in questions])
    return [Judged(tuple(classes), of) for classes, of in zip(classed, verdicts, strict=True)]
