"""What scores of solutions are worth: on pairs, on all, and beside scores that need no training."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import NamedTuple

import numpy as np

from ...distill.ranker.pairs import Labels, Scores, won
from ...solve.grading.grade import Class
from ..grid.rows import ResultRow, Results
from ..grid_spec import VoteSpec
from ..stats.clusters import Clusters, merged, totals
from ..stats.intervals import Estimate, difference, ratio
from .summary import paired
from .votes import Pair, scores_of, voting


class Bin(NamedTuple):
    """Solutions of like scores."""

    score: float
    """Their mean."""
    right: Estimate
    """The share that is right."""
    solutions: int


@dataclass(frozen=True)
class Worth:
    """How well scores tell right solutions from wrong ones."""

    pairs: Estimate
    """The share of pairs within a question in which the right one scores higher; equal scores count a half."""
    auroc: float
    """The same over pairs of all questions: it also rewards knowing which questions are easy."""
    calibration: list[Bin]

    @property
    def has_pairs(self) -> bool:
        """Whether a right and a wrong solution of one question ever met."""
        return not isnan(self.pairs.value)


def worth(scores: Scores, right: Sequence[Labels], clusters: Clusters | None = None, *, bins: int = 10) -> Worth:
    """Of scores, question by question, each question of a family; what has no score is left out."""
    clusters = clusters or range(len(scores))
    known = [
        (s, r, family)
        for family, of, labels in zip(clusters, scores, right, strict=True)
        for s, r in zip(of, labels, strict=True)
        if s is not None
    ]
    return Worth(ratio(merged(won(scores, right), clusters)), _auroc(known), _calibration(known, bins))


def baselines(
    texts: Sequence[Sequence[str]], classes: Sequence[Sequence[Class]], logprobs: Scores
) -> dict[str, Scores]:
    """Scores that need no training, by name; those that nothing is known for are left out."""
    made: dict[str, Scores] = {
        "the shorter": [[-float(len(text)) for text in of] for of in texts],
        "the more frequent answer": [_frequency(of) for of in classes],
        "the more probable": logprobs,
    }
    return {name: scores for name, scores in made.items() if any(s is not None for of in scores for s in of)}


@dataclass(frozen=True)
class ScoreLine:
    """One kind of score of one composition's samples."""

    composition: Pair
    score: str
    worth: Worth


def score_lines(rows: Results) -> list[ScoreLine]:
    """The ranker and what it must beat, for each composition whose samples it scored."""
    found = []
    for composition, by_vote in voting(rows, least=1).items():
        of = next(iter(by_vote.values()))
        ranked: Scores = [scores_of(row)["rank"] for row in of]
        if not any(score is not None for each in ranked for score in each):
            continue
        right = [[verdict == "right" for verdict in row.verdicts] for row in of]
        free = baselines([r.solutions for r in of], [r.classes for r in of], [r.logprobs for r in of])
        for name, scores in {"ranker": ranked, **free}.items():
            decided = [_decided(each, row) for each, row in zip(scores, of, strict=True)]
            found.append(ScoreLine(composition, name, worth(decided, right, of.families)))
    return found


def _decided(scores: Sequence[float | None], row: ResultRow) -> list[float | None]:
    """Without those of solutions that nobody can call right or wrong: their comparison timed out."""
    return [None if verdict == "timed out" else s for s, verdict in zip(scores, row.verdicts, strict=True)]


class Gain(NamedTuple):
    """What a ranker adds to the vote, beside how well it tells pairs."""

    label: str
    pairs: Estimate
    gain: Estimate
    """Accuracy of the vote that it weighs, less that of the count, on the same samples."""


def gains(rows: Results) -> list[Gain]:
    """A point a composition: where `rank_1_plus` and the count both vote (the paper's figure)."""
    found = []
    told = {line.composition: line.worth for line in score_lines(rows) if line.score == "ranker"}
    for composition, by_vote in voting(rows).items():
        weighed, counted = (_of_rule(by_vote, names) for names in (("asc", "rank_1_plus"), ("sc", "count")))
        if weighed and counted and composition in told and told[composition].has_pairs:
            found.append(Gain(composition.label, told[composition].pairs, difference(*paired(weighed, counted))))
    return found


def _of_rule(by_vote: Mapping[VoteSpec, Results], names: Sequence[str]) -> Results:
    return next((rows for vote, rows in by_vote.items() if vote.rule in names), Results())


def _frequency(classes: Sequence[Class]) -> list[float]:
    counts = Counter(classes)
    return [0.0 if of is None else float(counts[of]) for of in classes]


Known = Sequence[tuple[float, bool, Hashable]]
"""A score, whether the solution is right, and which family its question is of."""


def _auroc(known: Known) -> float:
    """By the ranks of the right ones (Mann and Whitney)."""
    from scipy.stats import rankdata

    right = np.array([r for _, r, _ in known], dtype=bool)
    good, bad = int(right.sum()), int((~right).sum())
    if not good or not bad:
        return float("nan")
    ranks = rankdata([s for s, _, _ in known])
    return float((ranks[right].sum() - good * (good + 1) / 2) / (good * bad))


def _calibration(known: Known, bins: int) -> list[Bin]:
    """About equally many solutions a bin; equal scores are never parted."""
    ordered = sorted(s for s, _, _ in known)
    edges = sorted({ordered[len(ordered) * i // bins] for i in range(1, bins)}) if ordered else []
    parts: dict[int, list[tuple[float, bool, Hashable]]] = {}
    for one in known:
        parts.setdefault(bisect_right(edges, one[0]), []).append(one)
    return [_bin(parts[i]) for i in sorted(parts)]


def _bin(part: Known) -> Bin:
    """Solutions of one family are not drawn one by one."""
    of = totals([float(right) for _, right, _ in part], [family for *_, family in part])
    return Bin(sum(s for s, _, _ in part) / len(part), ratio(of), len(part))
