"""The problem behind a question of this world, made again: its computation graph and what each step comes to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from .problem import Problem
from .splits import SPLITS, problems

_ID = re.compile(rf"(?P<split>{'|'.join(SPLITS)})(?:@(?P<seed>-?\d+))?/(?P<place>\d+)")
_FURTHEST = 50_000
"""Questions of a draw that are made again at most: another data set's ids may look like these, and be anything."""


def recover(asked: Iterable[tuple[str, str]]) -> dict[str, Problem]:
    """The problems of questions, by text, from their (id, text).

    An id says from which draw a question comes, and the draw is repeated. A question of another data set, whatever its
    id, is left out: its text is not the one that is drawn.
    """
    draws: dict[tuple[str, int], dict[int, str]] = {}
    for name, text in asked:
        if (found := _ID.fullmatch(name)) and int(found["place"]) < _FURTHEST:
            draws.setdefault((found["split"], int(found["seed"] or 0)), {})[int(found["place"])] = text
    return {problem.text: problem for (split, seed), wanted in draws.items() for problem in _drawn(split, seed, wanted)}


def _drawn(split: str, seed: int, wanted: Mapping[int, str]) -> Iterable[Problem]:
    """The problems at the wanted places, up to the first whose text is another: it is not of this draw."""
    last = max(wanted)
    for place, problem in enumerate(problems(split, seed)):
        if place in wanted:
            if problem.text != wanted[place]:
                return
            yield problem
        if place == last:
            return
