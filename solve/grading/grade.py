"""Whether an answer is the gold answer, and which of several answers are one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from typing import Literal

from ...core.errors import ConfigError
from ...tasks.question import GraderName, Question
from . import drop_spans, latex, math_string, numbers, words
from .answer_text import CHOSEN, NUMBER
from .equivalence import equal, plainly
from .limits import refused
from .sympy_pool import Pair

Verdict = Literal["right", "wrong", "unreadable", "timed out"]
"""`unreadable`: there is no answer, or none that a grader should be asked to read. `timed out`: the check of an answer
against the gold one passed its limit of time or size."""

Class = int | None
"""Which of a question's answers are one: the place of the answer that stands for them; None for an unreadable one."""


@dataclass(frozen=True)
class Grader:
    """A rule for when two answers are one: in verdicts, and in votes."""

    normalise: Callable[[str], str]
    """One spelling for answers that are plainly equal; empty for one that says nothing in terms of the rule."""
    check: Callable[[Sequence[Pair]], list[bool | None]] | None = None
    """Whether answers of different spellings are equal all the same, pair by pair; None is past its limit. Absent
    where different spellings are different answers."""
    pattern: re.Pattern[str] | None = NUMBER
    """What an answer looks like in a text that does not mark it; None where only a marked answer can be told."""

    def spelling(self, answer: str | None) -> str:
        """Empty for no answer, and for a text that is no answer to anything."""
        return "" if answer is None or refused(answer) else self.normalise(answer)

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

PLAIN_MATH = replace(MATH, check=plainly)
"""Mathematics by what it plainly means: for votes that nobody may hold up by an answer made for it."""

GRADERS: dict[GraderName, Grader] = {
    "math": MATH,
    "number": Grader(numbers.canonical, numbers.equal),
    "hendrycks": Grader(math_string.tidy),
    "choice": Grader(words.choice, pattern=CHOSEN),
    "yes-no": Grader(words.yes_no, pattern=words.SAID),
    "phrase": Grader(words.phrase, pattern=None),
    "drop": Grader(drop_spans.spans, drop_spans.listed, pattern=None),
}


def grader_of(question: Question) -> Grader:
    """The rule for answers to a question: its grader, bounded by its choices where it has some."""
    return _among(question.choices) if question.grader == "choice" and question.choices else GRADERS[question.grader]


@lru_cache(maxsize=4096)
def _among(choices: tuple[str, ...]) -> Grader:
    return Grader(lambda answer: words.choice(answer, choices), pattern=CHOSEN)


def grade(asked: Iterable[tuple[str | None, Question]]) -> list[Verdict]:
    """The verdict of each answer. All are graded together, because checks that take long run side by side.

    Where a gold answer says nothing in terms of its grader, nobody can tell, and the answers are unreadable. Raises
    ConfigError when that is so of every question of a grader: it is the wrong one.
    """
    asked = list(asked)
    verdicts: dict[int, Verdict] = dict.fromkeys(range(len(asked)), "unreadable")
    rules = [grader_of(question) for _, question in asked]
    known = [i for i, (_, question) in enumerate(asked) if rules[i].spelling(question.answer)]
    _refuse_mute([question for _, question in asked], {asked[i][1].grader for i in known})
    for rule in {id(rule): rule for rule in rules}.values():
        at = [i for i in known if rules[i] is rule]
        golds = [(asked[i][0], (asked[i][1].answer, *asked[i][1].aliases)) for i in at]
        verdicts |= zip(at, rule.verdicts(golds), strict=True)
    return [verdicts[i] for i in range(len(asked))]


def _refuse_mute(questions: Sequence[Question], heard: Container[GraderName]) -> None:
    """Raise ConfigError for a grader to which no gold answer says anything."""
    mute = next((question for question in questions if question.grader not in heard), None)
    if mute is not None:
        raise ConfigError(
            f"no gold answer says anything to grader {mute.grader!r}: that of {mute.id} is {mute.answer!r}"
        )


_READ: dict[GraderName, str] = {
    "choice": "the letter of a choice",
    "yes-no": "yes or no, true or false",
    "number": "a number or a word",
    "math": "mathematics of at most 2,048 characters",
    "hendrycks": "mathematics of at most 2,048 characters",
    "phrase": "words",
    "drop": "spans, numbers or dates",
}
"""What each grader reads, for messages."""


def refuse_unreadable_gold(questions: Iterable[Question]) -> None:
    """Raise ConfigError, naming its place, for the first question whose gold answer no answer can match."""
    for question in questions:
        where = question.place or question.id
        if question.answer.strip().lower().lstrip("+-") in _NO_NUMBERS and question.grader in ("number", "math"):
            raise ConfigError(f"{where}: the answer {question.answer!r} is no number")
        if not grader_of(question).spelling(question.answer):
            choices = f" of {len(question.choices)}" if question.choices else ""
            raise ConfigError(
                f"{where}: no answer can match {question.answer!r}: grader {question.grader!r} reads "
                f"{_READ[question.grader]}{choices}"
            )


_NO_NUMBERS = frozenset({"nan", "inf", "infinity", "null", "none"})
"""What programs print where there is no number."""


def classify(samples: Sequence[Sequence[str | None]], graders: Sequence[Grader]) -> list[list[Class]]:
    """For each question's answers, which of them are one.

    Each class is the answers that equal the one which stands for it, the most frequent first. Equality is not quite
    transitive (`5%` is both 5 and 0.05), so answers that only have a third in common do not vote together.
    """
    as_written = [_written(answers, grader) for answers, grader in zip(samples, graders, strict=True)]
    same = _compared([list(written) for written in as_written], graders)
    classed = [_classes(written, pairs) for written, pairs in zip(as_written, same, strict=True)]
    return [
        [of.get(answer or "") if answer else None for answer in answers]
        for of, answers in zip(classed, samples, strict=True)
    ]


def _written(answers: Sequence[str | None], grader: Grader) -> dict[str, int]:
    """The readable answers as they are written, the most frequent first, and where each is first seen.

    Answers of one frequency stand in the order of their letters, so that the order of samples does not matter.
    """
    counts = Counter(answer for answer in answers if answer and grader.spelling(answer))
    ordered = sorted(counts, key=lambda answer: (-counts[answer], answer))
    return {answer: answers.index(answer) for answer in ordered}


def _compared(questions: Sequence[Sequence[str]], graders: Sequence[Grader]) -> list[set[Pair]]:
    """The pairs of each question's answers that are one, compared together."""
    found: list[set[Pair]] = [set() for _ in questions]
    for grader in {id(grader): grader for grader in graders}.values():
        pairs = [
            (i, pair)
            for i, written in enumerate(questions)
            if graders[i] is grader
            for pair in combinations(written, 2)
        ]
        for (i, pair), same in zip(pairs, grader.same([pair for _, pair in pairs]), strict=True):
            if same:
                found[i] |= {pair, pair[::-1]}
    return found


def _classes(written: Mapping[str, int], same: set[Pair]) -> dict[str, int]:
    """The class of each answer as it is written: where the one that stands for it is first seen."""
    standing: list[str] = []
    found: dict[str, int] = {}
    for answer in written:
        leader = next((other for other in standing if (other, answer) in same), None)
        if leader is None:
            standing.append(leader := answer)
        found[answer] = written[leader]
    return found
