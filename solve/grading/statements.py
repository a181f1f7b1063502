"""Statements of an answer: what follows "the answer is", without what explains it."""

from __future__ import annotations

import re

from . import moments
from .answer_text import NUMBER, Span, last, undress
from .corrections import RETRACTS
from .numbers import is_written_number

_MARKUP = r"(?:[#*_>`~-]|<(?!/?answer)/?\w+>)"
"""Headings, emphasis and quotes of Markdown and HTML."""
_ANSWER_IS = re.compile(
    r"(?:the\s+(?:(?:final|correct|right|best)\s+)*(?:answer|option|choice)(?:\s+to\s+[^.:\n]{1,60}?|,\s+\w+,)?\s+is"
    r"|final\s+answer|<answer>"
    rf"|^(?:{_MARKUP}|[ \t\d.)(])*answer\s*{_MARKUP}*\s*(?::|$))"
    rf"\W{{0,3}}?\s*:?(?:[ \t]|{_MARKUP}(?!\d))*",
    re.IGNORECASE | re.MULTILINE,
)
_MATHEMATICS = re.compile(
    r"\$\$(.+?)\$\$|\$(?![\s])((?:\\.|[^$\n])*(?:\\.|[^$\s]))\$(?!\d)|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL
)
_TEX = re.compile(r"\\(?:text|mbox|begin|end|math[a-z]+)\s*\{[^{}]*\}|\\[A-Za-z]+")
_WORTH = re.compile(r"(?:[A-Za-z]'?\s*|[^A-Za-z=\\]+)(?:=[^A-Za-z=\\]+)+$")
"""A name, or a sum, and what it comes to."""
_SEVERAL = re.compile(r"\d[^A-Za-z]*\b(?:or|and)\b[^A-Za-z]*(?:[A-Za-z]\s*=\s*)?-?[\d.]")
SENTENCE = re.compile(r"\.(?:\s|$)")
PHRASE = re.compile(r"(?<=\w{3})\.(?:\s|$)")
"""Where a sentence ends that may hold initials."""
_EXPLAINS = re.compile(
    r"[,.;]?\s+(?:because|since|as|which|where|given\s+that|so\s+that|for\s+(?:he|she|it|they|the))\b|,?\s+i\.\s?e\b"
    r"|\s+\((?!\s*[A-Za-z]\s*\)|[^()]*\)\S)|;|\s+[-\u2013\u2014]+\s+(?=[A-Za-z])|,\s+(?:and\s+)?not\b|,\s+rather\s+than\b",
    re.IGNORECASE,
)
"""Where an explanation of a number begins."""
_EXPLAINS_WORDS = re.compile(r",?\s+because\b|,\s+(?:since|as|which|who|where|not)\b|;", re.IGNORECASE)
"""The same of an answer in words."""
_NOT_BUT = re.compile(r"\W*not\s+[^.\n]+?,?\s+but\s+(?:rather\s+)?", re.IGNORECASE)
_BEGINS = re.compile(rf"[\s*_`$(]*({NUMBER.pattern})")
_CALCULATES = re.compile(
    r"[\s$*]*(?:[-+*/^\u00d7\u00b7\u00f7]|\\times|\\cdot|x\s*\d|(?:times|plus|minus|divided|multiplied|percent\s+of|of)\b)"
    r"|\d\s*[-+*/\u00d7]"
)
_LEADS_ON = re.compile(
    r"[,:;()\[\u2013\u2014-]|\b(?:after|before|in|with|without|per|for|from|when|if|over|by|at|on|to|than|every|each)\b",
    re.IGNORECASE,
)
"""Between an answer and another number: what the other number belongs to."""
_MORE = re.compile(r"(?:\s*(?:,|;|\bor\b|\band\b)+\s*[-$]?\d[\d.,/]*)+\W*", re.IGNORECASE)
"""The other numbers of a list."""
_LETTERS = re.compile(r"[A-Za-z]{8}|[A-Za-z]+\s+[A-Za-z]+\s+[A-Za-z]+\s+[A-Za-z]+\s+[A-Za-z]+")
"""So many words before it that the mathematics may be part of a tale."""
_WORD = re.compile(r"(?<!\\)\b[A-Za-z]{2,}")


def number_in_sentence(text: str) -> Span | None:
    """Of a sentence about the answer ("she has 5 apples", "x = 5") the last number.

    Mathematics between its marks is the answer as it stands, and so is TeX, a number with its unit, or several numbers.
    """
    span = _stated(text, SENTENCE)
    if span is None:
        return None
    span = _cut_explanation(_EXPLAINS, text, span, NUMBER)
    if (marked := _marked(text, span)) is not None:
        return marked
    if (first := _first_number(text, span)) is not None:
        return first
    # A full stop that ends a sentence is not a decimal point.
    sentence = undress(text[slice(*span)])
    plain = _TEX.sub("", sentence)
    is_prose = _WORD.search(plain) is not None or _WORTH.match(sentence) is not None
    if is_prose and not is_written_number(sentence) and not _SEVERAL.search(plain):
        numbers = last(NUMBER, text[slice(*span)])
        if numbers is not None:
            return span[0] + numbers[0], span[0] + numbers[1]
    return span


def words_of_sentence(stop: re.Pattern[str], text: str) -> Span | None:
    """A statement without what explains it, and without what it is not."""
    span = _stated(text, stop)
    if span is None:
        return None
    if but := _NOT_BUT.match(text[slice(*span)]):
        span = span[0] + but.end(), span[1]
    return _cut_explanation(_EXPLAINS_WORDS, text, span)


def _first_number(text: str, span: Span) -> Span | None:
    """The number that a statement begins with, where what follows is no calculation, correction or other number of a
    list; None where it does not begin with one, or is a number with its unit as a whole."""
    sentence = text[slice(*span)]
    found = _BEGINS.match(sentence)
    if found is None or is_written_number(undress(sentence)) or moments.read(undress(sentence)) is not None:
        return None
    rest = sentence[found.end() :]
    if worth := re.match(r"[\s$*]*=([^=]*)$", rest):
        return (span[0] + found.start(1), span[0] + found.end()) if _CALCULATES.search(worth[1]) else None
    if "=" in rest or _CALCULATES.match(rest) or _MORE.fullmatch(rest) or RETRACTS.search(rest):
        return None
    if (more := NUMBER.search(rest)) and not _LEADS_ON.search(rest[: more.start()]):
        return None  # a second number, and nothing that says what it is doing there
    if "\\" in rest or re.match(r":\d|\s*:\s*\d+(?!\s*(?:times|x|\*))|[A-Za-z(^_!]|\s+to\s+\d", rest):
        return None
    return span[0] + found.start(1), span[0] + found.end()


def _marked(text: str, span: Span) -> Span | None:
    """The mathematics between marks that a statement holds; None when it holds none, or something in several places."""
    found = _MATHEMATICS.search(text, span[0])
    if found is None or found.start() > span[1] or _LETTERS.search(text[span[0] : found.start()]):
        return None
    group = found.lastindex or 0
    if _WORD.search(_TEX.sub("", found[group])):
        return None  # dollars before two amounts, and a tale between them
    return None if _MATHEMATICS.search(text, found.end(), max(span[1], found.end())) else found.span(group)


def _cut_explanation(explains: re.Pattern[str], text: str, span: Span, holds: re.Pattern[str] | None = None) -> Span:
    """A statement up to where an explanation begins, if what stands before holds an answer; a correction is none."""
    for found in explains.finditer(text[slice(*span)]):
        before = text[span[0] : span[0] + found.start()]
        if not undress(before) or (holds and not holds.search(before)):
            continue
        if RETRACTS.search(text[span[0] + found.start() : span[0] + found.end() + 25]):
            break
        return span[0], span[0] + found.start()
    return span


def _stated(text: str, stop: re.Pattern[str] = PHRASE) -> Span | None:
    """What follows the last "the answer is", to the end of the sentence."""
    found = list(_ANSWER_IS.finditer(text))
    if not found:
        return None
    begin = found[-1].end()
    line = re.match(r"\s*(?:(?<=\n)>\s*)?(.*)", text[begin:])
    if line is None or not line[1]:
        return None
    begin += line.start(1)
    return begin, begin + len(stop.split(line[1], maxsplit=1)[0])
