"""Answers within texts: where they stand, what they look like, and what is no part of them."""

from __future__ import annotations

import re

from ...tasks.boxed import last_boxed

Span = tuple[int, int]
"""Where an answer stands in a text."""
NUMBER = re.compile(r"(?:\b(?:negative|minus)\s+)?[-−]?\$?\d(?:[\d,]*\d)?(?:\.\d+)?(?:\s*/\s*\d+)?%?|[-−]?\$?\.\d+%?")
CHOSEN = re.compile(r"\([A-Z]\)")
"""A choice that a sentence names."""


def last(pattern: re.Pattern[str], text: str) -> Span | None:
    found = list(pattern.finditer(text))
    return found[-1].span(found[-1].lastindex or 0) if found else None


def undress(answer: str) -> str:
    """Without markdown emphasis, inline mathematics, quotes and a closing full stop."""
    answer = re.sub(r"</?[A-Za-z]\w*>", "", answer).replace("**", "").strip().strip("*_`\"'“”").strip()
    answer = re.sub(r"^(?:\\\(|\\\[|\$(?=.*\$$))\s*(.*?)\s*(?:\\\)|\\\]|\$)$", r"\1", answer)
    if (inner := last_boxed(answer)) is not None:
        answer = answer[slice(*inner)]
    answer = re.sub(r"^(?:about|approximately|roughly|around)\s+(?=[$\d])", "", answer, flags=re.IGNORECASE)
    return answer.rstrip(".").strip().strip("*_`\"'“”").strip()
