"""One spelling for answers in words: a choice, a yes or no, a short phrase."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase

from . import moments
from .extract import undress
from .unicode_math import letters

_DRESS = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mbox|boxed)\s*\{([^{}]*)\}")
_LETTER = r"[A-Z]"
_NOT = re.compile(
    rf"\b(?:not|isn't|rather\s+than|instead\s+of|nor)\s+(?:option|choice|answer)?\s*[(\[]?{_LETTER}\b[)\]]?", re.I
)
_REASON = re.compile(
    r"(?:,|;|\.)?\s+(?:because|since|as|so\s+that|whereas|while|given)\s+.*", re.IGNORECASE | re.DOTALL
)
_MARKED = re.compile(
    rf"[(\[]\s*({_LETTER})\s*[)\]]|\b(?:option|choice|answer|letter)\s*:?\s+({_LETTER})(?![A-Za-z'])", re.I
)
_NAMED = re.compile(
    rf"\b(?:choose|pick|select|answer\s+is|choice\s+is|option\s+is|answer\s*:|is)\s*:?\s*({_LETTER})(?:\W*$|[).:,;])",
    re.I,
)
_LEADING = re.compile(
    rf"^\W*({_LETTER})(?:\W*$|[).:,\]]|\s+(?:is|was)\s+(?:the\s+)?(?:only\s+)?(?:correct|right|best|true|answer)\b"
    rf"|\s+(?:and|or|-)(?=\W))(.*)",
    re.IGNORECASE | re.DOTALL,
)
_ALSO = re.compile(rf"(?<![A-Za-z'])({_LETTER})(?:[).:,]|\W*$)")
_YES = frozenset({"yes", "true", "correct", "yeah", "yep"})
_NO = frozenset({"no", "false", "incorrect", "nope"})
_OPPOSITE = {"yes": "no", "no": "yes"}
SAID = re.compile(r"(?:(?:^|[.!?:])\W*|\b(?:so|thus|hence|therefore)\W+)(yes|no)\b(?!\s+\w+\s+that)", re.I | re.M)
"""A yes or no that a sentence begins with."""
CHOSEN = re.compile(r"\([A-Z]\)")
"""A choice that a sentence names."""
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_SHORT = 4
"""Words of an answer in which a "no" is one, and not part of what is told."""


def choice(answer: str, choices: Sequence[str] = ()) -> str:
    """The letter that an answer chooses; empty when it chooses none, or two.

    `choices` are the texts to choose from: they bound the letters, and an answer that is one of them chooses it.
    """
    allowed = ascii_uppercase[: len(choices)] if choices else ascii_uppercase
    text = _plain(answer)
    if same := [letter for letter, each in zip(allowed, choices, strict=False) if phrase(each) == phrase(text)]:
        return same[0] if len(same) == 1 else ""
    text = _NOT.sub("", text)
    found = _named(text) or _named(_REASON.sub("", text))
    return found.pop() if len(found) == 1 and found <= set(allowed) else ""


def _named(text: str) -> set[str]:
    """The letters that a text names as its choice."""
    before_reasons = _REASON.sub("", text)
    found = {(inside or named).upper() for inside, named in _MARKED.findall(before_reasons)}
    if not found and (leading := _LEADING.match(before_reasons)):
        found = {leading[1].upper(), *(letter.upper() for letter in _ALSO.findall(leading[2]))}
    if not found:
        found = {letter.upper() for letter in _NAMED.findall(before_reasons)}
    return found


def _plain(answer: str) -> str:
    """Without LaTeX, emphasis and mathematics marks."""
    text = undress(letters(answer))
    while (inner := _DRESS.sub(r"\1", text)) != text:
        text = inner
    return text.strip().strip("$").strip()


def yes_no(answer: str) -> str:
    """`yes` or `no`, where an answer begins with it or holds only one of them; empty for anything else."""
    words = re.findall(r"[a-z]+(?:n't)?", _plain(answer).lower().replace("\u2019", "'"))
    said = [(_one(word), word) for word in words]
    others = {one for one, _ in said if one}
    if others == {"yes", "no"} and " or " in answer.lower():
        return ""
    if said and said[0][0]:
        return said[0][0]
    if len(others) != 1 or len(said) > _SHORT:
        return ""
    found = others.pop()
    return _OPPOSITE[found] if any(word == "not" or word.endswith("n't") for word in words) else found


def _one(word: str) -> str:
    return "yes" if word in _YES else "no" if word in _NO else ""


def phrase(answer: str) -> str:
    """Lower case, composed accents, without articles and punctuation but for what belongs to a number; a date or a time
    in one spelling."""
    plain = _plain(answer)
    if (moment := moments.read(plain)) is not None and not str(moment).endswith("?"):
        return str(moment)
    text = re.sub(r"(?<=\w)['\u2019](?=\w)", "", plain.casefold())
    text = re.sub(r"(?!(?<=\d)[.,](?=\d)|(?<!\w)-(?=\d))[^\w\s]", " ", text).replace(",", "")
    return " ".join(_ARTICLE.sub(" ", text).split()) or " ".join(text.split())
