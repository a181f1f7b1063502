"""The page's browser of questions: an index that its filters read, and the texts, packed in chunks of questions.

A text is stored once for each question: cells share decompositions, and the votes of a composition share samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from math import isfinite
from typing import Any, NamedTuple

from ...solve.voting.rules import winners
from ..analysis.votes import scores_of, tally_of
from ..grid.rows import PhaseCost, QuestionKey, ResultRow, Results
from ..grid_spec import Cell, DecomposerSpec, SolverSpec
from ..render import page

BUDGET = 28_000_000
"""Bytes that packed texts may take in the page."""
_QUESTIONS = 50
"""That are unpacked together, at most."""
_CHARACTERS = 1_500_000
"""Of texts in a chunk; a longer question has a chunk of its own."""
_CODES = {"right": "r", "wrong": "w", "unreadable": "u", "timed out": "t"}
_SHARED, _ABSENT = "s", "-"


class Samples(NamedTuple):
    """What votes of one composition share."""

    decomposer: DecomposerSpec
    solver: SolverSpec
    many: int | None
    """How many there are; None for the greedy solution."""

    @classmethod
    def of(cls, cell: Cell) -> Samples:
        return cls(cell.decomposer, cell.solver, None if cell.vote.is_greedy else cell.vote.samples)


class Chunk(NamedTuple):
    """Neighbouring questions whose texts are packed together."""

    start: int
    end: int
    """Of the questions in the order of the index; the last one is not in it."""
    packed: str


@dataclass(frozen=True)
class Browser:
    """A run's questions with what every cell made of them."""

    cells: Mapping[Cell, Mapping[QuestionKey, ResultRow]]
    budget: int = BUDGET

    @classmethod
    def of(cls, rows: Results, budget: int = BUDGET) -> Browser:
        """From a run's results."""
        return cls({cell: dict(zip(of.keys, of, strict=True)) for cell, of in rows.by_cell.items()}, budget)

    def sections(self) -> list[str]:
        """For the page, with the index and without the texts."""
        left = len(self._keys) - sum(chunk.end - chunk.start for chunk in self.chunks)
        return [
            "<h2>Questions</h2>",
            "<p>What two cells made of the same questions, side by side. Right means full credit and wrong none, be it "
            "wrong, unreadable or timed out; a tie that shares credit is neither.</p>",
            *([f"<p class=note>{self._without(left)}</p>"] if left else []),
            "<div id=browser><p class=unscripted>This needs JavaScript. The texts are in results.parquet.</p></div>",
            page.block("index", page.packed(self._index())),
        ]

    def blocks(self) -> list[str]:
        """The texts: large, and to stand behind all that is seen at first."""
        return [page.block(f"texts-{chunk.start}", chunk.packed) for chunk in self.chunks]

    def _without(self, left: int) -> str:
        return (
            f"This page holds the texts of {len(self._keys) - left:,} of {len(self._keys):,} questions, all that fit "
            f"into {self.budget / 1e6:g} MB; those of the other {left:,} are in results.parquet. Filters count all "
            "questions."
        )

    @cached_property
    def _questions(self) -> dict[QuestionKey, ResultRow]:
        """One row of each, test by test."""
        found: dict[QuestionKey, ResultRow] = {}
        for of in self.cells.values():
            found = {**of, **found}
        tests = list(dict.fromkeys(test for test, _ in found))
        return {key: found[key] for key in sorted(found, key=lambda key: tests.index(key[0]))}

    @cached_property
    def _keys(self) -> list[QuestionKey]:
        return list(self._questions)

    @cached_property
    def _samples(self) -> dict[Samples, list[Cell]]:
        """The cells whose votes share them."""
        found: dict[Samples, list[Cell]] = {}
        for cell in self.cells:
            found.setdefault(Samples.of(cell), []).append(cell)
        return found

    # -- the index ---------------------------------------------------------------------------------------------------

    def _index(self) -> dict[str, Any]:
        tests = list(dict.fromkeys(test for test, _ in self._questions))
        shared = list(self._samples)
        return {
            "cells": [[*cell.names, shared.index(Samples.of(cell))] for cell in self.cells],
            "decomposers": list(map(str, self._decomposers)),
            "tests": tests,
            "test": [tests.index(test) for test, _ in self._questions],
            "id": [name for _, name in self._questions],
            "question": [row.question for row in self._questions.values()],
            "gold": [row.gold for row in self._questions.values()],
            "verdicts": ["".join(_code(of.get(key)) for key in self._questions) for of in self.cells.values()],
            "disagree": [self._disagree(cells) for cells in self._samples.values()],
            "chunks": [[chunk.start, chunk.end] for chunk in self.chunks],
        }

    def _disagree(self, cells: Sequence[Cell]) -> str:
        """Question by question: 1 where two rules let other answers win; nothing where one rule is alone."""
        if len(cells) < 2:
            return ""
        votes = [self.cells[cell] for cell in cells]
        won = ([frozenset(winners(tally_of(of[key]))) for of in votes if key in of] for key in self._questions)
        return "".join(str(int(len(set(each)) > 1)) for each in won)

    @cached_property
    def _decomposers(self) -> list[DecomposerSpec]:
        return list(dict.fromkeys(cell.decomposer for cell in self.cells))

    # -- the texts ---------------------------------------------------------------------------------------------------

    @cached_property
    def chunks(self) -> list[Chunk]:
        """In the order of the questions; of more than fit, as many of every test."""
        spent, found = 0, []
        for start, end in self._spans():
            packed = page.packed(self._chunk(start, end))
            if spent + len(packed) <= self.budget:
                spent += len(packed)
                found.append(Chunk(start, end, packed))
        return sorted(found)

    def _spans(self) -> Iterator[tuple[int, int]]:
        """Where chunks start and end: the first of every test, the second of every test, and so on."""
        by_test: dict[str, list[tuple[int, int]]] = {}
        size = 0
        for i, (key, row) in enumerate(self._questions.items()):
            spans, own = by_test.setdefault(key[0], []), self._size(key) + len(row.question)
            if spans and spans[-1][1] - spans[-1][0] < _QUESTIONS and size + own <= _CHARACTERS:
                spans[-1], size = (spans[-1][0], i + 1), size + own
            else:
                spans.append((i, i + 1))
                size = own
        return (span for each in zip_longest(*by_test.values()) for span in each if span)

    def _size(self, key: QuestionKey) -> int:
        """Characters of a question's solutions."""
        rows = (self.cells[cells[0]].get(key) for cells in self._samples.values())
        return sum(len(text or "") for row in rows if row for text in (*row.solutions, *(row.reasoning or ())))

    def _chunk(self, start: int, end: int) -> dict[str, Any]:
        """Texts stand by themselves: among numbers they compress a twelfth worse."""
        texts = [_Texts() for _ in range(start, end)]
        made = [self._question(key, own) for key, own in zip(self._keys[start:end], texts, strict=True)]
        return {"questions": made, "texts": [own.kept() for own in texts]}

    def _question(self, key: QuestionKey, texts: _Texts) -> dict[str, Any]:
        """What all cells made of one question, texts by their numbers."""
        rows = [of.get(key) for of in self.cells.values()]
        by_decomposer = {row.cell.decomposer: row for row in reversed(rows) if row}
        sampled = [self.cells[cells[0]].get(key) for cells in self._samples.values()]
        return {
            "decompositions": [
                _decomposition(by_decomposer[name], texts) if name in by_decomposer else None
                for name in self._decomposers
            ],
            "samples": [row and _sampled(row, texts) for row in sampled],
            "cells": [row and _cell(row, texts) for row in rows],
        }


class _Texts:
    """Texts, each kept once, by number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __call__(self, text: str | None) -> int | None:
        return None if text is None else self._numbers.setdefault(text, len(self._numbers))

    def kept(self) -> list[str]:
        return list(self._numbers)


def _decomposition(row: ResultRow, texts: _Texts) -> dict[str, Any]:
    return {
        "kind": row.decomposition_kind,
        "right": row.decomposition_right,
        "leaks": row.leaks_answer,
        "text": texts(row.decomposition),
        **({"thought": texts(row.decomposition_reasoning)} if row.decomposition_reasoning else {}),
        "asks": [texts(one) for one in row.subquestions],
        "cost": _cost(row.decompose, row),
    }


def _sampled(row: ResultRow, texts: _Texts) -> dict[str, Any]:
    known = {name: list(map(_number, of)) for name, of in scores_of(row).items() if any(s is not None for s in of)}
    thoughts = row.reasoning or ()
    return {
        "texts": list(map(texts, row.solutions)),
        **({"thoughts": list(map(texts, thoughts))} if any(thoughts) else {}),
        "answers": list(map(texts, row.answers)),
        "verdicts": "".join(_CODES[verdict] for verdict in row.verdicts),
        "classes": row.classes,
        "scores": known,
        "cost": _cost(row.solve, row),
    }


def _cell(row: ResultRow, texts: _Texts) -> dict[str, Any]:
    """The tally is only told where there is a vote."""
    told: dict[str, Any] = {"answer": texts(row.answer), "credit": row.credit, "cost": _cost(row.rank, row)}
    if row.cell.vote.is_greedy:
        return told
    tally = tally_of(row)
    return told | {"tally": [[of, _number(weight)] for of, weight in tally.items()], "won": winners(tally)}


def _cost(phase: PhaseCost, row: ResultRow) -> list[float | None]:
    """Prompt tokens, completion tokens, FLOPs, seconds, dollars; where anybody reasoned, tokens of that too."""
    amounts = [phase.prompt_tokens, phase.completion_tokens, phase.flops, phase.seconds, phase.dollars]
    if any(each.reasoning_tokens for each in row.phases):
        amounts.append(phase.reasoning_tokens)
    return list(map(_number, amounts))


def _number(value: float | None) -> float | None:
    """Three significant digits, as they are shown; what is not finite is unknown."""
    if value is None or not isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.3g}")


def _code(row: ResultRow | None) -> str:
    """One letter: how a row was graded, or that credit was shared."""
    if row is None:
        return _ABSENT
    return _SHARED if row.credit not in (0.0, 1.0) else _CODES[row.verdict]
