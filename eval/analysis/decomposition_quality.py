"""How good a decomposition is, told without a gold one: from the question and its sub-questions alone.

Words stand for a parser's nouns (docs/how-to/errors.md), so that nothing has to be downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from ..grid.rows import ResultRow, Results
from ..stats.clusters import Clusters, totals
from ..stats.intervals import Estimate, accuracy, ratio, students

_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
_APOSTROPHE = "\N{RIGHT SINGLE QUOTATION MARK}"
_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
    a about after again all also among an and another any are as at away back be because been before being between
    both but by can could did do does doing done down during each either else even ever every few first for from get
    gets getting give given gives go goes going had has have having he her here hers him his how however i if in into
    is it its itself just last least less many may might mine more most much must my neither no nor not now of off on
    once one only onto or other our out over own per same she should since so some still such than that the their
    theirs them then there these they this those though through to together too two under until up upon us very was
    we were what when where which while who whom whose why will with within without would yet you your
    """,
    )
)
"""Words that tell no question from another. What is left of a text are its names, its nouns, and its other verbs and
adjectives."""


def numbers(text: str) -> frozenset[str]:
    """The numbers that stand in digits, without their commas."""
    return frozenset(found.replace(",", "").rstrip(".") for found in _NUMBER.findall(text))


def entities(text: str) -> frozenset[str]:
    """Names and content words: all words but function words, in lower case, without the ending of a plural."""
    words = (word.lower().removesuffix("'s") for word in _WORD.findall(text.replace(_APOSTROPHE, "'")))
    return frozenset(
        _singular(word) for word in words if len(word) > 1 and "'" not in word and word not in _FUNCTION_WORDS
    )


def _singular(word: str) -> str:
    """One spelling for `box` and `boxes`, `story` and `stories`; not English, but the same for both texts."""
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch"), ("shes", "sh")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word.removesuffix(ending) + instead
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def covered_numbers(question: str, subquestions: Sequence[str]) -> float | None:
    """The share of the question's numbers that a sub-question names; None where the question has none."""
    return _covered(numbers(question), numbers(" ".join(subquestions)))


def covered_entities(question: str, subquestions: Sequence[str]) -> float | None:
    """The share of the question's names and content words that a sub-question has; None where the question has none."""
    return _covered(entities(question), entities(" ".join(subquestions)))


def likeness(question: str, subquestions: Sequence[str]) -> float | None:
    """1 - |words in one of them alone| / |words of the question|: DaSLaM's first reward (2023), but for taking nouns.

    Unlike coverage it also counts words that only the sub-questions have, and may be negative.
    """
    own, asked = entities(question), entities(" ".join(subquestions))
    return (len(own) - len(own ^ asked)) / len(own) if own else None


def redundancy(subquestions: Sequence[str]) -> float | None:
    """How much of a sub-question stands in an earlier one: the largest overlap of their words and numbers (Jaccard).

    The mean from the second sub-question on; 0 of a single one, 1 where all say the same. None without any.
    """
    if not subquestions:
        return None
    tokens = [frozenset(re.findall(r"\w+", one.lower())) for one in subquestions]
    overlaps = [max(_jaccard(one, other) for other in tokens[:place]) for place, one in enumerate(tokens) if place]
    return fmean(overlaps) if overlaps else 0.0


def _covered(wanted: frozenset[str], there: frozenset[str]) -> float | None:
    return len(wanted & there) / len(wanted) if wanted else None


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other) if one | other else 1.0


MEASURES: dict[str, Callable[[ResultRow], float | None]] = {
    "sub-questions": lambda row: float(len(row.subquestions)),
    "numbers covered": lambda row: covered_numbers(row.question, row.subquestions),
    "entities covered": lambda row: covered_entities(row.question, row.subquestions),
    "likeness": lambda row: likeness(row.question, row.subquestions),
    "redundancy": lambda row: redundancy(row.subquestions),
    "answer leaked": lambda row: float(row.leaks_answer),
    "log P(question)": lambda row: row.reconstruction and row.reconstruction.given,
    "its gain": lambda row: row.reconstruction and row.reconstruction.gain,
}
"""Of a row that has sub-questions. The last two are a reader's (`reconstruction.py`) and None where none was asked."""


def measured(row: ResultRow, measure: str) -> float | None:
    """A measure of a row's decomposition; None where it has no sub-questions, or nothing is known."""
    return MEASURES[measure](row) if row.subquestions else None


@dataclass(frozen=True)
class QualityLine:
    """What one decomposer's decompositions are like."""

    decomposer: str
    questions: int
    unreadable: Estimate
    """The share in which no sub-question could be read."""
    not_needed: Estimate
    """The share that says that none are needed; of the data set's own, the share that has none."""
    asked: int
    """Decompositions with sub-questions: what the means are over."""
    means: Mapping[str, Estimate]
    """By measure; without those that nothing is known for. A measure that is unknown for some is the others' mean."""


def quality_lines(rows: Results) -> list[QualityLine]:
    """For each decomposer that has sub-questions, over all questions."""
    return [_line(decomposer, of) for decomposer, of in rows.by_decomposer.items()]


def _line(decomposer: str, rows: Results) -> QualityLine:
    known = {name: [(v, row.cluster) for row in rows if (v := measured(row, name)) is not None] for name in MEASURES}
    return QualityLine(
        decomposer,
        len(rows),
        accuracy([float(row.decomposition_kind == "unreadable") for row in rows], rows.families),
        accuracy([float(_is_whole(row)) for row in rows], rows.families),
        sum(bool(row.subquestions) for row in rows),
        {
            name: mean([value for value, _ in of], [family for _, family in of], is_share=name in _SHARES)
            for name, of in known.items()
            if of
        },
    )


def _is_whole(row: ResultRow) -> bool:
    return row.decomposition_kind == "not needed" or (row.decomposition_kind == "given" and not row.subquestions)


_SHARES = frozenset({"numbers covered", "entities covered", "redundancy", "answer leaked"})
"""Measures between 0 and 1."""


def mean(values: Sequence[float], clusters: Clusters | None = None, *, is_share: bool = False) -> Estimate:
    """The mean with a 95 % interval: Wilson's, by how much they vary, for values between 0 and 1; else Student's.

    It is over clusters, where there are some. One value leaves its interval everything.
    """
    clusters = clusters or range(len(values))
    return ratio(totals(values, clusters)) if is_share else students(values, clusters)
