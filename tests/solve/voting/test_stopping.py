"""When sampling stops."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from divcon.core.errors import ConfigError
from divcon.solve.voting.stopping import (
    Stop,
    Vote,
    both,
    bought,
    confident,
    either,
    fixed,
    lead,
    read,
    share,
    spent,
    window,
)


def votes(said: str) -> list[Vote]:
    """A letter an answer, `-` one that cannot be read."""
    return [Vote(None if letter == "-" else ord(letter)) for letter in said]


@pytest.mark.parametrize(
    ("stop", "said", "expected"),
    [
        (fixed(3), "ABCA", 3),
        (fixed(9), "ABCA", 4),
        (lead(2), "AA", 2),
        (lead(2), "ABAA", 4),
        (lead(2), "AB-BB", 5),
        (window(2), "AABB", 2),
        (window(2), "ABBB", 4),
        (window(2), "--AA", 4),
        (window(3), "AABBB", 5),
        (share({1: 1.1, 3: 1.0, 5: 0.8}), "AAAAA", 3),
        (share({3: 1.0, 5: 0.8}), "AABAAAA", 5),
        (share({3: 1.0, 5: 0.8}), "AAB-AA", 6),
        (spent(2.5), "ABCD", 3),
        (either(lead(3), fixed(2)), "AAAA", 2),
        (both(lead(3), fixed(2)), "AAAA", 3),
        (fixed(1), "", 0),
    ],
)
def test_each_rule_by_hand(stop: Stop, said: str, expected: int) -> None:
    assert bought(votes(said), stop) == expected


def test_confidence_is_the_beta_posteriors() -> None:
    for first, second in ((4, 0), (3, 0), (5, 1), (2, 2)):
        certain = 1 - beta(first + 1, second + 1).cdf(0.5)
        assert confident(0.95)(votes("A" * first + "B" * second)) == (certain >= 0.95)
    assert not confident(0.01)([]) and bought(votes("AAAAAAAA"), confident()) == 4


@given(st.text("AB-", max_size=12), st.sampled_from(["fixed", "lead", "window"]), st.integers(1, 6))
def test_nothing_is_bought_beyond_what_was_stored_and_a_prefix_stops_alike(said: str, name: str, n: int) -> None:
    stop = read(f"{name} {n}")
    k = bought(votes(said), stop)
    assert k <= len(said) and bought(votes(said[:k]), stop) == k


@pytest.mark.parametrize(
    ("words", "said", "expected"),
    [
        ("lead 2", "ABAA", 4),
        ("lead 2 or fixed 3", "ABAA", 3),
        ("lead 2 and fixed 3", "AAAA", 3),
        ("fixed 4 or lead 1 and fixed 2", "ABAA", 3),  # `and` binds more closely
        ("share 3:1 5:0.8", "AABAA", 5),
        ("confident 0.95", "AAAAA", 4),
        ("spent 2", "AAAA", 2),
    ],
)
def test_rules_in_words(words: str, said: str, expected: int) -> None:
    assert bought(votes(said), read(words)) == expected


@pytest.mark.parametrize(
    "words", ["", "lead", "lead two", "lead 0", "lead 1 2", "ahead 3", "share 3", "fixed 1 or", "confident nan"]
)
def test_words_that_are_no_rule_are_refused(words: str) -> None:
    with pytest.raises(ConfigError, match=r"no rule .* to stop by; there are fixed K, lead M"):
        read(words)
