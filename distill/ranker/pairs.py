"""Pairs of a right and a wrong solution of one question: what a ranker is trained and measured on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Labels = Sequence[bool]
Scores = Sequence[Sequence[float | None]]
"""A score of every solution, question by question; None where there is none."""


def won(scores: Scores, right: Sequence[Labels]) -> list[tuple[float, int]]:
    """Of each question: in how many pairs the right solution scores higher, and how many pairs there are.

    Equal scores count a half; what has no score is in no pair.
    """
    found = []
    for of, labels in zip(scores, right, strict=True):
        given = np.array([np.nan if s is None else s for s in of], dtype=float)
        good, bad = given[np.array(labels, dtype=bool)], given[~np.array(labels, dtype=bool)]
        apart = good[~np.isnan(good)][:, None] - bad[~np.isnan(bad)][None, :]
        found.append((float((apart > 0).sum() + (apart == 0).sum() / 2), int(apart.size)))
    return found


def pair_accuracy(scores: Scores, right: Sequence[Labels]) -> float:
    """The share of all pairs in which the right solution scores higher; not a number where there is no pair."""
    of_questions = won(scores, right)
    pairs = sum(count for _, count in of_questions)
    return sum(wins for wins, _ in of_questions) / pairs if pairs else float("nan")
