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
from . import statements
from .answer_text import CHOSEN, NUMBER, Span, last, undress
from .corrections import corrected
from .numbers import is_written_number

_Way = Callable[[str], Span | None]
"""A way to state an answer: where the answer stands, if it is stated so."""
_HASHES = re.compile(r"####[ \t]*(.+)")
_BETWEEN = re.compile(
    r"(?:[\s$()~]|\\[,;:! ()]|\\q?quad)*(?:,|;|\band\b|\bor\b|\\text\s*\{\s*(?:,\s*)?(?:and|or)\s*\})+"
    r"(?:[\s$(),;~]|\\[,;:! ()]|\band\b|\bor\b|\\q?quad)*"
    r"(?:[A-Za-z](?:_\{?\w\}?)?\s*=\s*)?"
)
"""What joins two boxes to one answer."""
_LEADS = re.compile(r"[\s*_#>]*\(?([A-Z])(?:[).:]|\*\*|\s*\n|\s*$)")
_IS_RIGHT = re.compile(
    r"(?:^|(?<=[.!?\n]))[ \t*_#>]*(?:[Oo]ption\s+|[Cc]hoice\s+)?\(?([A-Z])\)?(?:[).:][^.\n]{0,60})?"
    r"[\s*]+is\s+(?:the\s+)?(?:correct|right|true)\b"
)
_QUALIFIES = re.compile(r"\b(?:more|less|fewer|than|least|most|or|and|not|no|between|up)\b", re.IGNORECASE)


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
        statements.number_in_sentence
        if pattern is NUMBER
        else partial(statements.words_of_sentence, statements.PHRASE if pattern is None else statements.SENTENCE)
    )
    marked: tuple[_Way, ...] = (partial(_boxed, pattern), stated, _hashed)
    if pattern is CHOSEN:
        marked = (*marked, _chosen)
    ways: tuple[_Way, ...] = marked if cut or pattern is None else (*marked, partial(last, pattern))
    for way in ways:
        if (span := way(text)) is None:
            continue
        span = span if way is _hashed else corrected(text, span, pattern)
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
        return _number_of_sentence(text, span)
    return begin, end


def _number_of_sentence(text: str, span: Span) -> Span:
    """The number in a sentence: `Janet makes $18 a day`. All of it where it is no sentence, or of several numbers."""
    content = text[slice(*span)]
    words = re.sub(r"\\text(?:bf|it)?\s*\{|[{}]", lambda found: " " * len(found[0]), content)
    numbers = list(NUMBER.finditer(words))
    said = re.match(r"\s*(?:[A-Za-z]{2,}\s+){2,}", words)
    if said is None or len(numbers) != 1 or _QUALIFIES.search(words) or is_written_number(content):
        return span
    return span[0] + numbers[0].start(), span[0] + numbers[0].end()


def _hashed(text: str) -> Span | None:
    found = list(_HASHES.finditer(text))
    return found[-1].span(1) if found else None
