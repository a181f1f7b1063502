"""Test questions that a student may have met in training: word for word, but for spelling, or in part.

The part is a run of 13 words, the usual measure (GPT-3, Brown et al., 2020, appendix C).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Literal

from .question import Question

Overlap = Literal["exact", "normalised", "13-gram", "none"]
"""The closest first."""
WORDS = 13


def overlaps(train: Sequence[Question], test: Sequence[Question]) -> list[Overlap]:
    """For each test question, the closest that any training question comes to it."""
    exact = {question.prompt for question in train}
    normalised = {" ".join(_words(question.prompt)) for question in train}
    runs = {run for question in train for run in _runs(question.prompt)}

    def closest(question: Question) -> Overlap:
        if question.prompt in exact:
            return "exact"
        if " ".join(_words(question.prompt)) in normalised:
            return "normalised"
        return "13-gram" if any(run in runs for run in _runs(question.prompt)) else "none"

    return [closest(question) for question in test]


def fingerprint(questions: Sequence[Question]) -> str:
    """SHA-256 over the questions and their answers: which data a result was measured on."""
    contents = [[question.id, question.prompt, question.answer] for question in questions]
    return hashlib.sha256(json.dumps(contents).encode()).hexdigest()


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _runs(text: str) -> Iterator[tuple[str, ...]]:
    words = _words(text)
    return (tuple(words[i : i + WORDS]) for i in range(len(words) - WORDS + 1))
