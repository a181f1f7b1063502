"""Reading the final answer out of a worked solution.

Four ways to state an answer, tried in the order of how deliberately each is written: the last `\\boxed{}`, the last
"the answer is", the last `####` line (GSM8K), and the last thing that looks like an answer: a number, for most tasks.
What explains an answer behind it is left out ("18, because 9 * 2 = 18"), and a correction replaces it ("No, it is 6").
Nothing found is None: unknown is not wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from ...tasks.boxed import last_boxed
from .numbers import number

Span = tuple[int, int]
"""Where an answer stands in a text."""

_MARKUP = r"(?:[#*_>`~-]|<(?!/?answer)/?\w+>)"
"""Headings, emphasis and quotes of Markdown and HTML."""
_ANSWER_IS = re.compile(
    r"(?:the\s+(?:final\s+|correct\s+)*answer\s+is|final\s+answer|<answer>"
    rf"|^(?:{_MARKUP}|[\s\d.)(])*answer\s*{_MARKUP}*\s*(?::|$))"
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
_HASHES = re.compile(r"####[ \t]*(.+)")
NUMBER = re.compile(r"(?:\b(?:negative|minus)\s+)?[-−]?\$?\d(?:[\d,]*\d)?(?:\.\d+)?(?:\s*/\s*\d+)?%?|[-−]?\$?\.\d+%?")
_SENTENCE = re.compile(r"\.(?:\s|$)")
_PHRASE = re.compile(r"(?<=\w{3})\.(?:\s|$)")
"""Where a sentence ends that may hold initials."""
_BETWEEN = re.compile(
    r"[\s$()\\]*(?:,|;|\band\b|\bor\b|\\text\s*\{\s*(?:,\s*)?(?:and|or)\s*\})+(?:[\s$()\\,]|\band\b|\bor\b|\\quad)*"
    r"(?:[A-Za-z](?:_\{?\w\}?)?\s*=\s*)?"
)
"""What joins two boxes to one answer."""
_EXPLAINS = re.compile(
    r"[,.;]?\s+(?:because|since|as|which|where|given\s+that|so\s+that|for\s+(?:he|she|it|they|the))\b|,?\s+i\.\s?e\b"
    r"|\s+\((?!\s*[A-Za-z]\s*\)|[^()]*\)\S)|;|\s+[-\u2013\u2014]+\s+(?=[A-Za-z])|,\s+(?:and\s+)?not\b|,\s+rather\s+than\b",
    re.IGNORECASE,
)
"""Where an explanation of a number begins."""
_EXPLAINS_WORDS = re.compile(r",?\s+because\b|,\s+(?:since|as|which|who|where|not)\b|;", re.IGNORECASE)
"""The same of an answer in words."""
_RETRACTS = re.compile(
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
_NEGATED = re.compile(r"\W*(?:is\s+)?not\b(?!.*\bbut\b)", re.IGNORECASE | re.DOTALL)
_QUALIFIES = re.compile(r"\b(?:more|less|fewer|than|least|most|or|and|not|no|between|up)\b", re.IGNORECASE)
_LETTERS = re.compile(r"[A-Za-z]{8}|[A-Za-z]+\s+[A-Za-z]+\s+[A-Za-z]+\s+[A-Za-z]+\s+[A-Za-z]+")
"""So many words before it that the mathematics may be part of a tale."""
_WORD = re.compile(r"(?<!\\)\b[A-Za-z]{2,}")


def extract(text: str, *, pattern: re.Pattern[str] | None = NUMBER, cut: bool = False) -> str | None:
    """The final answer as written, trimmed of dressing; None when there is none to be read.

    `pattern` is what answers look like where they are not marked; None takes marked ones only. `cut` says that the text
    ended at a length limit: what looks like an answer there is just where it broke off.
    """
    return next((answer for answer, _ in _candidates(text, pattern, cut)), None)


def splice(text: str, answer: str, pattern: re.Pattern[str] | None = NUMBER) -> str:
    """The solution with its final answer replaced; one without an answer, or with this one, is left as it is."""
    for found, (start, end) in _candidates(text, pattern):
        if found == answer:
            break
        inside = text.rindex(found, start, end) if found in text[start:end] else start
        return text[:inside] + answer + text[inside + len(found) if found in text[start:end] else end :]
    return text


def _candidates(text: str, pattern: re.Pattern[str] | None, cut: bool = False) -> Iterator[tuple[str, Span]]:
    stated = _stated_number if pattern is NUMBER else _stated_words
    marked = (partial(_boxed, pattern), stated, _hashed)
    for way in marked if cut or pattern is None else (*marked, partial(_last, pattern)):
        if (span := way(text)) is None:
            continue
        span = span if way is marked[2] else _corrected(text, span, pattern)
        if answer := _listed(undress(text[slice(*span)])):
            yield answer, span


def _listed(answer: str) -> str:
    """Several boxes as one list."""
    if "\\boxed{" not in answer:
        return answer
    parts = [_balanced(part) for part in re.split(r"\\boxed\s*\{", answer)]
    return ", ".join(dict.fromkeys(part.strip() for part in parts))


def _balanced(text: str) -> str:
    """Up to a brace that closes none of its own."""
    depth = 0
    for i, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth < 0:
            return text[:i]
    return text


def _boxed(pattern: re.Pattern[str] | None, text: str) -> Span | None:
    """The content of the last box, or of the boxes that end in it and are one list; of a sentence about a number in it,
    the number."""
    span = last_boxed(text)
    if span is None:
        return None
    begin, end = span
    while (before := last_boxed(text[: text.rindex("\\boxed", 0, begin)])) and _BETWEEN.fullmatch(
        text[before[1] + 1 : text.rindex("\\boxed", 0, begin)]
    ):
        begin = before[0]
    if begin == span[0] and pattern is NUMBER:
        return _told(text, span)
    return begin, end


def _told(text: str, span: Span) -> Span:
    """The number in a sentence: `Janet makes $18 a day`. All of it where it is no sentence, or of several numbers."""
    content = text[slice(*span)]
    words = re.sub(r"\\text(?:bf|it)?\s*\{|[{}]", lambda found: " " * len(found[0]), content)
    numbers = list(NUMBER.finditer(words))
    said = re.match(r"\s*(?:[A-Za-z]{2,}\s+){2,}", words)
    if said is None or len(numbers) != 1 or _QUALIFIES.search(words) or number(content) is not None:
        return span
    return span[0] + numbers[0].start(), span[0] + numbers[0].end()


def _corrected(text: str, span: Span, pattern: re.Pattern[str] | None) -> Span:
    """What a correction behind an answer replaces it by; the answer, where there is none."""
    behind = text[span[1] :]
    negated = _NEGATED.match(text[slice(*span)]) or re.search(r"\bnot\s+\W*$", text[max(0, span[0] - 12) : span[0]])
    retracted = _RETRACTS.search(behind[:200])
    starts = retracted is not None and re.fullmatch(
        r"[\W]*(?:[^.!?\n]{0,40}[.!?\n]\W*)?(?:\w+['\u2019]?\w*\s+){0,4}", behind[: retracted.start()]
    )
    if not (negated or starts):
        return span
    found = [
        match for match in _IT_IS.finditer(behind) if negated or retracted is None or match.end() > retracted.start()
    ]
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
    if number(undress(sentence)) is not None:
        return span
    found = NUMBER.search(sentence)
    if found is None or found.start() > 20:
        return None
    return span[0] + found.start(), span[0] + found.end()


def _stated_words(text: str) -> Span | None:
    """A statement without what explains it."""
    span = _stated(text)
    return None if span is None else _without(_EXPLAINS_WORDS, text, span)


def _without(explains: re.Pattern[str], text: str, span: Span, holds: re.Pattern[str] | None = None) -> Span:
    """A statement up to where an explanation begins, if what stands before holds an answer; a correction is none."""
    for found in explains.finditer(text[slice(*span)]):
        before = text[span[0] : span[0] + found.start()]
        if not undress(before) or (holds and not holds.search(before)):
            continue
        if _RETRACTS.search(text[span[0] + found.start() : span[0] + found.end() + 25]):
            break
        return span[0], span[0] + found.start()
    return span


def _stated_number(text: str) -> Span | None:
    """Of a sentence about the answer ("she has 5 apples", "x = 5") the last number.

    Mathematics between its marks is the answer as it stands, and so is TeX, a number with its unit, or several numbers.
    """
    span = _stated(text, _SENTENCE)
    if span is None:
        return None
    span = _without(_EXPLAINS, text, span, NUMBER)
    if (marked := _marked(text, span)) is not None:
        return marked
    # A full stop that ends a sentence is not a decimal point.
    sentence = undress(text[slice(*span)])
    plain = _TEX.sub("", sentence)
    is_prose = _WORD.search(plain) is not None or _WORTH.match(sentence) is not None
    if is_prose and number(sentence) is None and not _SEVERAL.search(plain):
        numbers = _last(NUMBER, text[slice(*span)])
        if numbers is not None:
            return span[0] + numbers[0], span[0] + numbers[1]
    return span


def _marked(text: str, span: Span) -> Span | None:
    """The mathematics between marks that a statement holds; None when it holds none, or something in several places."""
    found = _MATHEMATICS.search(text, span[0])
    if found is None or found.start() > span[1] or _LETTERS.search(text[span[0] : found.start()]):
        return None
    group = found.lastindex or 0
    if _WORD.search(_TEX.sub("", found[group])):
        return None  # dollars before two amounts, and a tale between them
    return None if _MATHEMATICS.search(text, found.end(), max(span[1], found.end())) else found.span(group)


def _stated(text: str, stop: re.Pattern[str] = _PHRASE) -> Span | None:
    """What follows the last "the answer is", to the end of the sentence."""
    found = list(_ANSWER_IS.finditer(text))
    if not found:
        return None
    begin = found[-1].end()
    line = re.match(r"\s*(.*)", text[begin:])
    if line is None or not line[1]:
        return None
    begin += line.start(1)
    return begin, begin + len(stop.split(line[1], maxsplit=1)[0])


def _hashed(text: str) -> Span | None:
    found = list(_HASHES.finditer(text))
    return found[-1].span(1) if found else None


def _last(pattern: re.Pattern[str], text: str) -> Span | None:
    found = list(pattern.finditer(text))
    return found[-1].span(found[-1].lastindex or 0) if found else None


def undress(answer: str) -> str:
    """Without markdown emphasis, inline mathematics, quotes and a closing full stop."""
    answer = answer.replace("**", "").strip().strip("*_`\"'“”").strip()
    answer = re.sub(r"^(?:\\\(|\\\[|\$(?=.*\$$))\s*(.*?)\s*(?:\\\)|\\\]|\$)$", r"\1", answer)
    if (inner := last_boxed(answer)) is not None:
        answer = answer[slice(*inner)]
    answer = re.sub(r"^(?:about|approximately|roughly|around)\s+(?=[$\d])", "", answer, flags=re.IGNORECASE)
    return answer.rstrip(".").strip().strip("*_`\"'“”").strip()
