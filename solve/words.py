"""One spelling for answers in words: a choice, a yes or no, a short phrase."""

from __future__ import annotations

import re

_CHOICE = re.compile(r"\(\s*([A-E])\s*\)|(?:^|\b(?:option|choice|answer)\s+)([A-E])(?=[\s).:,]|$)", re.IGNORECASE)
_YES = frozenset({"yes", "true", "correct"})
_NO = frozenset({"no", "false", "incorrect"})
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")


def choice(answer: str) -> str:
    """The letter A to E that an answer chooses; empty when it chooses none, or two."""
    text = re.sub(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}", r"\1", answer).strip()
    found = {(inside or bare).upper() for inside, bare in _CHOICE.findall(text)}
    return found.pop() if len(found) == 1 else ""


def yes_no(answer: str) -> str:
    """`yes` or `no`, by the first word; empty for anything else."""
    first = re.match(r"\W*([a-z]+)", answer.lower())
    word = first[1] if first else ""
    return "yes" if word in _YES else "no" if word in _NO else ""


def phrase(answer: str) -> str:
    """Lower case, without punctuation and articles (the normalisation of SQuAD, Rajpurkar et al., 2016)."""
    text = re.sub(r"[^\w\s]", "", answer.lower())
    return " ".join(_ARTICLE.sub(" ", text).split()) or " ".join(text.split())
