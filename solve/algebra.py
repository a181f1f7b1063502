"""Equality of mathematical answers, the cheap ways first: by their values, then by computer algebra."""

from __future__ import annotations

from collections.abc import Sequence

from .checks import CHECKS, Pair
from .latex import tidy
from .limits import explosive
from .value import differ


def equal(pairs: Sequence[Pair]) -> list[bool | None]:
    """Whether the two answers of each pair are equal; None where finding out would take too much, or did. Symmetric.

    Values only tell answers apart; that two are equal is for `math-verify` to say.
    """
    found: list[bool | None] = [_told_apart(one, other) for one, other in pairs]
    hard = [i for i, same in enumerate(found) if same is None and not any(map(explosive, pairs[i]))]
    for i, same in zip(hard, CHECKS([pairs[i] for i in hard]), strict=True):
        found[i] = same
    return found


def _told_apart(one: str, other: str) -> bool | None:
    """False when the answers are clearly different, else None. A percentage may be meant as a number or as a share."""
    if "%" in one or "%" in other:
        return None
    return False if differ(tidy(one), tidy(other)) else None
