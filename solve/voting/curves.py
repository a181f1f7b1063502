"""Accuracy against the number of samples, for every rule, from one pool of samples and without a model.

The expected credit of a vote over k of K samples is taken over all subsets of k where there are few, else over a seeded
draw of them: the same ones for every question and rule, so that rules can be compared in pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import comb

import numpy as np
import numpy.typing as npt

from ..grading.grade import Class
from .rules import TIE, Array, Bools, ByRank, ByScore, Rule, Score, alike, below, how_many

_AT_ONCE = 64
"""Questions whose subsets are worked on together: as many as the processor's cache holds."""


@dataclass(frozen=True)
class Pool:
    """The samples of many questions, as arrays; every question has equally many."""

    classes: npt.NDArray[np.int64]  # samples, questions
    """The sample that stands for each sample's answer; -1 where it could not be read."""
    right: Bools  # samples, questions
    """Whether the answer of each sample is the gold one."""
    scores: Mapping[Score, Array]  # samples, questions
    """NaN where one is missing."""

    @classmethod
    def of(
        cls,
        classes: Sequence[Sequence[Class]],
        right: Sequence[Sequence[bool]],
        scores: Mapping[Score, Sequence[Sequence[float | None]]] | None = None,
    ) -> Pool:
        """From a list a question. Raises ValueError when questions differ in how many samples they have."""
        if len({len(of) for of in classes}) > 1:
            raise ValueError("a curve needs as many samples of each question")
        read = [[-1 if each is None else each for each in of] for of in classes]
        return cls(
            np.array(read, dtype=np.int64).T,
            np.array(right, dtype=bool).T,
            {name: np.array(of, dtype=np.float64).T for name, of in (scores or {}).items()},  # None becomes NaN
        )

    @property
    def samples(self) -> int:
        return int(self.classes.shape[0])

    def score(self, rule: Rule) -> Array:
        """What the rule weighs by (samples, questions): NaN where nobody scored, 1 where it asks for none."""
        if rule.score is None:
            return np.ones(self.classes.shape)
        return self.scores.get(rule.score, np.full(self.classes.shape, np.nan))

    def some(self, questions: slice | npt.NDArray[np.int64]) -> Pool:
        """Of these questions."""
        scores = {name: of[:, questions] for name, of in self.scores.items()}
        return Pool(self.classes[:, questions], self.right[:, questions], scores)


def subsets(samples: int, k: int, most: int = 256, seed: int = 0) -> Bools:
    """Subsets of k samples (subsets, samples): all of them, or `most` drawn from a seed where there are more."""
    if comb(samples, k) <= most:
        chosen = list(combinations(range(samples), k))
    else:
        draw = np.random.default_rng([seed, samples, k])
        chosen = [tuple(draw.permutation(samples)[:k].tolist()) for _ in range(most)]
    masks = np.zeros((len(chosen), samples), dtype=bool)
    for mask, of in zip(masks, chosen, strict=True):
        mask[list(of)] = True
    return masks


def curve(pool: Pool, rule: Rule, most: int = 256, seed: int = 0) -> Array:
    """The expected credit of a vote over 1, 2, ... samples (k, questions)."""
    sizes = [subsets(pool.samples, k, most, seed) for k in range(1, pool.samples + 1)]
    masks = np.concatenate(sizes)
    of_size = np.zeros((len(sizes), len(masks)))
    start = 0
    for row, size in zip(of_size, sizes, strict=True):
        row[start : start + len(size)] = 1 / len(size)
        start += len(size)
    return np.asarray(of_size @ credits_of(pool, rule, masks), dtype=np.float64)


def credits_of(pool: Pool, rule: Rule, masks: Bools) -> Array:
    """The credit of every subset's vote (subsets, questions)."""
    credits = np.zeros((len(masks), pool.classes.shape[1]))
    numbered = _numbered(pool.classes)
    distinct = numbered.max(0, initial=-1) + 1
    gaps = (np.isnan(pool.score(rule)) & (numbered >= 0)).any(0)
    # Few answers need few totals, and scores that are all there need nothing put in their place.
    for answers, gap in product(range(1, pool.samples + 1), (False, True)):
        alike = np.flatnonzero((distinct == answers) & (gaps == gap))
        for some in np.split(alike, range(_AT_ONCE, len(alike), _AT_ONCE)):
            credits[:, some] = _credits(pool.some(some), numbered[:, some], answers, rule, masks)
    return credits


def _credits(pool: Pool, numbered: npt.NDArray[np.int64], answers: int, rule: Rule, masks: Bools) -> Array:
    member = np.arange(answers)[:, None, None] == numbered  # answer, sample, question
    of_answer = np.take_along_axis(pool.right, np.where(pool.classes < 0, 0, pool.classes), 0)
    right = (member & of_answer).any(1)  # answer, question
    totals = _totals(member, pool.score(rule), rule.weight, masks)  # answer, subset, question
    top = totals.max(0)
    won = totals >= top - TIE * top
    if (top == 0).any():  # nobody voted, or all weigh nothing and tie
        won &= (masks.astype(np.float64) @ member) > 0
    return np.asarray(how_many(won & right[:, None, :]) / np.maximum(how_many(won), 1), dtype=np.float64)


def _totals(member: Bools, scores: Array, weight: ByScore | ByRank, masks: Bools) -> Array:
    """The weight of each answer in each subset (answer, subset, question): sums are products of matrices.

    Who has no score has the mean of those that are drawn and have one.
    """
    drawn = masks.astype(np.float64)
    known = np.asarray(member.any(0) & ~np.isnan(scores))
    missing = member & ~known
    own = np.where(known, scores, 0.0)
    count = drawn @ known
    mean = np.where(count > 0, (drawn @ own) / np.maximum(count, 1), 1.0) if missing.any() else np.zeros(count.shape)
    if isinstance(weight, ByRank):
        return _place_totals(member, known, scores, weight, drawn, mean)
    totals: Array = drawn @ (member * np.where(known, weight.weigh(own), 0.0))
    return totals + (drawn @ missing) * weight.weigh(mean) if missing.any() else totals


def _place_totals(member: Bools, known: Bools, scores: Array, weight: ByRank, drawn: Array, mean: Array) -> Array:
    """A sample's place is how many of those drawn have a lower score, and how many the same."""
    gap = np.asarray((member & ~known).any(0))  # sample, question
    there, gaps = drawn @ member.any(0), drawn @ gap
    totals = np.zeros((len(member), *mean.shape))
    if gap.any():  # where the mean stands in
        at = [drawn[:, i, None] * known[i] for i in range(len(known))]
        under, beside = (
            sum(here * compare(own, mean) for here, own in zip(at, scores, strict=True)) for compare in (below, alike)
        )
        in_gap = weight.weigh(np.asarray(under), gaps + beside, there)
    for i, own in enumerate(scores):
        lower, equal = drawn @ (known & below(scores, own)), drawn @ (known & alike(scores, own))
        if gap.any():
            lower, equal = lower + gaps * below(mean, own), equal + gaps * alike(mean, own)
        each = weight.weigh(lower, equal, there)
        if gap[i].any():
            each = np.where(gap[i], in_gap, each)
        each *= drawn[:, i, None]
        for total, of in zip(totals, member, strict=True):
            total += each * of[i]
    return totals


def _numbered(classes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The same classes as 0, 1, ... in each question (samples, questions), -1 left as it is."""
    numbered = np.full_like(classes, -1)
    found = np.zeros(classes.shape[1], dtype=np.int64)
    for stands in range(len(classes)):
        here = classes == stands
        numbered = np.where(here, found, numbered)
        found += here.any(0)
    return numbered
