"""Divide-or-Conquer's cost columns, taken apart: what of them follows from its prices and from counts that can be had.

Its Table 1 prints, for each cell, the dollars of decomposing and of solving all test questions. It prices the LLM by
the thousand tokens and a student at 13/175 of that, and takes a word for 4/3 tokens. The words of the questions can be
counted, so each cell says two things: how much of it reading the questions would take, and how long the completions
were if it holds nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, NamedTuple

from ...lm.cost.prices import Price
from ...lm.types import Usage
from ..render.table import Table, number
from .reference import Reported, of_paper

LLM = Price(
    prompt=1.0, completion=2.0, source="Divide-or-Conquer: gpt-3.5-turbo-1106 at $0.001 and $0.002 a thousand tokens"
)
SCALE = 13 / 175
"""Vicuna's parameters over those that the paper takes GPT-3.5 to have."""
STUDENT = LLM.scaled(SCALE)
TOKENS_A_WORD = 4 / 3

WORDS: Mapping[str, float] = {"gsm8k": 61_005, "drop": 202.6 * 9_536, "bamboogle": 1_482}
"""Of all test questions, passages included (`python -m bench.report.published_costs FILES`). DROP's are the mean over
its 947 contrast questions, which stand on passages of its test set, times the 9,536 of the development set."""
INPUT_TOKENS: Mapping[str, int] = {"gsm8k": 355_302, "bamboogle": 15_106}
"""Table 6: what solving in two stages reads, all questions together. (The authors' code counts words there.)"""


class Span(NamedTuple):
    """From the least to the most that a printed number may have been before it was rounded, or what follows of that."""

    low: float
    high: float

    def __str__(self) -> str:
        least, most = number(self.low), number(self.high)
        return least if least == most else f"{least} to {most}"

    def over(self, by: float) -> Span:
        return Span(self.low / by, self.high / by)

    def less(self, by: float) -> Span:
        """Never below nothing."""
        return Span(max(0.0, self.low - by), max(0.0, self.high - by))


def span(printed: Decimal) -> Span:
    """Half a unit of the last printed digit to either side."""
    exponent = printed.as_tuple().exponent
    if not isinstance(exponent, int):
        raise ValueError(f"{printed} is no number")
    half = Decimal(5).scaleb(exponent - 1)
    return Span(float(printed - half), float(printed + half))


@dataclass(frozen=True)
class PublishedCost:
    """One printed cost."""

    row: Reported
    phase: Literal["decompose", "solve"]
    printed: Decimal
    llm: Decimal | None
    """What the LLM costs in its place; None where the LLM itself is in it."""

    @property
    def who(self) -> str:
        """`GPT-3.5 decomposes`, or `GPT-3.5 solves for S_D-T`."""
        if self.phase == "decompose":
            return f"{self.row.decomposer} decomposes"
        alone = self.row.decomposer == "none"
        return f"{self.row.solver} solves" + (" in a single stage" if alone else f" for {self.row.decomposer}")

    @property
    def price(self) -> Price:
        """Of whoever is paid."""
        return LLM if self.llm is None else STUDENT

    @property
    def questions(self) -> int:
        if self.row.n is None:
            raise ValueError(f"nobody says how many questions {self.row} is of")
        return self.row.n

    @property
    def reading(self) -> float:
        """Dollars for what was read, as far as it is known: the prompts of Table 6, else the questions alone."""
        whole = self.phase == "solve" and self.row.decomposer == self.row.solver == "GPT-3.5"
        known = INPUT_TOKENS.get(self.row.data) if whole else None
        return self.price.dollars(Usage(known or round(WORDS[self.row.data] * TOKENS_A_WORD), 0))

    @property
    def omits_reading(self) -> bool:
        """Whether it is too little to hold that."""
        return span(self.printed).high < self.reading

    def completion(self, *, read: bool = False) -> Span:
        """Tokens a question that were written, if it holds the completions alone, or what was read too (`read`)."""
        a_token = self.price.dollars(Usage(0, 1))
        return span(self.printed).less(self.reading if read else 0.0).over(a_token * self.questions)

    @property
    def times(self) -> Span | None:
        """How many times the LLM's tokens the student must have used; None for the LLM itself."""
        if self.llm is None:
            return None
        mine, its = span(self.printed).over(SCALE), span(self.llm)
        return Span(mine.low / its.high, mine.high / its.low)

    @property
    def verdict(self) -> str:
        """Whether it follows from the prices and what can be counted."""
        if self.times is None:
            return "does not hold what was read" if self.omits_reading else "cannot be checked"
        return "reproduces" if self.times.low <= 1 <= self.times.high else "cannot be checked"


def costs() -> list[PublishedCost]:
    """Every cost that Table 1 prints, each once."""
    rows = [row for row in of_paper("divide-or-conquer") if row.table == "1"]
    found: dict[tuple[str, str], PublishedCost] = {}
    for row in rows:
        same = [other for other in rows if other.data == row.data and other.solver == "GPT-3.5"]
        whole = next(other for other in same if other.decomposer == "GPT-3.5")
        alone = next(other for other in same if other.decomposer == "none")
        if row.decompose_usd is not None:
            by_llm = row.decomposer == "GPT-3.5"
            cost = PublishedCost(row, "decompose", row.decompose_usd, None if by_llm else whole.decompose_usd)
            found.setdefault((row.data, cost.who), cost)
        if row.solve_usd is not None:
            in_its_place = alone if row.decomposer == "none" else whole
            cost = PublishedCost(
                row, "solve", row.solve_usd, None if row.solver == "GPT-3.5" else in_its_place.solve_usd
            )
            found.setdefault((row.data, cost.who), cost)
    return list(found.values())


def of_the_llm() -> Table:
    """A row a cost of the LLM: what it can hold."""
    header = ["GPT-3.5", "data set", "n", "printed ($)", "what was read ($)"]
    header += ["tokens written a question: if it holds these alone", "if both", "verdict"]
    return header, [
        [
            *(cost.who.removeprefix("GPT-3.5 "), cost.row.data, f"{cost.questions:,}"),
            *(f"{cost.printed:f}", number(cost.reading), str(cost.completion())),
            "" if cost.omits_reading else str(cost.completion(read=True)),
            cost.verdict,
        ]
        for cost in costs()
        if cost.llm is None
    ]


def of_students() -> Table:
    """A row a cost of a 13 B model: beside the LLM's in its place."""
    header = ["13 B model", "data set", "printed ($)", "the LLM's in its place ($)", "the same x 13/175"]
    header += ["the model's tokens, as multiples of the LLM's", "verdict"]
    return header, [
        [
            *(cost.who, cost.row.data, f"{cost.printed:f}", f"{cost.llm:f}"),
            *(number(float(cost.llm) * SCALE), str(cost.times), cost.verdict),
        ]
        for cost in costs()
        if cost.llm is not None
    ]


@dataclass(frozen=True)
class Saving:
    """What a student in one phase saves of the cost of the LLM in both, by the printed numbers."""

    row: Reported
    a_question: Span
    """Dollars."""
    points: float
    """Of the printed score, against the LLM in both phases."""

    @property
    def volume(self) -> Span | None:
        """Questions that bring back each $100 of training; None where nothing is saved that rounding does not hide."""
        if self.a_question.low <= 0:
            return None
        return Span(100 / self.a_question.high, 100 / self.a_question.low)


def savings() -> list[Saving]:
    """For every data set and distilled student of Table 1."""
    rows = [row for row in of_paper("divide-or-conquer") if row.table == "1"]
    whole = {row.data: row for row in rows if (row.decomposer, row.solver) == ("GPT-3.5", "GPT-3.5")}
    found = []
    for row in rows:
        if row.train and row.n:
            before, after = _both(whole[row.data]), _both(row)
            saved = Span(before.low - after.high, before.high - after.low).over(row.n)
            found.append(Saving(row, saved, float(row.value - whole[row.data].value)))
    return found


def _both(row: Reported) -> Span:
    """Decomposing and solving."""
    spans = [span(cost) for cost in (row.decompose_usd, row.solve_usd) if cost is not None]
    return Span(sum(each.low for each in spans), sum(each.high for each in spans))


def break_even() -> Table:
    """A row a student: what it saves, what that costs in points, and how many questions pay for training."""
    header = ["decomposer", "solver", "data set", "points", "saved on 1,000 questions ($)"]
    return [*header, "questions for each $100 of training"], [
        [
            *(each.row.decomposer, each.row.solver, each.row.data, f"{each.points:+.1f}"),
            str(each.a_question.over(1 / 1000)),
            " to ".join(f"{float(f'{end:.2g}'):,.0f}" for end in each.volume) if each.volume else "never",
        ]
        for each in savings()
    ]
