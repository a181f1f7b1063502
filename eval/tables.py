"""The study's table as Markdown and as LaTeX (booktabs)."""

from __future__ import annotations

from collections.abc import Sequence
from math import isinf

from .amortise import Repaid
from .ballots import RuleLine, StopLine
from .frontier import Frontier, Reached
from .outlays import Currency, Item
from .ranking import ScoreLine
from .stats import Estimate
from .summary import Clean, Decomposed, Lenient, Line, Shared, Swap, Verdicts

Table = tuple[list[str], list[list[str]]]
"""A header and rows of cells."""


def main(lines: Sequence[Line]) -> Table:
    """A row a cell: accuracy on every test, then what a question costs."""
    tests = list(dict.fromkeys(line.test for line in lines))
    priced = any(line.dollars is not None for line in lines)
    header = ["decomposer", "solver", "vote", *(f"{t} (n={_n(lines, t)})" for t in tests), "FLOPs a question"]
    header += ["tokens: decompose", "solve", "seconds", *(["dollars"] if priced else [])]
    cells = {line.cell: [other for other in lines if other.cell == line.cell] for line in lines}
    rows = []
    for cell, of_cell in cells.items():
        whole = of_cell[0]
        row = [*cell, *(percent(line.accuracy) for line in of_cell), number(whole.flops)]
        row += [f"{whole.decompose.tokens:.0f}", f"{whole.solve.tokens:.0f}", f"{whole.seconds:.3g}"]
        rows.append(row + ([number(whole.dollars)] if priced else []))
    return header, rows


def changes(swaps: Sequence[Swap]) -> Table:
    """A row a test and vote: what the student in one phase changes, in points."""
    header = ["test", "vote", "n", "student decomposes (points)", "student solves (points)"]
    keys = list(dict.fromkeys((swap.test, swap.vote) for swap in swaps))
    rows = []
    for test, vote in keys:
        of_key = {swap.phase: swap for swap in swaps if (swap.test, swap.vote) == (test, vote)}
        row = [test, vote, str(next(iter(of_key.values())).questions)]
        rows.append(row + [points(of_key[p].change) if p in of_key else "" for p in ("decomposer", "solver")])
    return header, rows


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


def break_even(found: Sequence[Repaid], currency: Currency) -> Table:
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


def questions(estimate: Estimate | None) -> str:
    """`12,300 [11,900, 12,800]`, to three digits; `never` where nothing is saved."""
    if estimate is None:
        return "unknown"
    value, low, high = ("never" if isinf(n) else f"{float(f'{n:.3g}'):,.0f}" for n in estimate)
    return value if value == low == high else f"{value} [{low}, {high}]"


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


def overlap(found: Sequence[Shared]) -> Table:
    """A row a test and phase: how many questions stand among those its student learned from, wholly or in part."""
    header = ["test", "student", "n", "the same", "the same but for spelling", "share 13 words"]
    return header, [[s.test, *map(str, s[1:])] for s in found]


def cleaned(found: Sequence[Clean]) -> Table:
    """A row a cell: accuracy on all questions beside the clean ones, and leaks."""
    header = ["decomposer", "solver", "vote", "all questions", f"clean questions (n={found[0].questions})", "leaks"]
    return header, [
        [*c.cell, percent(c.whole), percent(c.clean) if c.questions else "none is clean", str(c.leaks)] for c in found
    ]


def markdown(table: Table) -> str:
    header, rows = table
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines) + "\n"


def latex(table: Table, caption: str) -> str:
    """A floating table for `booktabs`; needs no other package."""
    header, rows = table
    body = "\n".join(" & ".join(map(_escape, row)) + r" \\" for row in rows)
    head = " & ".join(map(_escape, header)) + r" \\"
    return (
        "\\begin{table}\n\\centering\n\\small\n"
        f"\\caption{{{_escape(caption)}}}\n\\begin{{tabular}}{{lll{'r' * (len(header) - 3)}}}\n\\toprule\n"
        f"{head}\n\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    )


def percent(estimate: Estimate) -> str:
    """`73.5 [67.0, 79.1]`, in per cent."""
    value, low, high = (100 * part for part in estimate)
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def points(estimate: Estimate) -> str:
    """`-3.5 [-7.0, +0.5]`, in percentage points."""
    value, low, high = (100 * part for part in estimate)
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def number(value: float | None) -> str:
    """Three significant digits; what nobody knows is called so."""
    return "unknown" if value is None else f"{value:.3g}"


def _n(lines: Sequence[Line], test: str) -> int:
    return next(line.questions for line in lines if line.test == test)


def _escape(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {character: f"\\{character}" for character in "_%&#${}"}
