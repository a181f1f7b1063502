"""When to stop sampling: rules that look at the votes so far, one after another, and combine.

They replay on stored samples, and tell how many they would have bought; nothing is generated. In a config they are
written in words, `lead 3 or fixed 6`, which `read` reads. Adding one is a function that makes a rule, and a line in
`STOPS`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import NamedTuple

from ...core.errors import ConfigError
from ..grading.grade import Class


class Vote(NamedTuple):
    """One sample, as it comes in."""

    answer: Class
    """None where it could not be read."""
    cost: float = 1.0
    """In whatever a budget is in: samples, tokens, dollars."""


Stop = Callable[[Sequence[Vote]], bool]
"""Whether these votes are enough, in the order in which they came."""


def fixed(k: int) -> Stop:
    """Stop after k samples."""
    return lambda votes: len(votes) >= k


def lead(m: int) -> Stop:
    """Stop once the leading answer is m votes ahead."""

    def stop(votes: Sequence[Vote]) -> bool:
        first, second = _first_two(votes)
        return first - second >= m

    return stop


def confident(threshold: float = 0.95) -> Stop:
    """Stop once the leading answer will probably stay ahead of the second (Adaptive-Consistency).

    P(p > 1/2) for p ~ Beta(first + 1, second + 1), of the two most frequent answers: Aggarwal et al., *Let's Sample
    Step by Step* (EMNLP 2023).
    """
    from scipy.special import betainc

    def stop(votes: Sequence[Vote]) -> bool:
        first, second = _first_two(votes)
        return first > 0 and 1 - float(betainc(first + 1, second + 1, 0.5)) >= threshold

    return stop


def window(size: int) -> Stop:
    """Stop after a window of `size` samples that all agree; windows follow one another (early-stopping SC).

    Li et al., *Escape Sky-high Cost* (ICLR 2024).
    """

    def stop(votes: Sequence[Vote]) -> bool:
        last = {vote.answer for vote in votes[-size:]}
        return len(votes) >= size and len(votes) % size == 0 and len(last) == 1 and None not in last

    return stop


def share(thresholds: Mapping[int, float]) -> Stop:
    """Stop at one of these numbers of samples if the leading answer has that share of them.

    Adaptive-Solver (2023) has {3: 1.0, 5: 0.8, 10: 0.6}. Samples that cannot be read count in the number.
    """

    def stop(votes: Sequence[Vote]) -> bool:
        wanted = thresholds.get(len(votes))
        return wanted is not None and _first_two(votes)[0] >= wanted * len(votes) - 1e-9

    return stop


def spent(budget: float) -> Stop:
    """Stop once so much was spent; the sample that passes the budget is paid for."""
    return lambda votes: sum(vote.cost for vote in votes) >= budget


def either(*rules: Stop) -> Stop:
    """Stop when one of them would."""
    return lambda votes: any(rule(votes) for rule in rules)


def both(*rules: Stop) -> Stop:
    """Stop when all of them would."""
    return lambda votes: all(rule(votes) for rule in rules)


STOPS: Mapping[str, Callable[[Sequence[str]], Stop]] = {
    "fixed": lambda said: fixed(_count(said)),
    "lead": lambda said: lead(_count(said)),
    "confident": lambda said: confident(_share(said)),
    "window": lambda said: window(_count(said)),
    "share": lambda said: share(dict(_at(pair) for pair in said)),
    "spent": lambda said: spent(_one(said)),
}
"""From the words behind a rule's name to the rule; raises ValueError when they are not its own."""


def read(said: str) -> Stop:
    """The rule in words: `lead 3`, `share 3:1 5:0.8`, joined by `and` and `or`; `and` binds more closely.

    Raises ConfigError when it is none.
    """
    if " or " in said:
        return either(*map(read, said.split(" or ")))
    if " and " in said:
        return both(*map(read, said.split(" and ")))
    name, *numbers = said.split() or [""]
    try:
        return STOPS[name](numbers)
    except (KeyError, ValueError):
        raise ConfigError(
            f"no rule {said!r} to stop by; there are fixed K, lead M, confident P, window K, share K:P ..., spent COST "
            "and these joined by and, or"
        ) from None


def _one(said: Sequence[str]) -> float:
    (number,) = said
    if not (value := float(number)) > 0:
        raise ValueError(number)
    return value


def _share(said: Sequence[str]) -> float:
    if (value := _one(said)) > 1:
        raise ValueError(value)
    return value


def _count(said: Sequence[str]) -> int:
    (number,) = said
    if (value := int(number)) < 1:
        raise ValueError(number)
    return value


def _at(pair: str) -> tuple[int, float]:
    at, _, wanted = pair.partition(":")
    return _count([at]), _share([wanted])


def bought(votes: Sequence[Vote], stop: Stop) -> int:
    """How many of these samples a rule would have bought: all, if it never stops."""
    return next((n for n in count(1) if n >= len(votes) or stop(votes[:n])), 0) if votes else 0


def _first_two(votes: Sequence[Vote]) -> tuple[int, int]:
    """How many votes the two most frequent answers have."""
    counts = Counter(vote.answer for vote in votes if vote.answer is not None).most_common(2)
    first, second = ([n for _, n in counts] + [0, 0])[:2]
    return first, second
