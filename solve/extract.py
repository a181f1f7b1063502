"""Reading the final answer out of a worked solution.

Four ways to state an answer, tried in the order of how deliberately each is written: the last `\\boxed{}`, the last
"the answer is", the last `####` line (GSM8K), and the last number. Nothing found is None: unknown is not wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..tasks.boxed import last_boxed
from .grade import number

Span = tuple[int, int]
"""Where an answer stands in a text."""

_ANSWER_IS = re.compile(r"(?:the\s+(?:final\s+)?answer\s+is|final\s+answer)\W{0,3}?\s*:?[ \t*]*", re.IGNORECASE)
_HASHES = re.compile(r"####[ \t]*(.+)")
_NUMBER = re.compile(r"[-−]?\$?\d(?:[\d,]*\d)?(?:\.\d+)?(?:\s*/\s*\d+)?%?|[-−]?\$?\.\d+%?")
_WORD = re.compile(r"(?<!\\)\b[A-Za-z]{2,}")


def extract(text: str, *, cut: bool = False) -> str | None:
    """The final answer as written, trimmed of dressing; None when there is none to be read.

    `cut` says that the text ended at a length limit: its last number is then just where it broke off.
    """
    return next((answer for answer, _ in _candidates(text, cut)), None)


def splice(text: str, answer: str) -> str:
    """The solution with its final answer replaced; one without an answer, or with this one, is left as it is."""
    for found, (start, end) in _candidates(text):
        if found == answer:
            break
        inside = text.rindex(found, start, end) if found in text[start:end] else start
        return text[:inside] + answer + text[inside + len(found) if found in text[start:end] else end :]
    return text


def _candidates(text: str, cut: bool = False) -> Iterator[tuple[str, Span]]:
    for way in (last_boxed, _stated, _hashed) if cut else (last_boxed, _stated, _hashed, _last_number):
        if (span := way(text)) is not None and (answer := undress(text[slice(*span)])):
            yield answer, span


def _stated(text: str) -> Span | None:
    """What follows the last "the answer is", to the end of the sentence.

    Of a sentence about the answer ("she has 5 apples", "x = 5") it is the last number; an answer that is no number, or
    a number with its unit, stands as it is.
    """
    found = list(_ANSWER_IS.finditer(text))
    if not found:
        return None
    begin = found[-1].end()
    line = re.match(r"\s*(.*)", text[begin:])
    if line is None or not line[1]:
        return None
    begin += line.start(1)
    # A full stop that ends a sentence is not a decimal point.
    sentence = re.split(r"\.(?:\s|$)", line[1], maxsplit=1)[0]
    if number(undress(sentence)) is None and (_WORD.search(sentence) or "=" in sentence):
        numbers = _last_number(sentence)
        if numbers is not None:
            return begin + numbers[0], begin + numbers[1]
    return begin, begin + len(sentence)


def _hashed(text: str) -> Span | None:
    found = list(_HASHES.finditer(text))
    return found[-1].span(1) if found else None


def _last_number(text: str) -> Span | None:
    found = list(_NUMBER.finditer(text))
    return found[-1].span() if found else None


def undress(answer: str) -> str:
    """Without markdown emphasis, inline mathematics, quotes and a closing full stop."""
    answer = answer.replace("**", "").strip().strip("*_`\"'“”").strip()
    answer = re.sub(r"^(?:\\\(|\\\[|\$(?=.*\$$))\s*(.*?)\s*(?:\\\)|\\\]|\$)$", r"\1", answer)
    if (inner := last_boxed(answer)) is not None:
        answer = answer[slice(*inner)]
    return answer.rstrip(".").strip().strip("*_`\"'“”").strip()
