"""The tables of a report about its cells; a section's own tables stand with the section."""

from __future__ import annotations

from collections.abc import Sequence

from ..analysis.summary import (
    CellSummary,
    Decomposed,
    Decontaminated,
    Lenient,
    OverlapCount,
    ReferenceComparison,
    Substitution,
    Unknown,
    Verdicts,
)
from ..grid_spec import Cell
from ..render.table import INCOMPLETE, Places, Table, latex, number, percent, points
from ..stats.intervals import Estimate


def main(lines: Sequence[CellSummary], squares: Sequence[ReferenceComparison] = ()) -> Table:
    """A row a cell: accuracy on every test, the difference to the reference of its vote, and what a question costs."""
    tests = _tests(lines)
    priced = any(line.dollars is not None for line in lines)
    beside = {square.cell: square for square in squares}
    header = ["decomposer", "solver", "vote", *(f"{t} (n={_n(lines, t)})" for t in tests)]
    planned = any(line.plan_right or line.plan_wrong for line in lines)
    header += ["beside the reference (points)"] * bool(squares)
    header += ["where the plan is right", "repaired: where it is wrong"] * planned + ["FLOPs a question"]
    header += ["tokens: decompose", "solve", "seconds", *(["dollars"] if priced else [])]
    rows = []
    for cell, of_cell in _by_cell(lines).items():
        whole = next(iter(of_cell.values()))
        row = [*cell.names, *(_accuracy(of_cell.get(test)) for test in tests)]
        row += [_difference(beside.get(cell))] * bool(squares)
        row += [_if_known(whole.plan_right), _if_known(whole.plan_wrong)] if planned else []
        row.append(number(whole.flops))
        row += [f"{whole.decompose.tokens:.0f}", f"{whole.solve.tokens:.0f}", f"{whole.seconds:.3g}"]
        rows.append(row + ([number(whole.dollars)] if priced else []))
    return header, rows


def best(lines: Sequence[CellSummary]) -> Places:
    """The places (row, column) of the main table that hold the best accuracy of a test, of complete cells."""
    cells = list(_by_cell(lines).values())
    found = set()
    for column, test in enumerate(_tests(lines), 3):
        values = {row: of[test].accuracy.value for row, of in enumerate(cells) if test in of and of[test].is_complete}
        found |= {(row, column) for row, value in values.items() if value == max(values.values())}
    return frozenset(found)


def marks(squares: Sequence[ReferenceComparison]) -> str:
    """What the main table's signs mean."""
    held = " and ".join(dict.fromkeys(square.reference.pair for square in squares))
    return (
        f"The reference of a vote is {held}. * differs from it at the 5 % level, Holm-adjusted over the cells of the "
        "vote; McNemar's exact test, or sign flips where ties shared credit, of whole families where questions come in "
        f"some. {INCOMPLETE} is not over every question "
        "(a test without gold sub-questions); costs are then means over those that were asked, and a difference is "
        "over the questions that both cells were asked. Bold: the best of a test among cells that were asked all of it."
    )


def records(
    lines: Sequence[CellSummary], squares: Sequence[ReferenceComparison]
) -> tuple[list[str], list[list[object]]]:
    """The main table as numbers, unrounded: a row a cell and test."""
    beside = {square.cell: square for square in squares}
    header = ["decomposer", "solver", "vote", "test", "questions", "is_complete", "accuracy", "low", "high"]
    header += ["beside", "beside_low", "beside_high", "p_holm", "flops", "tokens_decompose", "tokens_solve"]
    header += ["tokens_rank", "seconds", "dollars", "plan_right", "plan_wrong"]
    whole = _tests(lines)[0]
    rows: list[list[object]] = []
    for line in lines:
        square = beside.get(line.cell) if line.test == whole else None
        against = [*(square.beside or (None,) * 3), square.p] if square else [None] * 4
        row = [*line.cell.names, line.test, line.questions, line.is_complete, *line.accuracy, *against, line.flops]
        plans = [plan.value if plan else None for plan in (line.plan_right, line.plan_wrong)]
        tokens = [line.decompose.tokens, line.solve.tokens, line.rank.tokens]
        rows.append([*row, *tokens, line.seconds, line.dollars, *plans])
    return header, rows


def changes(swaps: Sequence[Substitution]) -> Table:
    """A row a test and vote: what each student in one phase changes, in points."""
    students = sorted(dict.fromkeys((swap.phase, str(swap.student)) for swap in swaps))  # decomposers, then solvers
    header = ["test", "vote", "n", *(f"{_does(*student)} (points)" for student in students)]
    rows = []
    for test, vote in dict.fromkeys((swap.test, swap.vote) for swap in swaps):
        of_key = {(s.phase, str(s.student)): s for s in swaps if (s.test, s.vote) == (test, vote)}
        row = [test, str(vote), str(max(swap.questions for swap in of_key.values()))]
        rows.append(row + [points(of_key[who].change) if who in of_key else "" for who in students])
    return header, rows


def _does(phase: str, student: str) -> str:
    who = "student" if student == "distilled" else student
    return f"{who} {'decomposes' if phase == 'decomposer' else 'solves'}"


def decompositions(found: Sequence[Decomposed]) -> Table:
    """A row a decomposer: how many of its decompositions are right, test by test."""
    header = ["decomposer", *dict.fromkeys(f"{d.test} (n={d.questions})" for d in found)]
    names = dict.fromkeys(d.decomposer for d in found)
    return header, [[name, *(percent(d.right) for d in found if d.decomposer == name)] for name in names]


def verdicts(found: Sequence[Verdicts]) -> Table:
    """A row a cell: how its winning answers were graded."""
    header = ["decomposer", "solver", "vote", "right", "wrong", "unreadable", "timed out"]
    return header, [[*each.cell.names, *map(str, each[1:])] for each in found]


def unknown(found: Sequence[Unknown]) -> Table:
    """A row a cell and test with requests that failed permanently: what its accuracy may be on all questions."""
    header = [
        "decomposer",
        "solver",
        "vote",
        "test",
        "n",
        "unknown",
        "on the known ones",
        "on all, at least",
        "at most",
    ]
    return header, [
        [
            *each.cell.names,
            each.test,
            str(each.questions),
            str(each.failed),
            percent(each.known),
            f"{100 * each.low:.1f}",
            f"{100 * each.high:.1f}",
        ]
        for each in found
    ]


def lenient(found: Sequence[Lenient]) -> Table:
    """A row a cell and test: the verdicts' accuracy beside the softer score of papers."""
    header = ["decomposer", "solver", "vote", "test", "n", "strict", "lenient", "lenient rule"]
    return header, [
        [*each.cell.names, each.test, str(each.questions), percent(each.strict), percent(each.lenient), each.measure]
        for each in found
    ]


def overlap(found: Sequence[OverlapCount]) -> Table:
    """A row a test and phase: how many questions stand among those its student learned from, wholly or in part."""
    header = ["test", "student", "n", "the same", "the same but for spelling", "share 13 words"]
    return header, [[s.test, *map(str, s[1:])] for s in found]


def cleaned(found: Sequence[Decontaminated]) -> Table:
    """A row a cell: accuracy on all questions beside the clean ones, and leaks."""
    header = ["decomposer", "solver", "vote", "n", "all of them", "clean", "on clean ones", "leaks"]
    return header, [
        [
            *(*c.cell.names, str(c.asked), percent(c.whole), str(c.questions)),
            percent(c.clean) if c.questions else "none is clean",
            str(c.leaks),
        ]
        for c in found
    ]


def for_print(lines: Sequence[CellSummary], squares: Sequence[ReferenceComparison], note: str) -> str:
    """The main table as LaTeX, one float a vote: accuracy, the difference to the reference, FLOPs."""
    made = []
    for vote in dict.fromkeys(line.cell.vote for line in lines):
        of_vote = [line for line in lines if line.cell.vote == vote]
        header, rows = main(of_vote, [square for square in squares if square.cell.vote == vote])
        keep = [i for i, name in enumerate(header) if name not in ("vote", *_SCREEN_ONLY)]
        kept = [header[i] for i in keep], [[row[i] for i in keep] for row in rows]
        places = frozenset((row, keep.index(column)) for row, column in best(of_vote))
        made.append(latex(kept, f"Accuracy (%) and cost of every cell, {vote}.", places, note))
    return "\n".join(made)


_SCREEN_ONLY = ("tokens: decompose", "solve", "seconds", "dollars")
"""Columns of the main table that a page of paper has no room for; they are in its CSV."""


def _n(lines: Sequence[CellSummary], test: str) -> int:
    return max(line.questions for line in lines if line.test == test)


def _tests(lines: Sequence[CellSummary]) -> list[str]:
    return list(dict.fromkeys(line.test for line in lines))


def _by_cell(lines: Sequence[CellSummary]) -> dict[Cell, dict[str, CellSummary]]:
    found: dict[Cell, dict[str, CellSummary]] = {}
    for line in lines:
        found.setdefault(line.cell, {})[line.test] = line
    return found


def _accuracy(line: CellSummary | None) -> str:
    if line is None:
        return "not asked"
    return percent(line.accuracy) + ("" if line.is_complete else f" {INCOMPLETE} n={line.questions}")


def _if_known(accuracy: Estimate | None) -> str:
    return percent(accuracy) if accuracy else ""


def _difference(square: ReferenceComparison | None) -> str:
    if square is None:
        return ""
    if square.beside is None or square.p is None:
        return "reference" if square.cell == square.reference else "no question in common"
    dagger, star = ("" if square.is_beside_complete else f" {INCOMPLETE}"), ("*" if square.p < 0.05 else "")
    return points(square.beside) + dagger + star
