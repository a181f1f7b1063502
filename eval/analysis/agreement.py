"""How well one verdict foretells another: AUROC and Cohen's kappa, with intervals over questions.

Decompositions of one question by several decomposers are not drawn one by one: the bootstrap draws questions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ...distill.ranker.pairs import won
from ...tasks.miniature.problem import Problem
from ..grid.rows import QuestionKey, ResultRow, Results
from ..grid_spec import DecomposerSpec, UseModel, UseStudent, parse_decomposer
from ..stats.clusters import merged
from ..stats.intervals import Estimate, ratio
from .decomposition_quality import MEASURES, measured
from .errors import SOLVING, Cause, Swapped, attribution, gold_problems, paired_with_gold, swapped

_DRAWS, _FEWER = 2_000, 400
_MANY = 1_000
"""Questions of which fewer draws are made: each takes the square of the questions, and they tell more."""
Array = npt.NDArray[np.float64]
Key = Hashable
"""Which question a case is of."""


def auroc(scores: Sequence[float], labels: Sequence[bool], questions: Sequence[Key], seed: int = 0) -> Estimate:
    """How often a case that is so scores higher than one that is not; equal scores count a half (Mann and Whitney).

    With the percentile bootstrap's 95 % interval over questions. Not a number, and everything, where all are alike.
    """
    of = _numbered(questions)
    is_so = np.asarray(labels, dtype=bool)
    value = np.asarray(scores, dtype=np.float64)
    if is_so.all() or not is_so.any():
        return Estimate(float("nan"), 0.0, 1.0)
    higher, lower = value[is_so][:, None], value[~is_so][None, :]
    wins = (higher > lower) + 0.5 * (higher == lower)
    clusters = int(of.max()) + 1
    where = of[is_so][:, None] * clusters + of[~is_so][None, :]
    won = np.bincount(where.ravel(), wins.ravel(), clusters**2).reshape(clusters, clusters)
    so = np.bincount(of[is_so], minlength=clusters)
    others = np.bincount(of[~is_so], minlength=clusters)

    def statistic(weights: Array) -> Array:
        pairs = (weights @ so) * (weights @ others)
        above = ((weights @ won) * weights).sum(1)
        return _ratio(above, pairs)

    return _bootstrap(statistic, clusters, seed)


def kappa(pairs: Sequence[tuple[bool, bool]], questions: Sequence[Key], seed: int = 0) -> Estimate:
    """Cohen's kappa (1960) of two verdicts on the same cases, with the bootstrap's 95 % interval over questions.

    Not a number where chance agreement is certain, because both verdicts are always the same one.
    """
    if not pairs:
        return Estimate(float("nan"), -1.0, 1.0)
    of = _numbered(questions)
    clusters = int(of.max()) + 1
    counts = np.zeros((clusters, 4))
    np.add.at(counts, (of, np.array([2 * one + other for one, other in pairs])), 1.0)

    def statistic(weights: Array) -> Array:
        shares = weights @ counts
        shares = shares / np.maximum(shares.sum(1, keepdims=True), 1e-300)
        neither, second, first, both = shares.T
        chance = (first + both) * (second + both) + (neither + second) * (neither + first)
        agree = neither + both
        return _ratio(agree - chance, 1 - chance)

    return _bootstrap(statistic, clusters, seed, (-1.0, 1.0))


def _bootstrap(
    statistic: Callable[[Array], Array], clusters: int, seed: int, everything: tuple[float, float] = (0.0, 1.0)
) -> Estimate:
    """Of a statistic of how often each cluster is drawn; draws in which it is not defined are left out."""
    value = float(statistic(np.ones((1, clusters)))[0])
    found = statistic(_drawn(clusters, seed))
    found = found[~np.isnan(found)]
    if np.isnan(value) or not len(found) or clusters < 2:
        return Estimate(value, *everything)
    low, high = np.quantile(found, [0.025, 0.975])
    return Estimate(value, min(value, float(low)), max(value, float(high)))


@lru_cache(maxsize=4)
def _drawn(clusters: int, seed: int) -> Array:
    """How often each cluster is drawn, draw by draw; many statistics of one run share them."""
    draws = _DRAWS if clusters <= _MANY else _FEWER
    drawn = np.random.default_rng([seed, clusters]).multinomial(clusters, np.full(clusters, 1 / clusters), draws)
    return drawn.astype(np.float64)


def _ratio(above: Array, below: Array) -> Array:
    """Not a number where there is nothing to divide by."""
    found: Array = np.divide(above, below, out=np.full(len(above), np.nan), where=below > 1e-12)
    return found


def _numbered(questions: Sequence[Key]) -> npt.NDArray[np.int64]:
    place = {question: i for i, question in enumerate(dict.fromkeys(questions))}
    return np.array([place[question] for question in questions], dtype=np.int64)


# -- measures that need no gold, held against it -----------------------------------------------------------------------


@dataclass(frozen=True)
class MeasureLine:
    """What a measure without gold says of what gold says."""

    measure: str
    decomposer: str
    """One, or all that are asked together."""
    decompositions: int
    """With sub-questions and a known measure; others say nothing to it."""
    right: int
    auroc: Estimate
    """How often a right decomposition has more of it than a wrong one."""
    pairs: Estimate
    """How often the right one of a right and a wrong decomposition of one question has more of it: a measure gains
    nothing here from knowing which questions are easy. Not a number where no two such met."""
    varies: bool
    """Whether it is not the same for all."""


ALL = "all"


def _is_models(decomposer: DecomposerSpec) -> bool:
    """Whether its decompositions are a model's own, written without having heard an answer."""
    return isinstance(decomposer, UseModel | UseStudent)


def measure_lines(rows: Results) -> list[MeasureLine]:
    """Each measure over the decompositions that models wrote and gold can judge: all together, then each decomposer's.

    Controls (another question's, the first few) are left out: they are wrong on purpose. So are those that were asked
    one at a time: they hang on the solver's answers. A decomposer that is always
    right, or never, has no line.
    """
    of = {
        name: own.where(lambda row: bool(row.subquestions) and row.decomposition_right is not None)
        for name, own in rows.by_decomposer.items()
        if _is_models(parse_decomposer(name))
    }
    together = {ALL: Results(row for own in of.values() for row in own), **of}
    found = [_measure_line(name, measure, own) for name, own in together.items() for measure in MEASURES]
    return [line for line in found if 0 < line.right < line.decompositions and line.varies]


def _measure_line(decomposer: str, measure: str, rows: Results) -> MeasureLine:
    known = [(value, row) for row in rows if (value := measured(row, measure)) is not None]
    right = [bool(row.decomposition_right) for _, row in known]
    where = [row.cluster for _, row in known]
    values = [value for value, _ in known]
    told = auroc(values, right, where) if known else _NO
    return MeasureLine(measure, decomposer, len(known), sum(right), told, _pairs(known), len(set(values)) > 1)


def _pairs(known: Sequence[tuple[float, ResultRow]]) -> Estimate:
    scores: dict[QuestionKey, list[float]] = {}
    right: dict[QuestionKey, list[bool]] = {}
    family: dict[QuestionKey, str] = {}
    for value, row in known:
        where = row.key
        scores.setdefault(where, []).append(value)
        right.setdefault(where, []).append(bool(row.decomposition_right))
        family[where] = row.cluster
    return ratio(merged(won(list(scores.values()), list(right.values())), list(family.values())))


_NO = Estimate(float("nan"), 0.0, 1.0)


@dataclass(frozen=True)
class BlameLine:
    """Whether a measure tells wrong answers that are put down to the decomposition from other wrong answers."""

    measure: str
    solver: str
    vote: str
    wrong: int
    """Wrong answers with sub-questions, a known cause and a known measure."""
    blamed: int
    """Those whose decomposition was wrong, by gold steps."""
    auroc: Estimate
    """How often a blamed one has more of the measure than another."""
    varies: bool
    """Whether the measure is not the same for all."""


def blame_lines(rows: Results, problems: Mapping[str, Problem] | None = None) -> list[BlameLine]:
    """For each solver and vote and each measure, over the decompositions that models wrote."""
    problems = gold_problems(rows) if problems is None else problems
    wrong: dict[tuple[str, str], list[tuple[ResultRow, Cause]]] = {}
    for cell, of_cell in rows.by_cell.items():
        if not _is_models(cell.decomposer):
            continue
        for row in of_cell:
            made = attribution(row, problems[row.question]) if row.question in problems else None
            if made and row.subquestions and made.cause in ("decomposition", *SOLVING):
                wrong.setdefault(cell.names[1:], []).append((row, made.cause))
    found = [_blame_line(measure, *of, cases) for of, cases in wrong.items() for measure in MEASURES]
    return [line for line in found if 0 < line.blamed < line.wrong and line.varies]


def _blame_line(measure: str, solver: str, vote: str, cases: Sequence[tuple[ResultRow, Cause]]) -> BlameLine:
    known = [(value, row, cause) for row, cause in cases if (value := measured(row, measure)) is not None]
    blamed = [cause == "decomposition" for *_, cause in known]
    where = [row.cluster for _, row, _ in known]
    values = [value for value, *_ in known]
    told = auroc(values, blamed, where) if known else _NO
    return BlameLine(measure, solver, vote, len(known), sum(blamed), told, len(set(values)) > 1)


# -- both views of where errors come from ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Views:
    """One solver's answers by gold steps and by substitution, over the decompositions that models wrote."""

    solver: str
    vote: str
    counts: Mapping[tuple[Cause, Swapped], int]
    """Of all answers."""
    crossed: tuple[int, int, int, int]
    """Wrong answers whose steps can be read: both views blame the decomposition, both the solving; steps blame the
    decomposition and gold does not help; steps blame the solving and gold helps."""
    share: Estimate
    """Of these, how many the views agree on; the interval is over questions."""
    kappa: Estimate
    """Cohen's, of the two views on these."""

    @property
    def both(self) -> int:
        return sum(self.crossed)


def views(rows: Results, problems: Mapping[str, Problem] | None = None) -> list[Views]:
    """For each solver and vote that also stands behind gold sub-questions, where gold steps are known.

    A solver that writes no steps, and so is never blamed by them, has no line.
    """
    problems = gold_problems(rows) if problems is None else problems
    cases: dict[tuple[str, str], list[tuple[Cause, Swapped, str]]] = {}
    for cell, pairs in paired_with_gold(rows).items():
        if not _is_models(cell.decomposer):
            continue
        for row, gold in pairs:
            made = attribution(row, problems[row.question]) if row.question in problems else None
            beside = swapped(row, gold)
            if made and beside:
                cases.setdefault(cell.names[1:], []).append((made.cause, beside, row.cluster))
    return [_views(*of, found) for of, found in cases.items() if any(cause in SOLVING for cause, *_ in found)]


def _views(solver: str, vote: str, cases: Sequence[tuple[Cause, Swapped, str]]) -> Views:
    told = [case for case in cases if case[0] in ("decomposition", *SOLVING)]
    pairs = [(cause == "decomposition", beside == "decomposition") for cause, beside, _ in told]
    counts = Counter(pairs)
    agreed: dict[str, list[bool]] = {}
    for (one, other), (*_, where) in zip(pairs, told, strict=True):
        agreed.setdefault(where, []).append(one == other)
    return Views(
        solver,
        vote,
        Counter((cause, beside) for cause, beside, _ in cases),
        (counts[True, True], counts[False, False], counts[True, False], counts[False, True]),
        ratio([(float(sum(of)), float(len(of))) for of in agreed.values()]),
        kappa(pairs, [where for *_, where in told]),
    )
