"""Corrections of an answer: "No, it is 6", "Scratch that, 8"."""

from __future__ import annotations

import re

from .answer_text import NUMBER, Span, undress
from .numbers import is_written_number

RETRACTS = re.compile(
    r"\b(?:no|wait|actually|sorry|correction|hmm+|oops|scratch\s+that|on\s+second\s+thought|mistake|wrong|incorrect"
    r"|not\s+(?:right|correct))\b",
    re.IGNORECASE,
)
_IT_IS = re.compile(
    r"\b(?:correction\s*:|make\s+that|i\s+mean(?:t)?|(?:it|this|that)(?:'s|\u2019s|\s+is|\s+should\s+be|\s+must\s+be)"
    r"|should\s+(?:be|have\s+been))\s*:?\s*(?=\S)(?!(?:not|wrong|incorrect|right|correct|a|the|because)\b)",
    re.IGNORECASE,
)
"""What a correction is introduced by."""
_AT_ONCE = re.compile(
    r"(?:\b(?:no|wait|actually|oops|sorry|scratch\s+that|correction)\b[\s,:.-]*)+(?=[-$]?\d)", re.IGNORECASE
)
"""A correction that is the number alone."""
_NEGATED = re.compile(r"\W*(?:is\s+)?not\b(?!.*\bbut\b)", re.IGNORECASE | re.DOTALL)
_SENTENCE = re.compile(r"\.(?:\s|$)")


def corrected(text: str, span: Span, pattern: re.Pattern[str] | None) -> Span:
    """What a correction behind an answer replaces it by; the answer, where there is none."""
    behind = text[span[1] :]
    negated = _NEGATED.match(text[slice(*span)]) or re.search(r"\bnot\s+\W*$", text[max(0, span[0] - 12) : span[0]])
    retracted = RETRACTS.search(behind[:200])
    starts = retracted is not None and re.fullmatch(
        r"[\W]*(?:[^.!?\n]{0,40}[.!?\n]\W*)?(?:\w+['\u2019]?\w*\s+){0,4}", behind[: retracted.start()]
    )
    if not (negated or starts):
        return span
    ways = (_IT_IS, _AT_ONCE) if pattern is NUMBER else (_IT_IS,)
    every = sorted((match for way in ways for match in way.finditer(behind)), key=lambda match: match.end())
    found = [match for match in every if negated or retracted is None or match.end() > retracted.start()]
    for match in reversed(found):
        begin = span[1] + match.end()
        line = re.match(r".*", text[begin:])
        sentence = _SENTENCE.split(line[0] if line else "", maxsplit=1)[0]
        told = _number_in(text, (begin, begin + len(sentence))) if pattern is NUMBER else (begin, begin + len(sentence))
        if told is not None and undress(text[slice(*told)]):
            return told
    return span


def _number_in(text: str, span: Span) -> Span | None:
    """A number that a correction begins with, in words or without."""
    sentence = text[slice(*span)]
    if is_written_number(undress(sentence)):
        return span
    found = NUMBER.search(sentence)
    if found is None or found.start() > 20:
        return None
    return span[0] + found.start(), span[0] + found.end()
