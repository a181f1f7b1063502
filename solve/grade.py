"""Whether an answer is the gold answer, and which of several answers are one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from ..tasks import GraderName, Question
from . import drop, hendrycks, latex, words
from .algebra import equal
from .checks import Pair
from .extract import NUMBER
from .limits import refused
from .number import canonical

Verdict = Literal["right", "wrong", "unreadable", "timed out"]
"""`unreadable`: there is no answer, or none that a grader should be asked to read. `timed out`: the check of an answer
against the gold one passed its limit of time or size."""

Class = int | None
"""Which of a question's answers are one: the number of the first of them; None for an unreadable one."""


@dataclass(frozen=True)
class Grader:
    """A rule for when two answers are one: in verdicts, and in votes."""

    spell: Callable[[str], str]
    """One spelling for answers that are plainly equal; empty for one that says nothing in terms of the rule."""
    check: Callable[[Sequence[Pair]], list[bool | None]] | None = None
    """Whether answers of different spellings are equal all the same, pair by pair; None is past its limit. Absent
    where different spellings are different answers."""
    seek: re.Pattern[str] | None = NUMBER
    """What an answer looks like in a text that does not mark it; None where only a marked answer can be told."""

    def spelling(self, answer: str | None) -> str:
        """Empty for no answer, and for a text that is no answer to anything."""
        return "" if answer is None or refused(answer) else self.spell(answer)

    def __call__(self, answer: str | None, gold: str) -> Verdict:
        """The verdict of one answer."""
        return self.verdicts([(answer, (gold,))])[0]

    def verdicts(self, asked: Sequence[tuple[str | None, Sequence[str]]]) -> list[Verdict]:
        """The verdict of each answer, given the gold answers any of which makes it right."""
        compared = [(i, answer, gold) for i, (answer, golds) in enumerate(asked) if answer for gold in golds]
        found: dict[int, list[bool | None]] = {}
        same = self.same([(answer, gold) for _, answer, gold in compared])
        for (i, _, _), is_same in zip(compared, same, strict=True):
            found.setdefault(i, []).append(is_same)
        return [
            _verdict(found.get(i, [])) if self.spelling(answer) else "unreadable" for i, (answer, _) in enumerate(asked)
        ]

    def same(self, pairs: Sequence[Pair]) -> list[bool | None]:
        """Whether the two answers of each pair are one; None where the check hit its limit. Symmetric."""
        spelled = [(self.spelling(one), self.spelling(other)) for one, other in pairs]
        found: list[bool | None] = [bool(one) and one == other for one, other in spelled]
        if self.check:
            differ = [i for i, (one, other) in enumerate(spelled) if one and other and one != other]
            for i, same in zip(differ, self.check([pairs[i] for i in differ]), strict=True):
                found[i] = same
        return found


def _verdict(compared: Sequence[bool | None]) -> Verdict:
    """Right when any gold answer is matched; an open comparison leaves it open."""
    return "right" if True in compared else "timed out" if None in compared else "wrong"


MATH = Grader(latex.tidy, equal)
"""Mathematics by what it means."""

GRADERS: dict[GraderName, Grader] = {
    "math": MATH,
    "number": Grader(canonical),
    "hendrycks": Grader(hendrycks.tidy),
    "choice": Grader(words.choice, seek=re.compile(r"\([A-E]\)")),
    "yes-no": Grader(words.yes_no, seek=re.compile(r"\b(?:yes|no)\b", re.IGNORECASE)),
    "phrase": Grader(words.phrase, seek=None),
    "drop": Grader(drop.spans, seek=None),
}


def grade(asked: Iterable[tuple[str | None, Question]]) -> list[Verdict]:
    """The verdict of each answer. All are graded together, because checks that take long run side by side."""
    asked = list(asked)
    verdicts: dict[int, Verdict] = {}
    for name, grader in GRADERS.items():
        at = [i for i, (_, question) in enumerate(asked) if question.grader == name]
        golds = [(asked[i][0], (asked[i][1].answer, *asked[i][1].aliases)) for i in at]
        verdicts |= zip(at, grader.verdicts(golds), strict=True)
    return [verdicts[i] for i in range(len(asked))]


def classify(samples: Sequence[Sequence[str | None]], graders: Sequence[Grader]) -> list[list[Class]]:
    """For each question's answers, which of them are one.

    Equality is taken to be transitive: where `a` is `b` and `b` is `c`, all three are one, whatever the order.
    """
    spelled = [[g.spelling(a) for a in answers] for answers, g in zip(samples, graders, strict=True)]
    firsts = [_firsts(spellings) for spellings in spelled]
    joined: list[dict[str, int]] = [dict(first) for first in firsts]
    for grader in {id(g): g for g in graders if g.check}.values():
        pairs = [
            (question, one, other)
            for question, first in enumerate(firsts)
            if graders[question] is grader
            for one, other in combinations(first, 2)
        ]
        written = [(_at(samples[q], firsts[q][one]), _at(samples[q], firsts[q][other])) for q, one, other in pairs]
        for (question, one, other), same in zip(pairs, grader.same(written), strict=True):
            if same:
                _join(joined[question], one, other)
    return [[of[spelling] if spelling else None for spelling in s] for of, s in zip(joined, spelled, strict=True)]


def _firsts(spellings: Sequence[str]) -> Mapping[str, int]:
    """Where each spelling is first seen."""
    return {spelling: spellings.index(spelling) for spelling in dict.fromkeys(spellings) if spelling}


def _at(answers: Sequence[str | None], i: int) -> str:
    return answers[i] or ""


def _join(classes: dict[str, int], one: str, other: str) -> None:
    low, high = sorted((classes[one], classes[other]))
    classes.update({spelling: low for spelling, number in classes.items() if number == high})
