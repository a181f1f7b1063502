"""Reading the final answer out of a worked solution.

Four ways to state an answer, tried in the order of how deliberately each is written: the last `\\boxed{}`, the last
"the answer is", the last `####` line (GSM8K), and the last number. Nothing found is None: unknown is not wrong.
"""

from __future__ import annotations

import re

_ANSWER_IS = re.compile(r"the (?:final )?answer is\s*:?", re.IGNORECASE)
_HASHES = re.compile(r"####\s*(.+)")
_PROSE = 4
"""An answer of more words than this is a sentence about the answer."""
_NUMBER = re.compile(r"[-−]?\$?\d[\d,]*(?:\.\d+)?(?:\s*/\s*\d+)?%?|[-−]?\$?\.\d+%?")


def extract(text: str) -> str | None:
    """The final answer as written, trimmed of dressing; None when there is none to be read."""
    for way in (_boxed, _stated, _hashed, _last_number):
        if (found := way(text)) is not None and (answer := _undress(found)):
            return answer
    return None


def _boxed(text: str) -> str | None:
    """What the last `\\boxed{...}` holds, braces matched; an unclosed one holds nothing."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    begin = start + len("\\boxed{")
    depth = 1
    for i in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[begin:i]
    return None


def _stated(text: str) -> str | None:
    """What follows the last "the answer is", to the end of the sentence; of a long sentence, its last number."""
    found = list(_ANSWER_IS.finditer(text))
    if not found:
        return None
    rest = text[found[-1].end() :].strip().partition("\n")[0]
    # A full stop that ends a sentence is not a decimal point.
    sentence = str(re.split(r"\.(?:\s|$)", rest, maxsplit=1)[0])
    return _last_number(sentence) or sentence if len(sentence.split()) > _PROSE else sentence


def _hashed(text: str) -> str | None:
    found = _HASHES.findall(text)
    return str(found[-1]) if found else None


def _last_number(text: str) -> str | None:
    found = _NUMBER.findall(text)
    return str(found[-1]) if found else None


def _undress(answer: str) -> str:
    """Without markdown emphasis, inline mathematics, quotes and a closing full stop."""
    answer = answer.strip().strip("*_`\"'“”").strip()
    answer = re.sub(r"^(?:\\\(|\\\[|\$(?!\d))\s*(.*?)\s*(?:\\\)|\\\]|\$)$", r"\1", answer)
    if (inner := _boxed(answer)) is not None:
        answer = inner
    return answer.rstrip(".").strip().strip("*_`\"'“”").strip()


def splice(text: str, answer: str) -> str:
    """The solution with its final answer replaced; a text that already ends in this answer is left as it is."""
    found = extract(text)
    if found is None or found == answer:
        return text
    head, _, tail = text.rpartition(found)
    return f"{head}{answer}{tail}"
