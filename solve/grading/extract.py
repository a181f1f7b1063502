"""Reading the final answer out of a worked solution.

Four ways to state an answer, tried in the order of how deliberately each is written: the last `\\boxed{}`, the last
"the answer is", the last `####` line (GSM8K), and the last thing that looks like an answer: a number, for most tasks.
What explains an answer behind it is left out ("18, because 9 * 2 = 18"), and a correction replaces it ("No, it is 6").
Nothing found is None: unknown is not wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial

from ...tasks.boxed import last_boxed
from . import moments
from .numbers import number

Span = tuple[int, int]
"""Where an answer stands in a text."""
_Way = Callable[[str], Span | None]
"""A way to state an answer: where the answer stands, if it is stated so."""

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
_HASHES = re.compile(r"####[ \t]*(.+)")
NUMBER = re.compile(r"(?:\b(?:negative|minus)\s+)?[-−]?\$?\d(?:[\d,]*\d)?(?:\.\d+)?(?:\s*/\s*\d+)?%?|[-−]?\$?\.\d+%?")
_SENTENCE = re.compile(r"\.(?:\s|$)")
_PHRASE = re.compile(r"(?<=\w{3})\.(?:\s|$)")
"""Where a sentence ends that may hold initials."""
_BETWEEN = re.compile(
    r"(?:[\s$()~]|\\[,;:! ()]|\\q?quad)*(?:,|;|\band\b|\bor\b|\\text\s*\{\s*(?:,\s*)?(?:and|or)\s*\})+"
    r"(?:[\s$(),;~]|\\[,;:! ()]|\band\b|\bor\b|\\q?quad)*"
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
_NOT_BUT = re.compile(r"\W*not\s+[^.\n]+?,?\s+but\s+(?:rather\s+)?", re.IGNORECASE)
_AT_ONCE = re.compile(
    r"(?:\b(?:no|wait|actually|oops|sorry|scratch\s+that|correction)\b[\s,:.-]*)+(?=[-$]?\d)", re.IGNORECASE
)
"""A correction that is the number alone."""
_NEGATED = re.compile(r"\W*(?:is\s+)?not\b(?!.*\bbut\b)", re.IGNORECASE | re.DOTALL)
_BEGINS = re.compile(rf"[\s*_`$(]*({NUMBER.pattern})")
_CALCULATES = re.compile(
    r"[\s$*]*(?:[-+*/^\u00d7\u00b7\u00f7]|\\times|\\cdot|x\s*\d|(?:times|plus|minus|divided|multiplied|percent\s+of|of)\b)"
    r"|\d\s*[-+*/\u00d7]"
)
CHOSEN = re.compile(r"\([A-Z]\)")
"""A choice that a sentence names."""
_LEADS = re.compile(r"[\s*_#>]*\(?([A-Z])(?:[).:]|\*\*|\s*\n|\s*$)")
_IS_RIGHT = re.compile(
    r"(?:^|(?<=[.!?\n]))[ \t*_#>]*(?:[Oo]ption\s+|[Cc]hoice\s+)?\(?([A-Z])\)?(?:[).:][^.\n]{0,60})?"
    r"[\s*]+is\s+(?:the\s+)?(?:correct|right|true)\b"
)
_MORE = re.compile(r"(?:\s*(?:,|;|\bor\b|\band\b)+\s*[-$]?\d[\d.,/]*)+\W*", re.IGNORECASE)
"""The other numbers of a list."""
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
    stated: _Way = (
        _stated_number if pattern is NUMBER else partial(_stated_words, _PHRASE if pattern is None else _SENTENCE)
    )
    marked: tuple[_Way, ...] = (partial(_boxed, pattern), stated, _hashed)
    if pattern is CHOSEN:
        marked = (*marked, _chosen)
    ways: tuple[_Way, ...] = marked if cut or pattern is None else (*marked, partial(_last, pattern))
    for way in ways:
        if (span := way(text)) is None:
            continue
        span = span if way is _hashed else _corrected(text, span, pattern)
        if answer := _listed(undress(text[slice(*span)])):
            yield answer, span


def _chosen(text: str) -> Span | None:
    """A letter that a reply begins with, or that its last sentence of the kind calls right."""
    found = [*_IS_RIGHT.finditer(text)] or [*filter(None, [_LEADS.match(text)])]
    return found[-1].span(1) if found else None


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
    while (command := max(text.rfind(name, 0, begin) for name in ("\\boxed", "\\fbox"))) > 0:
        before = last_boxed(text[:command])
        if before is None or not _BETWEEN.fullmatch(text[before[1] + 1 : command]):
            break
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
    if number(undress(sentence)) is not None:
        return span
    found = NUMBER.search(sentence)
    if found is None or found.start() > 20:
        return None
    return span[0] + found.start(), span[0] + found.end()


def _stated_words(stop: re.Pattern[str], text: str) -> Span | None:
    """A statement without what explains it, and without what it is not."""
    span = _stated(text, stop)
    if span is None:
        return None
    if but := _NOT_BUT.match(text[slice(*span)]):
        span = span[0] + but.end(), span[1]
    return _without(_EXPLAINS_WORDS, text, span)


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
    if (first := _first_number(text, span)) is not None:
        return first
    # A full stop that ends a sentence is not a decimal point.
    sentence = undress(text[slice(*span)])
    plain = _TEX.sub("", sentence)
    is_prose = _WORD.search(plain) is not None or _WORTH.match(sentence) is not None
    if is_prose and number(sentence) is None and not _SEVERAL.search(plain):
        numbers = _last(NUMBER, text[slice(*span)])
        if numbers is not None:
            return span[0] + numbers[0], span[0] + numbers[1]
    return span


def _first_number(text: str, span: Span) -> Span | None:
    """The number that a statement begins with, where what follows is no calculation, correction or other number of a
    list; None where it does not begin with one, or is a number with its unit as a whole."""
    sentence = text[slice(*span)]
    found = _BEGINS.match(sentence)
    if found is None or number(undress(sentence)) is not None or moments.read(undress(sentence)) is not None:
        return None
    rest = sentence[found.end() :]
    if worth := re.match(r"[\s$*]*=([^=]*)$", rest):
        return (span[0] + found.start(1), span[0] + found.end()) if _CALCULATES.search(worth[1]) else None
    if "=" in rest or _CALCULATES.match(rest) or _MORE.fullmatch(rest) or _RETRACTS.search(rest):
        return None
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


def _stated(text: str, stop: re.Pattern[str] = _PHRASE) -> Span | None:
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


def _hashed(text: str) -> Span | None:
    found = list(_HASHES.finditer(text))
    return found[-1].span(1) if found else None


def _last(pattern: re.Pattern[str], text: str) -> Span | None:
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
