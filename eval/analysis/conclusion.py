"""What a run concludes, in sentences that rules make of its numbers: what is not told apart is said to be so.

All of it is on all questions, under the first vote, with intervals over families of questions. One run says nothing of
another training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..grid.evaluate import Cell
from ..grid_spec import is_of_use, is_student, track
from ..stats.intervals import Estimate, difference
from .summary import CellSummary, Rows, by_cell, lines, paired

_MOST = 3
"""Students whose losses are told in words; of more, the tables tell them."""


def conclusions(rows: Rows) -> list[str]:
    """What each half loses, which loses less, what dominates it, and whether its controls are told from it.

    Empty where no student took the LLM's place.
    """
    first = next(iter(by_cell(rows)))
    cells = {cell: of for cell, of in by_cell(rows).items() if cell.vote == first.vote}
    whole = {line.cell: line for line in reversed(lines(rows)) if line.cell in cells}  # the first test is all of them
    halves = {half: _students(cells, half) for half in ("decomposer", "solver")}
    if not any(halves.values()):
        return []
    return [
        *_losses(cells, halves),
        *_halves(cells, halves),
        *_dominated(cells, whole),
        *_untrained(cells),
        *_single(cells, whole),
    ]


Cells = Mapping[Cell, Rows]


def _students(cells: Cells, half: str) -> list[Cell]:
    """The cells in which a student has taken the LLM's place in one half, and the LLM has the other."""
    place, other = (0, 1) if half == "decomposer" else (1, 0)
    return [cell for cell in cells if is_student(cell[place]) and cell[other] == "llm"]


def _losses(cells: Cells, halves: Mapping[str, Sequence[Cell]]) -> list[str]:
    said = []
    for students in halves.values():
        for cell in students if len(students) <= _MOST else ():
            llm = Cell("llm", "llm", cell.vote)
            if llm in cells:
                said.append(f"{_name(cell)[:1].upper()}{_name(cell)[1:]} {_loses(_less(cells, cell, llm))}.")
    return said


def _loses(change: Estimate) -> str:
    if not is_told(change):
        return f"is not told from the LLM in both phases ({_points(change)})"
    verb = "loses" if change.value < 0 else "gains"
    low, high = sorted((abs(change.low), abs(change.high)))
    amount = f"{100 * abs(change.value):.1f} points [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{verb} {amount} against the LLM in both phases"


def _halves(cells: Cells, halves: Mapping[str, Sequence[Cell]]) -> list[str]:
    """Which half loses less, where all pairs of students agree."""
    contrasts = [_less(cells, a, b) for a in halves["decomposer"] for b in halves["solver"]]
    if not contrasts:
        return []
    measured = "; ".join(map(_points, contrasts[:_MOST]))
    if all(change.low > 0 for change in contrasts):
        return [f"Distilling the decomposer loses less than distilling the solver ({measured})."]
    if all(change.high < 0 for change in contrasts):
        return [
            f"Distilling the solver loses less than distilling the decomposer ({measured}, decomposer less solver)."
        ]
    return [f"Which half loses less is not told (decomposer less solver: {measured})."]


def _dominated(cells: Cells, whole: Mapping[Cell, CellSummary]) -> list[str]:
    """Cells with a student beside cheaper ones that are surely more accurate."""
    said, useful = [], [cell for cell in cells if is_of_use(cell.decomposer)]
    for cell in useful:
        if not (is_student(cell.decomposer) or is_student(cell.solver)):
            continue
        own = whole[cell].flops
        cheaper = [one for one in useful if one != cell and _costs_less(whole[one].flops, own)]
        better = [(change, one) for one in cheaper if (change := _less(cells, one, cell)).low > 0]
        if better and own:
            change, one = max(better, key=lambda found: found[0].value)
            share = (whole[one].flops or 0.0) / own
            said.append(f"{_name(cell)} by {_name(one)} ({_points(change)}, at {share:.2f} of the FLOPs)")
    if not said:
        return ["No cell with a student costs more than one that is surely more accurate."]
    return [f"Dominated, that is cheaper cells are surely more accurate: {'; '.join(said)}."]


def _costs_less(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and a < b


def _untrained(cells: Cells) -> list[str]:
    """Whether the distilled student is told from its base, which has learned nothing."""
    said = []
    for place, half in enumerate(("decomposer", "solver")):
        for cell in cells:
            base = Cell(*("base" if i == place else part for i, part in enumerate(cell)))
            if cell[place] == "distilled" and cell[1 - place] == "llm" and base in cells:
                change = _less(cells, cell, base)
                told = "is told" if is_told(change) else "is not told"
                said.append(f"The distilled {half} {told} from its untrained base ({_points(change)}).")
    return said


def _single(cells: Cells, whole: Mapping[Cell, CellSummary]) -> list[str]:
    """The single-stage student beside systems whose solver is a student too."""
    alone = next((cell for cell in cells if cell.solver == "distilled-single" and cell.decomposer == "none"), None)
    if alone is None:
        return []
    said = []
    for decomposer in ("llm", "distilled"):
        other = Cell(decomposer, "distilled", alone.vote)
        if other not in cells:
            continue
        change, own, cost = _less(cells, alone, other), whole[alone].flops, whole[other].flops
        share = f", at {own / cost:.2f} of the FLOPs" if own and cost else ""
        told = "is told from" if is_told(change) else "is not told from"
        said.append(f"{told} {_name(other)} ({_points(change)}{share})")
    return [f"The single-stage student {' and '.join(said)}."] if said else []


def is_told(change: Estimate) -> bool:
    """Whether a difference is told from none: its interval does not hold 0."""
    return change.low > 0 or change.high < 0


def _less(cells: Cells, a: Cell, b: Cell) -> Estimate:
    """Accuracy of a less that of b, on the questions that both were asked."""
    return difference(*paired(cells[a], cells[b]))


def _points(change: Estimate) -> str:
    value, low, high = (100 * part for part in change)
    return f"{value:+.1f} points [{low:+.1f}, {high:+.1f}]"


def _name(cell: Cell) -> str:
    """A cell in words."""
    decomposer, solver = cell[:2]
    if track("solver", solver) == "single":
        return f"the single-stage student{_which(solver, 'distilled-single')}"
    match is_student(decomposer), is_student(solver):
        case True, True:
            return f"the two students{_which(decomposer)}{_which(solver)}"
        case True, False if solver == "llm":
            return f"the distilled decomposer{_which(decomposer)} before the LLM"
        case False, True if decomposer == "llm":
            return f"the distilled solver{_which(solver)} behind the LLM"
    if solver == "llm" and decomposer in ("llm", "none"):
        return "the LLM in both phases" if decomposer == "llm" else "the LLM in a single stage"
    return f"{decomposer} before {solver}"


def _which(student: str, plain: str = "distilled") -> str:
    return "" if student == plain else f" ({student})"
