"""Differences over seeds and questions, which are crossed: what another training on other questions would show."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Literal, NamedTuple

import numpy as np

from .clusters import Clusters, are_independent, spread, totals
from .intervals import Estimate, holm, of_changes
from .paired import Array, p_of_changes

FEWEST_SEEDS = 5
"""Seeds below which a p-value over seeds says less than it seems to (docs/explanation/statistics.md)."""


class Tested(NamedTuple):
    """A mean difference, and how probable one as large is where there is none."""

    estimate: Estimate
    p: float | None
    """None where there are too few seeds to say."""
    over: Literal["seeds and questions", "questions"]
    """What the interval and the p-value are for: other ones of these."""


def crossed(differences: Sequence[Sequence[float]], clusters: Clusters | None = None) -> Tested:
    """The mean of differences (seeds, questions), for other seeds and other questions than these.

    Seeds and questions are crossed random effects: the mean's variance is (MS_seeds + MS_questions - MS_rest) / (seeds
    x questions), its degrees of freedom are Satterthwaite's (1946; Brennan, *Generalizability Theory*, 2001, 6.1).
    Where questions come in `clusters`, these take the place of questions: a cluster counts with what its questions'
    differences sum to beyond the mean. With one seed, or where no difference varies, interval and p-value are those for
    questions alone, of the means over seeds. Below five seeds there is no p-value over seeds.
    """
    from scipy.special import stdtr, stdtrit

    each = np.asarray(differences, dtype=np.float64)
    means = each.mean(0).tolist()
    d, of_questions = each, float(each.shape[1] - 1)
    if clusters is not None and not are_independent(clusters):
        d, of_questions = _by_cluster(each, clusters), spread(totals(means, clusters)).freedom
    total, freedom = _crossed_variance(d, of_questions)
    if (
        (each == each[0]).all() or total <= 1e-20 * float(abs(d).max()) ** 2 or d.shape[1] == 1
    ):  # one seed, or seeds that decide nothing
        return Tested(of_changes(means, clusters), p_of_changes(means, clusters), "questions")
    mean, error = float(each.mean()), sqrt(total / d.size)
    half = float(stdtrit(freedom, 0.975)) * error
    p = float(2 * stdtr(freedom, -abs(mean) / error)) if len(d) >= FEWEST_SEEDS else None
    return Tested(Estimate(mean, max(-1.0, mean - half), min(1.0, mean + half)), p, "seeds and questions")


def _crossed_variance(d: Array, of_questions_alone: float) -> tuple[float, float]:
    """Seeds x questions times the mean's variance, and its degrees of freedom.

    `of_questions_alone` are those of questions, or of clusters, which are fewer where their sizes differ.
    """
    seeds, questions = d.shape
    mean = float(d.mean())
    of_seeds, of_questions = d.mean(1, keepdims=True), d.mean(0, keepdims=True)
    squares = {
        "questions": (seeds * float(((of_questions - mean) ** 2).sum()), questions - 1),
        "seeds": (questions * float(((of_seeds - mean) ** 2).sum()), seeds - 1),
        "rest": (float(((d - of_seeds - of_questions + mean) ** 2).sum()), (seeds - 1) * (questions - 1)),
    }
    means = {name: (square / df if df else 0.0, df) for name, (square, df) in squares.items()}
    # Where the parts' sum falls below the larger part, chance has made the rest too large: the larger part stands.
    total = max(sum(-m if name == "rest" else m for name, (m, _) in means.items()), *(m for m, _ in means.values()))
    means["questions"] = (means["questions"][0], of_questions_alone)
    below = sum(m**2 / df for m, df in means.values() if df)
    return total, total**2 / below if below else 1.0


def _by_cluster(d: Array, clusters: Clusters) -> Array:
    """Differences (seeds, clusters) with the same mean, whose variance over clusters is the linearised one."""
    names = list(dict.fromkeys(clusters))
    places = {name: place for place, name in enumerate(names)}
    member = np.zeros((d.shape[1], len(names)))
    member[np.arange(d.shape[1]), [places[name] for name in clusters]] = 1.0
    mean = d.mean()
    of_clusters: Array = mean + len(names) / d.shape[1] * ((d - mean) @ member)
    return of_clusters


def adjusted_over_known(found: Sequence[Tested]) -> list[float | None]:
    """Holm's adjustment over those of a family that have a p-value; the others have none."""
    adjusted = iter(holm([tested.p for tested in found if tested.p is not None]))
    return [None if tested.p is None else next(adjusted) for tested in found]
