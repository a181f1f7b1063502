"""One spelling for answers in words: a choice, a yes or no, a short phrase."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase

from . import moments
from .answer_text import undress
from .unicode_math import letters

_DRESS = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mbox|boxed)\s*\{([^{}]*)\}")
_NOT = re.compile(
    r"\b(?:not|isn't|rather\s+than|instead\s+of|nor)\s+(?:option|choice|answer)?\s*[(\[]?[A-Z]\b[)\]]?", re.IGNORECASE
)
_REASON = re.compile(
    r"(?:,|;|\.)?\s+(?:because|since|as|so\s+that|whereas|while|given)\s+.*", re.IGNORECASE | re.DOTALL
)
_LEADING = re.compile(
    r"^\W*(?-i:([A-Z])|([a-z])(?=\W*$|[).:\]]))"
    r"(?:\W*$|\s*[).:,;\]\u2013\u2014-]|\s+[(\u2013\u2014-]|\s+(?:is|was)\s+(?:the\s+)?(?:only\s+)?(?:correct|right|best|true|answer)\b"
    r"|\s+(?=(?:and|or)\s))(.*)",
    re.IGNORECASE | re.DOTALL,
)
_ANOTHER = re.compile(r"^\W*(?:and|or|,|/)\W*\b[A-Z]\b(?=\W*(?:$|,|\?|\bor\b|\band\b))")
"""A second letter of the same rank: `A or B`."""
_MARKED = re.compile(
    r"[(\[]\s*([A-Z])\s*[)\]]|\b(?:option|choice|answer|letter)\s*:?\s+([A-Z])(?![A-Za-z'])", re.IGNORECASE
)
_SAID = re.compile(
    r"(?:\b(?:is|be|it's|it\u2019s|choose|pick|select|with|therefore|thus|hence|so|definitely|clearly|surely|probably|certainly|but)"
    r"|:)[,:]?\s+(?-i:\(?([A-Z])\)?)(?:\W*$|[).:,;])",
    re.IGNORECASE,
)
_YES = frozenset({"yes", "true", "correct", "yeah", "yep"})
_NO = frozenset({"no", "false", "incorrect", "nope", "untrue"})
_OPPOSITE = {"yes": "no", "no": "yes"}
SAID = re.compile(r"(?:(?:^|[.!?:])[^\w\n]*|\b(?:so|thus|hence|therefore)\W+)(yes|no)\b(?!\s+\w+\s+that)", re.I | re.M)
"""A yes or no that a sentence begins with."""
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
    if leading := _LEADING.match(text):
        letter = (leading[1] or leading[2]).upper()
        comma = "," if text[leading.start(3) - 1] == "," else ""
        also = _ANOTHER.match(comma + leading[3])
        return {letter} if also is None else {letter, "another"}
    before_reasons = _REASON.sub("", text)
    found = {(inside or named).upper() for inside, named in _MARKED.findall(before_reasons)}
    return found or {letter.upper() for letter in _SAID.findall(before_reasons)}


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
    if others == {"yes", "no"} and re.search(
        r"\b(?:yes\W+(?:or|and)\W+no|no\W+(?:or|and)\W+yes)\b", answer, re.IGNORECASE
    ):
        return ""
    if _UNSAID.match(_plain(answer)):
        return ""
    if surely := _SURELY.fullmatch(_plain(answer).lower()):
        return "no" if surely[1] else "yes"
    if said and said[0][0]:
        return said[0][0]
    if len(others) != 1 or len(said) > _SHORT + (words[:1] == ["the"]):
        return ""
    found = others.pop()
    return _OPPOSITE[found] if any(word == "not" or word.endswith("n't") for word in words) else found


_UNSAID = re.compile(r"\W*no\s+(?:idea|clue|answer|information|conclusion|way\s+to)\b", re.IGNORECASE)
_SURELY = re.compile(r"\W*(?:of\s+course|definitely|absolutely|certainly|surely|probably|likely)(\s+not)?\W*")


def _one(word: str) -> str:
    return "yes" if word in _YES else "no" if word in _NO else ""


_SIGNS = {"+": " plus", "#": " sharp", "-": " minus"}
"""Behind a single letter: C++, C#, A-."""


def phrase(answer: str) -> str:
    """Lower case, composed accents, without articles and punctuation but for what belongs to a number; a date or a time
    in one spelling."""
    plain = _plain(answer)
    if (moment := moments.read(plain)) is not None and not str(moment).endswith("?"):
        return str(moment)
    text = re.sub(r"(?<=\w)['\u2019](?=\w)|(?<=\b[a-z])\.(?=[a-z]\b)", "", plain.casefold())
    text = re.sub(r"(?<=\b[a-z])([+#]+|-)(?=\s|$)", lambda sign: _SIGNS[sign[1][0]] * len(sign[1]), text)
    text = re.sub(r"(?!(?<=\d)[.,](?=\d)|(?<!\w)-(?=\d))[^\w\s]", " ", text).replace(",", "")
    return " ".join(_ARTICLE.sub(" ", text).split()) or " ".join(text.split())
