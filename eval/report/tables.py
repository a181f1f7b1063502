"""Every table of a report, from what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from ..analysis.agreement import ALL, BlameLine, MeasureLine, Views
from ..analysis.break_even import BreakEven
from ..analysis.decomposition_quality import MEASURES, QualityLine
from ..analysis.errors import CAUSES, RIGHT, SLIPS, STEPS, CauseLine, SwapLine
from ..analysis.pareto import Frontier, Reached
from ..analysis.ranker import ScoreLine
from ..analysis.summary import (
    CellSummary,
    Decomposed,
    Decontaminated,
    Lenient,
    OverlapCount,
    ReferenceComparison,
    Substitution,
    Tokens,
    Verdicts,
)
from ..analysis.training_cost import Currency, Item
from ..analysis.votes import RuleLine, StopLine
from ..grid.evaluate import Cell
from ..render.table import INCOMPLETE, Places, Table, decimal, latex, number, percent, points, questions


def main(lines: Sequence[CellSummary], squares: Sequence[ReferenceComparison] = ()) -> Table:
    """A row a cell: accuracy on every test, the difference to the reference of its vote, and what a question costs."""
    tests = _tests(lines)
    priced = any(line.dollars is not None for line in lines)
    beside = {square.cell: square for square in squares}
    header = ["decomposer", "solver", "vote", *(f"{t} (n={_n(lines, t)})" for t in tests)]
    header += ["beside the reference (points)"] * bool(squares) + ["FLOPs a question"]
    header += ["tokens: decompose", "solve", "seconds", *(["dollars"] if priced else [])]
    rows = []
    for cell, of_cell in _by_cell(lines).items():
        whole = next(iter(of_cell.values()))
        row = [*cell, *(_accuracy(of_cell.get(test)) for test in tests)]
        row += [_difference(beside.get(cell))] * bool(squares) + [number(whole.flops)]
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
    held = " and ".join(dict.fromkeys(_pair(square.reference) for square in squares))
    return (
        f"The reference of a vote is {held}. * differs from it at the 5 % level, Holm-adjusted over the cells of the "
        f"vote; McNemar's exact test, or sign flips where ties shared credit. {INCOMPLETE} is not over every question "
        "(a test without gold sub-questions); costs are then means over those that were asked, and a difference is "
        "over the questions that both cells were asked. Bold: the best of a test among cells that were asked all of it."
    )


def _pair(cell: Cell) -> str:
    return f"{cell.decomposer} \N{RIGHTWARDS ARROW} {cell.solver}"


def records(
    lines: Sequence[CellSummary], squares: Sequence[ReferenceComparison]
) -> tuple[list[str], list[list[object]]]:
    """The main table as numbers, unrounded: a row a cell and test."""
    beside = {square.cell: square for square in squares}
    header = ["decomposer", "solver", "vote", "test", "questions", "is_complete", "accuracy", "low", "high"]
    header += ["beside", "beside_low", "beside_high", "p_holm", "flops", "tokens_decompose", "tokens_solve"]
    header += ["tokens_rank", "seconds", "dollars"]
    whole = _tests(lines)[0]
    rows: list[list[object]] = []
    for line in lines:
        square = beside.get(line.cell) if line.test == whole else None
        against = [*(square.beside or (None,) * 3), square.p] if square else [None] * 4
        row = [*line.cell, line.test, line.questions, line.is_complete, *line.accuracy, *against, line.flops]
        rows.append([*row, line.decompose.tokens, line.solve.tokens, line.rank.tokens, line.seconds, line.dollars])
    return header, rows


def changes(swaps: Sequence[Substitution]) -> Table:
    """A row a test and vote: what each student in one phase changes, in points."""
    students = sorted(dict.fromkeys((swap.phase, swap.student) for swap in swaps))  # decomposers, then solvers
    header = ["test", "vote", "n", *(f"{_does(*student)} (points)" for student in students)]
    rows = []
    for test, vote in dict.fromkeys((swap.test, swap.vote) for swap in swaps):
        of_key = {(s.phase, s.student): s for s in swaps if (s.test, s.vote) == (test, vote)}
        row = [test, vote, str(max(swap.questions for swap in of_key.values()))]
        rows.append(row + [points(of_key[who].change) if who in of_key else "" for who in students])
    return header, rows


def _does(phase: str, student: str) -> str:
    who = "student" if student == "distilled" else student
    return f"{who} {'decomposes' if phase == 'decomposer' else 'solves'}"


def votes(found: Sequence[RuleLine]) -> Table:
    """A row a composition and rule: its accuracy, and the difference to the first rule on the same samples."""
    header = ["decomposer", "solver", "vote", "all questions", f"beside {found[0].vote} (points)"]
    header += ["questions to see one point"]
    return header, [
        [
            *line.composition,
            line.vote,
            percent(line.accuracy),
            points(line.beside) if line.beside else "",
            f"{line.needed:,.0f}" if line.needed else "",
        ]
        for line in found
    ]


def stops(found: Sequence[StopLine]) -> Table:
    """A row a composition and rule to stop by: what it would have bought, and what that loses."""
    header = ["decomposer", "solver", "stop", "samples", "all questions", "beside all samples (points)"]
    return header, [
        [*line.composition, line.stop, f"{line.samples:.2f}", percent(line.accuracy), points(line.beside)]
        for line in found
    ]


def scores(found: Sequence[ScoreLine]) -> Table:
    """A row a composition and kind of score: how well it tells right solutions from wrong ones."""
    header = ["decomposer", "solver", "score", "pairs told (%)", "AUROC"]
    return header, [
        [*line.composition, line.score, percent(line.worth.pairs), f"{line.worth.auroc:.3f}"]
        if line.worth.has_pairs
        else [*line.composition, line.score, "no pair", ""]
        for line in found
    ]


def costs(items: Sequence[Item]) -> Table:
    """A row for the teacher's traces and for each training: what was paid once."""
    on_gpu = any(item.gpu_seconds is not None for item in items)
    priced = any(item.outlay.dollars is not None for item in items)
    header = ["paid once", "tokens", "FLOPs", "seconds", "on"]
    header += ["GPU-seconds"] * on_gpu + ["dollars"] * priced
    return header, [
        [
            item.name,
            number(item.tokens) if item.tokens is None else f"{item.tokens:,.0f}",
            number(item.outlay.flops),
            number(item.outlay.seconds),
            item.device or "unknown",
            *([number(item.gpu_seconds) if item.gpu_seconds is not None else ""] if on_gpu else []),
            *([number(item.outlay.dollars)] if priced else []),
        ]
        for item in items
    ]


def break_even(found: Sequence[BreakEven], currency: Currency) -> Table:
    """A row a cell with students: after how many questions they are paid back, beside each cell of the LLM alone."""
    unit = {"flops": "FLOPs", "seconds": "seconds", "dollars": "dollars"}[currency]
    besides = list(dict.fromkeys(one.beside[:2] for one in found))
    header = ["decomposer", "solver", "vote", f"{unit}, once", f"{unit} a question"]
    for decomposer, solver in besides:
        label = f"{decomposer} \N{RIGHTWARDS ARROW} {solver}"
        header += [f"questions to repay beside {label}", f"accuracy beside {label} (points)"]
    rows = []
    for cell in dict.fromkeys(one.cell for one in found):
        of_cell = {one.beside[:2]: one for one in found if one.cell == cell}
        first = next(iter(of_cell.values()))
        row = [*cell, number(first.outlay), number(first.query)]
        for beside in besides:
            one = of_cell.get(beside)
            row += [questions(one.queries), points(one.accuracy)] if one else ["", ""]
        rows.append(row)
    return header, rows


def frontiers(found: Sequence[Frontier]) -> Table:
    """A row a cell that nothing as cheap surpasses, on every cost axis."""
    header = ["decomposer", "solver", "vote", "cost", "a question", "all questions"]
    return header, [
        [*point.cell, one.axis, number(point.cost), percent(point.accuracy)] for one in found for point in one.front
    ]


def reached(found: Sequence[Reached]) -> Table:
    """A row a cost and accuracy: the cheapest cell that reaches it, and the cheapest that surely does."""
    header = ["cost", "accuracy (%)", "cheapest cell", "a question", "surely: cheapest cell", "a question"]
    return header, [
        [one.axis, f"{100 * one.accuracy:.1f}"]
        + [said for p in (one.cheapest, one.surely) for said in ([p.cell.label, number(p.cost)] if p else ["none", ""])]
        for one in found
    ]


def decompositions(found: Sequence[Decomposed]) -> Table:
    """A row a decomposer: how many of its decompositions are right, test by test."""
    header = ["decomposer", *dict.fromkeys(f"{d.test} (n={d.questions})" for d in found)]
    names = dict.fromkeys(d.decomposer for d in found)
    return header, [[name, *(percent(d.right) for d in found if d.decomposer == name)] for name in names]


def tokens(found: Sequence[Tokens]) -> Table:
    """A row a cell and phase: what it reads and writes, a question."""
    header = ["decomposer", "solver", "vote", "phase", "samples", "prompt tokens", "cached", "completion tokens"]
    return [*header, "reasoning"], [
        [*each.cell, each.phase, f"{each.calls:.3g}", *(f"{amount:.0f}" for amount in each[3:])] for each in found
    ]


def verdicts(found: Sequence[Verdicts]) -> Table:
    """A row a cell: how its winning answers were graded."""
    header = ["decomposer", "solver", "vote", "right", "wrong", "unreadable", "timed out"]
    return header, [[*each.cell, *map(str, each[1:])] for each in found]


def lenient(found: Sequence[Lenient]) -> Table:
    """A row a cell and test: the verdicts' accuracy beside the softer score of papers."""
    header = ["decomposer", "solver", "vote", "test", "n", "strict", "lenient", "lenient rule"]
    return header, [
        [*each.cell, each.test, str(each.questions), percent(each.strict), percent(each.lenient), each.measure]
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
            *(*c.cell, str(c.asked), percent(c.whole), str(c.questions)),
            percent(c.clean) if c.questions else "none is clean",
            str(c.leaks),
        ]
        for c in found
    ]


def causes(found: Sequence[CauseLine]) -> Table:
    """A row a cell: what its answers are put down to, and the decomposition's share of the wrong ones."""
    header = ["decomposer", "solver", "vote", "n"]
    header += [f"right: {_RIGHTLY[cause]}" for cause in RIGHT]
    header += ["wrong: decomposition", "local", "propagation", "both", "unreadable", "decomposition, of wrong (%)"]
    return header, [
        [
            *line.cell,
            str(line.questions),
            *(str(line.counts.get(cause, 0)) for cause in CAUSES),
            percent(line.of_wrong("decomposition")) if line.wrong else "none is wrong",
        ]
        for line in found
    ]


_RIGHTLY = dict(zip(RIGHT, ("all steps", "recovered decomposition", "recovered step", "unreadable"), strict=True))


def slips(found: Sequence[CauseLine]) -> Table:
    """A row a cell: what is wrong with the first wrong step of its wrong answers under a right decomposition."""
    header = ["decomposer", "solver", "vote", "wrong answers", *SLIPS]
    return header, [
        [*line.cell, str(sum(line.slips.values())), *(str(line.slips.get(slip, 0)) for slip in SLIPS)]
        for line in found
        if line.slips
    ]


def steps(found: Sequence[CauseLine]) -> Table:
    """A row a cell: what its steps under right decompositions are, in per cent of them."""
    header = ["decomposer", "solver", "vote", "steps", *(f"{step} (%)" for step in STEPS)]
    return header, [
        [*line.cell, str(n), *(f"{100 * line.steps.get(step, 0) / n:.1f}" for step in STEPS)]
        for line in found
        if (n := sum(line.steps.values()))
    ]


def swapped(found: Sequence[SwapLine]) -> Table:
    """A row a cell: its answers beside the same solver's with gold sub-questions, in per cent of all questions."""
    header = ["decomposer", "solver", "vote", "n", "wrong, right with gold: decomposition", "wrong with both: solving"]
    header += ["right, wrong with gold: recovery", "of wrong, right with gold", "with gold less own (points)"]
    return header, [
        [
            *line.cell,
            str(line.questions),
            *(percent(line.share(of)) for of in ("decomposition", "solving", "recovery")),
            percent(line.of_wrong) if line.wrong else "none is wrong",
            points(line.gain),
        ]
        for line in found
    ]


def quality(found: Sequence[QualityLine]) -> Table:
    """A row a decomposer: what its decompositions are like, as means over those with sub-questions."""
    names = [name for name in MEASURES if any(name in line.means for line in found)]
    header = ["decomposer", "n", "with sub-questions", "unreadable (%)", "none needed (%)", *names]
    return header, [
        [
            line.decomposer,
            str(line.questions),
            str(line.asked),
            percent(line.unreadable),
            percent(line.not_needed),
            *(decimal(line.means[name]) if name in line.means else "unknown" for name in names),
        ]
        for line in found
    ]


def measures(found: Sequence[MeasureLine]) -> Table:
    """A row a measure: how well it tells right decompositions from wrong ones, decomposer by decomposer."""
    heads = {
        line.decomposer: f"{line.decomposer} ({line.right} of {line.decompositions} right)" for line in found[::-1]
    }
    decomposers = list(dict.fromkeys(line.decomposer for line in found))
    names = list(dict.fromkeys(line.measure for line in found))
    of = {(line.measure, line.decomposer): line for line in found}
    paired = [name for name in names if (name, ALL) in of and not isnan(of[name, ALL].pairs.value)]
    header = ["measure (AUROC)", *(heads[decomposer] for decomposer in decomposers)]
    header += ["pairs of one question (%)"] if paired else []
    rows = []
    for name in names:
        told = [decimal(of[name, one].auroc) if (name, one) in of else "" for one in decomposers]
        rows.append([name, *told, *([percent(of[name, ALL].pairs) if name in paired else ""] if paired else [])])
    return header, rows


def blamed(found: Sequence[BlameLine]) -> Table:
    """A row a measure: how well it tells wrong answers that are put down to the decomposition, solver by solver."""
    of = {(line.measure, line.solver, line.vote): line for line in found}
    solvers = list(dict.fromkeys((line.solver, line.vote) for line in found))
    names = list(dict.fromkeys(line.measure for line in found))
    rows = [
        [name, *(decimal(of[name, *solver].auroc) if (name, *solver) in of else "" for solver in solvers)]
        for name in names
    ]
    first = {solver: next(of[name, *solver] for name in names if (name, *solver) in of) for solver in solvers}
    heads = [
        f"{solver}, {vote} ({first[solver, vote].blamed} of {first[solver, vote].wrong})" for solver, vote in solvers
    ]
    return ["measure (AUROC)", *heads], rows


def views(found: Sequence[Views]) -> Table:
    """A row a solver: how far the two ways to blame a wrong answer agree."""
    header = ["solver", "vote", "wrong answers", "both blame the decomposition", "both the solving"]
    header += ["steps the decomposition, gold does not help", "steps the solving, gold helps", "agree (%)", "kappa"]
    return header, [
        [line.solver, line.vote, str(line.both), *map(str, line.crossed), percent(line.share), decimal(line.kappa)]
        for line in found
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


def _difference(square: ReferenceComparison | None) -> str:
    if square is None:
        return ""
    if square.beside is None or square.p is None:
        return "reference" if square.cell == square.reference else "no question in common"
    dagger, star = ("" if square.is_beside_complete else f" {INCOMPLETE}"), ("*" if square.p < 0.05 else "")
    return points(square.beside) + dagger + star
