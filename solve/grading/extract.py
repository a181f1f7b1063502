"""Reading the final answer out of a worked solution.

Four ways to state an answer, tried in the order of how deliberately each is written: the last `\\boxed{}`, the last
"the answer is", the last `####` line (GSM8K), and the last thing that looks like an answer: a number, for most tasks.
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

_ANSWER_IS = re.compile(
    r"(?:the\s+(?:final\s+|correct\s+)*answer\s+is|final\s+answer|^\W*answer\s*:)\W{0,3}?\s*:?[ \t*]*",
    re.IGNORECASE | re.MULTILINE,
)
_MATHEMATICS = re.compile(r"\$\$(.+?)\$\$|\$((?:\\.|[^$\n])+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_TEX = re.compile(r"\\(?:text|mbox|begin|end|math[a-z]+)\s*\{[^{}]*\}|\\[A-Za-z]+")
_WORTH = re.compile(r"(?:[A-Za-z]'?\s*|[^A-Za-z=\\]+)(?:=[^A-Za-z=\\]+)+$")
"""A name, or a sum, and what it comes to."""
_SEVERAL = re.compile(r"\d[^A-Za-z]*\b(?:or|and)\b[^A-Za-z]*(?:[A-Za-z]\s*=\s*)?-?[\d.]")
_HASHES = re.compile(r"####[ \t]*(.+)")
NUMBER = re.compile(r"(?:\b(?:negative|minus)\s+)?[-−]?\$?\d(?:[\d,]*\d)?(?:\.\d+)?(?:\s*/\s*\d+)?%?|[-−]?\$?\.\d+%?")
_SENTENCE = re.compile(r"\.(?:\s|$)")
_PHRASE = re.compile(r"(?<=\w{3})\.(?:\s|$)")
"""Where a sentence ends that may hold initials."""
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
    marked = (last_boxed, _stated_number if pattern is NUMBER else _stated, _hashed)
    for way in marked if cut or pattern is None else (*marked, partial(_last, pattern)):
        if (span := way(text)) is not None and (answer := undress(text[slice(*span)])):
            yield answer, span


def _stated_number(text: str) -> Span | None:
    """Of a sentence about the answer ("she has 5 apples", "x = 5") the last number.

    Mathematics between its marks is the answer as it stands, and so is TeX, a number with its unit, or several numbers.
    """
    span = _stated(text, _SENTENCE)
    if span is None:
        return None
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
    return answer.rstrip(".").strip().strip("*_`\"'“”").strip()
