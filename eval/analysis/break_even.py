"""When distilling pays: what is paid once for a cell's students, over what each question then costs less.

With C paid once and d saved a question, N questions cost C + c N, and N* = C / d of them pay it back. C is a known sum,
d a mean over questions, so that the interval of N* is that of d turned over: Fieller's (1954), where only the
denominator varies. It covers the choice of questions, not another draw of traces or another training.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from ...lm.cost.flops import total
from ..grid.rows import Results
from ..grid_spec import BASE, LLM, Cell, NoDecomposition, VoteSpec, is_of_use, is_student
from ..stats.intervals import Estimate, difference, students
from .training_cost import Currency, UpfrontCosts

NEVER = inf
"""Questions, of a cell that costs no less."""


def break_even(upfront: float, saved: Estimate) -> Estimate:
    """Questions after which an outlay is paid back, by what each saves; NEVER where nothing is saved.

    The interval is that of `saved` turned over, and reaches to NEVER where it reaches 0.
    """
    return Estimate(*(upfront / each if each > 0 else NEVER for each in (saved.value, saved.high, saved.low)))


class BreakEven(NamedTuple):
    """A cell with students beside one that asks the LLM alone."""

    cell: Cell
    beside: Cell
    upfront: float | None
    """Paid once for the cell's students; None is unknown, here and below."""
    query: float | None
    """What a question costs the cell."""
    query_beside: float | None
    saved: Estimate | None
    """A question: what the other cell costs, less what this one does, on the same questions."""
    queries: Estimate | None
    """Until the outlay is paid back; NEVER where nothing is saved."""
    accuracy: Estimate
    """Of the cell, less that of the other."""


def break_evens(rows: Results, upfront_costs: UpfrontCosts, currency: Currency) -> list[BreakEven]:
    """Every cell that could be put to work and has a student, beside every cell of its vote that asks the LLM alone."""
    cells = rows.by_cell
    found: list[BreakEven] = []
    for cell, of_cell in cells.items():
        if not upfront_costs.students(cell) or not is_of_use(cell.decomposer):
            continue
        found += [
            _against(cell, beside, of_cell.by_key, cells[beside].by_key, upfront_costs, currency)
            for beside in references(cell, list(cells))
        ]
    return found


def references(cell: Cell, cells: Sequence[Cell]) -> list[Cell]:
    """The cells that ask one LLM alone, by the same vote; by a vote over as many samples where it needs a ranker.

    It is the cell's own solver where that is no student, else the teacher; it decomposes for itself, or nobody does.
    """
    alone = LLM if is_student(cell.solver) or cell.solver == BASE else cell.solver
    asks_llm = [c for spec in (alone, NoDecomposition()) for c in cells if (c.decomposer, c.solver) == (spec, alone)]
    plain = list(dict.fromkeys(c.vote for c in asks_llm if c.vote.voting_rule().score != "rank"))
    alike = [v for v in plain if v == cell.vote] or [v for v in plain if _are_as_many(v, cell.vote)]
    return [c for c in asks_llm if c.vote in alike[:1]]


def _are_as_many(a: VoteSpec, b: VoteSpec) -> bool:
    """Whether two votes are over as many samples, neither or both greedy."""
    return (a.is_greedy, a.samples) == (b.is_greedy, b.samples)


def _against(
    cell: Cell, beside: Cell, own: Results, other: Results, upfront_costs: UpfrontCosts, currency: Currency
) -> BreakEven:
    upfront = upfront_costs.cell(cell).of(currency)
    costs, costs_beside = _costs(own, currency), _costs(other, currency)
    saved = None
    if costs is not None and costs_beside is not None:
        saved = students([b - a for a, b in zip(costs, costs_beside, strict=True)], own.families)
    return BreakEven(
        cell,
        beside,
        upfront,
        None if costs is None else sum(costs) / len(costs),
        None if costs_beside is None else sum(costs_beside) / len(costs_beside),
        saved,
        None if upfront is None or saved is None else break_even(upfront, saved),
        difference(own.credits, other.credits, own.families),
    )


def _costs(rows: Results, currency: Currency) -> list[float] | None:
    """Of each question; None where one is unknown."""
    each = [total(phase.in_currency(currency) for phase in row.phases) for row in rows]
    known = [amount for amount in each if amount is not None]
    return known if len(known) == len(each) else None
