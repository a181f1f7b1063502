"""One row of results: what one cell made of one question, and what that cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import Literal, NamedTuple, Self, overload

from ...decompose.decomposition import Kind
from ...solve.grading.grade import Class, Verdict
from ...tasks.contamination import Overlap
from ..grid_spec import ALL, Cell, is_interactive

QuestionKey = tuple[str, str]
"""A question's test, and its id there."""
PHASES = ("decompose", "solve", "rank")
"""The names of `ResultRow.phases`."""
NOT_STORED = {"stored": False}
"""Marks a field that has no column in the file of results."""
IS_TEXT = {"text": True}
"""Marks texts, and numbers of their tokens, which no table over seeds or trainings reads."""


class PhaseCost(NamedTuple):
    """What one phase of one cell costs for one question."""

    calls: int = 0
    """Samples that were drawn for it."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompt's, those that the server read from its cache."""
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    """Of the completion's, those that the model thought with and did not show."""
    seconds: float = 0.0
    flops: float | None = 0.0
    """Of the model as it would be put to work. None is unknown."""
    flops_as_run: float | None = 0.0
    """Of the model as it was asked here. None is unknown."""
    dollars: float | None = 0.0
    """None is unknown."""

    def in_currency(self, currency: Literal["flops", "dollars", "seconds"]) -> float | None:
        """One of the three."""
        return {"flops": self.flops, "dollars": self.dollars, "seconds": self.seconds}[currency]

    @property
    def tokens(self) -> int:
        """Of prompts and completions."""
        return self.prompt_tokens + self.completion_tokens


NOTHING = PhaseCost()
"""Of a phase in which nobody was asked."""


class Reconstruction(NamedTuple):
    """How probable a reader finds a question behind its sub-questions: natural log-probabilities a token."""

    given: float
    gain: float
    """Less what it is without the sub-questions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """What one cell made of one question. The columns of a file of results are its fields, in this order."""

    cell: Cell
    test: str
    id: str
    """The question's, in its test."""
    question: str = field(metadata=IS_TEXT)
    cluster: str
    """The question's family, or a name of its own."""
    overlap: Overlap = "none"
    """What the question shares with the questions that any student has learned from."""
    overlap_decomposer: Overlap = "none"
    overlap_solver: Overlap = "none"
    gold: str = field(metadata=IS_TEXT)
    subquestions: tuple[str, ...] = field(metadata=IS_TEXT)
    decomposition: str = field(metadata=IS_TEXT)
    """As the decomposer wrote it."""
    decomposition_reasoning: str | None = field(default=None, metadata=IS_TEXT)
    decomposition_kind: Kind
    decomposition_right: bool | None = None
    """Whether the sub-questions are the right ones; None where nobody can say."""
    leaks_answer: bool
    """Whether the sub-questions hold the gold answer, and the question does not."""
    solutions: tuple[str, ...] = field(metadata=IS_TEXT)
    reasoning: tuple[str | None, ...] | None = field(default=None, metadata=IS_TEXT)
    """What the solver thought before each solution; None where it thought before none."""
    answers: tuple[str | None, ...]
    """Of each solution; None cannot be read."""
    classes: tuple[Class, ...]
    """Which of the answers are one."""
    verdicts: tuple[Verdict, ...]
    """Of each answer."""
    logprobs: tuple[float | None, ...] = field(metadata=IS_TEXT)
    certainties: tuple[float | None, ...] = field(metadata=IS_TEXT)
    scores: tuple[float | None, ...] | None = field(default=None, metadata=IS_TEXT)
    """The ranker's, of each solution; None where no ranker was asked."""
    answer: str | None
    """The answer that won the vote; None where no sample could be read."""
    verdict: Verdict | Literal["unknown"]
    """Of the winning answer; unknown where a request that it needed failed permanently."""
    credit: float | None
    """What counts in the accuracy: 1, 0, or a share when right and wrong answers tie; None where it is unknown."""
    measure: str | None = None
    """The data set's softer score."""
    lenient: float | None = None
    """The softer score of the winning solution; None where the data set has none."""
    decompose: PhaseCost = NOTHING
    solve: PhaseCost
    rank: PhaseCost = NOTHING
    """What the vote's ranker reads; nothing for votes without one."""
    reconstruction: Reconstruction | None = field(default=None, metadata=NOT_STORED)
    """Of the decomposition; None where no reader was asked, or it is too long for the reader."""

    @property
    def key(self) -> QuestionKey:
        """Which question it is of."""
        return self.test, self.id

    @property
    def phases(self) -> tuple[PhaseCost, PhaseCost, PhaseCost]:
        return self.decompose, self.solve, self.rank

    def drop_timings(self) -> ResultRow:
        """Without what a clock said: all that is the same when a study is run again."""
        decompose, solve, rank = (cost._replace(seconds=0.0) for cost in self.phases)
        return replace(self, decompose=decompose, solve=solve, rank=rank)


class Results(Sequence[ResultRow]):
    """Rows of results, cell by cell."""

    def __init__(self, rows: Iterable[ResultRow] = ()) -> None:
        self._rows = tuple(rows)

    @overload
    def __getitem__(self, at: int) -> ResultRow: ...
    @overload
    def __getitem__(self, at: slice) -> Self: ...
    def __getitem__(self, at: int | slice) -> ResultRow | Self:
        return type(self)(self._rows[at]) if isinstance(at, slice) else self._rows[at]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[ResultRow]:
        return iter(self._rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Results) and self._rows == other._rows

    def __hash__(self) -> int:
        return hash(self._rows)

    def __repr__(self) -> str:
        return f"<{len(self):,} rows of {len(self.by_cell):,} cells>"

    @cached_property
    def by_cell(self) -> dict[Cell, Results]:
        """The rows of each cell, in order."""
        return {cell: Results(rows) for cell, rows in groupby(self._rows, key=lambda row: row.cell)}

    @cached_property
    def by_decomposer(self) -> dict[str, Results]:
        """The rows of one cell of each decomposer that asks something: all its cells share the decompositions.

        Where sub-questions are asked one at a time they hang on the solver's answers, and each solver has rows of its
        own.
        """
        found: dict[str, Results] = {}
        for cell, rows in self.by_cell.items():
            name = (
                f"{cell.decomposer} before {cell.solver}" if is_interactive(cell.decomposer) else str(cell.decomposer)
            )
            if name not in found and any(row.subquestions for row in rows):
                found[name] = rows
        return found

    @cached_property
    def tests(self) -> list[str]:
        """The tests in order; where there are several, all of them together (`ALL`) come first."""
        named = list(dict.fromkeys(row.test for row in self._rows))
        return [ALL, *named] if len(named) > 1 else named

    def of_test(self, test: str) -> Results:
        """The rows of one test, or of `ALL`."""
        return self if test == ALL else self.where(lambda row: row.test == test)

    def where(self, holds: Callable[[ResultRow], bool]) -> Results:
        """The rows of which something holds."""
        return Results(filter(holds, self._rows))

    @property
    def known(self) -> Results:
        """The rows whose credit is known."""
        return self.where(lambda row: row.credit is not None)

    @property
    def credits(self) -> list[float]:
        """The credit of each row. Raises ValueError where one is unknown."""
        found = [row.credit for row in self._rows if row.credit is not None]
        if len(found) < len(self):
            raise ValueError("a row's credit is unknown: its request failed permanently")
        return found

    @property
    def families(self) -> list[str]:
        """The family of each row's question."""
        return [row.cluster for row in self._rows]

    @property
    def by_key(self) -> Results:
        """The rows in the order of their questions."""
        return Results(sorted(self._rows, key=lambda row: row.key))

    @property
    def keys(self) -> list[QuestionKey]:
        """Which question each row is of."""
        return [row.key for row in self._rows]
