"""One spelling for answers in words: a choice, a yes or no, a short phrase."""

from __future__ import annotations

import re

_DRESS = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf)\s*\{([^{}]*)\}")
_NOT = re.compile(r"\b(?:not|isn't|rather than)\s+\(?[A-E]\)?(?![a-z])", re.IGNORECASE)
_MARKED = re.compile(r"\(\s*([A-E])\s*\)|\b(?:option|choice|answer)\s+([A-E])(?![A-Za-z])", re.IGNORECASE)
_LEADING = re.compile(r"^\W*([A-E])(?:\W*$|[).:,]|\s+(?:because|since|as|is|and|or|-))(.*)", re.IGNORECASE | re.DOTALL)
_ALSO = re.compile(r"(?<![A-Za-z])([A-E])(?:[).:,]|\W*$)")
_YES = frozenset({"yes", "true", "correct"})
_NO = frozenset({"no", "false", "incorrect"})
SAID = re.compile(r"(?:(?:^|[.!?:])\W*|\b(?:so|thus|hence|therefore)\W+)(yes|no)\b(?!\s+\w+\s+that)", re.I | re.M)
"""A yes or no that a sentence begins with."""
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")


def choice(answer: str) -> str:
    """The letter A to E that an answer chooses; empty when it chooses none, or two."""
    text = _NOT.sub("", _DRESS.sub(r"\1", answer)).strip()
    found = {(inside or named).upper() for inside, named in _MARKED.findall(text)}
    if not found and (leading := _LEADING.match(text)):
        found = {leading[1].upper(), *_ALSO.findall(leading[2])}
    return found.pop() if len(found) == 1 else ""


def yes_no(answer: str) -> str:
    """`yes` or `no`, where an answer begins with it or holds only one of them; empty for anything else."""
    said = [_one(word) for word in re.findall(r"[a-z]+", _DRESS.sub(r"\1", answer).lower())]
    others = [word for word in said if word]
    if set(others) == {"yes", "no"} and " or " in answer.lower():
        return ""
    if said and said[0]:
        return said[0]
    return others[0] if len(set(others)) == 1 and len(said) <= _SHORT else ""


_SHORT = 4
"""Words of an answer in which a "no" is one, and not part of what is told."""


def _one(word: str) -> str:
    return "yes" if word in _YES else "no" if word in _NO else ""


def phrase(answer: str) -> str:
    """Lower case, without articles and punctuation but for what belongs to a number."""
    text = re.sub(r"(?<=\w)['\u2019](?=\w)", "", answer.lower())
    text = re.sub(r"(?!(?<=\d)[.,](?=\d)|(?<!\w)-(?=\d))[^\w\s]", " ", text).replace(",", "")
    return " ".join(_ARTICLE.sub(" ", text).split()) or " ".join(text.split())
