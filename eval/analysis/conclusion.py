"""What a study concludes, in sentences that rules make of its numbers: what is not told apart is said to be so.

All of it is on all questions, under the first vote. Of one run, intervals are over families of questions, and say
nothing of another training; of several runs that differ in their seed, they are over seeds too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from ...lm.cost.flops import total
from ..grid.rows import Results
from ..grid_spec import ALL, BASE, LLM, Cell, DecomposerSpec, NoDecomposition, Role, UseStudent, is_of_use, is_student
from ..stats.intervals import Estimate, difference
from .summary import paired, paired_over_seeds

_MOST = 3
"""Students whose losses are told in words; of more, the tables tell them."""


@dataclass(frozen=True)
class Evidence:
    """What conclusions are drawn from."""

    flops: Mapping[Cell, float | None]
    """Per question, of every cell of one vote; None is unknown."""
    less: Callable[[Cell, Cell], Estimate]
    """Accuracy of the first cell less that of the second, on the questions that both were asked."""

    @classmethod
    def of_run(cls, rows: Results) -> Evidence:
        """One run's, under its first vote."""
        cells = _first_vote(rows)
        return cls(_flops(cells), lambda a, b: difference(*paired(cells[a], cells[b])))

    @classmethod
    def of_seeds(cls, runs: Sequence[Results]) -> Evidence:
        """Several runs' of one study under different seeds, on the cells that all of them have."""
        each = [_first_vote(rows) for rows in runs]
        costs = [_flops(cells) for cells in each]
        shared = [cell for cell in each[0] if all(cell in cells for cells in each)]
        flops = {cell: _mean([of[cell] for of in costs]) for cell in shared}
        return cls(flops, lambda a, b: difference_over_seeds(each, a, b))


def difference_over_seeds(runs: Sequence[Mapping[Cell, Results]], a: Cell, b: Cell, test: str = ALL) -> Estimate:
    """Of two cells of the same runs; nothing is known where they share no question."""
    found = paired_over_seeds([cells[a] for cells in runs], [cells[b] for cells in runs], test)
    return found.estimate if found else Estimate(float("nan"), -1.0, 1.0)


def _first_vote(rows: Results) -> dict[Cell, Results]:
    cells = rows.by_cell
    vote = next(iter(cells)).vote
    return {cell: of for cell, of in cells.items() if cell.vote == vote}


def _flops(cells: Mapping[Cell, Results]) -> dict[Cell, float | None]:
    """Per question, of all phases; one unknown amount makes a cell's unknown."""
    return {cell: _mean([total(phase.flops for phase in row.phases) for row in of]) for cell, of in cells.items()}


def _mean(amounts: Sequence[float | None]) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    return fmean(known) if len(known) == len(amounts) else None


def conclusions(evidence: Evidence) -> list[str]:
    """What each half loses, where a student does better, what dominates it, and whether controls are told from it.

    Empty where no student took the LLM's place.
    """
    halves = {half: _students(evidence, half) for half in ("decomposer", "solver")}
    if not any(halves.values()):
        return []
    return [
        *_losses(evidence, halves),
        *_halves(evidence, halves),
        *_dominated(evidence),
        *_untrained(evidence),
        *_single(evidence),
    ]


def _students(evidence: Evidence, half: str) -> list[Cell]:
    """The cells in which a student has taken the LLM's place in one half, and the LLM has the other."""
    if half == "decomposer":
        return [cell for cell in evidence.flops if is_student(cell.decomposer) and cell.solver == LLM]
    return [cell for cell in evidence.flops if is_student(cell.solver) and cell.decomposer == LLM]


def _losses(evidence: Evidence, halves: Mapping[str, Sequence[Cell]]) -> list[str]:
    said = []
    for students in halves.values():
        for cell in students if len(students) <= _MOST else ():
            llm = Cell(LLM, LLM, cell.vote)
            if llm in evidence.flops:
                said.append(f"{_name(cell)[:1].upper()}{_name(cell)[1:]} {_loses(evidence.less(cell, llm))}.")
    return said


def _loses(change: Estimate) -> str:
    if not excludes_zero(change):
        return f"is not told apart from the LLM in both phases ({_points(change)})"
    verb = "loses" if change.value < 0 else "gains"
    low, high = sorted((abs(change.low), abs(change.high)))
    amount = f"{100 * abs(change.value):.1f} points [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{verb} {amount} against the LLM in both phases"


def _halves(evidence: Evidence, halves: Mapping[str, Sequence[Cell]]) -> list[str]:
    """In which half a student does better, where all pairs of students agree."""
    contrasts = [evidence.less(a, b) for a in halves["decomposer"] for b in halves["solver"]]
    if not contrasts:
        return []
    measured = "; ".join(map(_points, contrasts[:_MOST]))
    if all(change.low > 0 for change in contrasts):
        return [f"A student does better as decomposer than as solver ({measured})."]
    if all(change.high < 0 for change in contrasts):
        return [f"A student does better as solver than as decomposer (decomposer less solver: {measured})."]
    return [f"In which half a student does better is not told (decomposer less solver: {measured})."]


def _dominated(evidence: Evidence) -> list[str]:
    """Cells with a student beside cheaper ones that are surely more accurate."""
    said, useful = [], [cell for cell in evidence.flops if is_of_use(cell.decomposer)]
    for cell in useful:
        if not (is_student(cell.decomposer) or is_student(cell.solver)):
            continue
        own = evidence.flops[cell]
        cheaper = [one for one in useful if one != cell and _costs_less(evidence.flops[one], own)]
        better = [(change, one) for one in cheaper if (change := evidence.less(one, cell)).low > 0]
        if better and own:
            change, one = max(better, key=lambda found: found[0].value)
            share = (evidence.flops[one] or 0.0) / own
            said.append(f"{_name(cell)} by {_name(one)} ({_points(change)}, at {share:.2f} of the FLOPs)")
    if not said and any(evidence.flops[cell] is None for cell in useful):
        return ["Whether a cheaper cell beats a student is not told: the FLOPs of some cells are unknown."]
    if not said:
        return ["No cell with a student costs more than one that is surely more accurate."]
    return [f"Dominated, that is cheaper cells are surely more accurate: {'; '.join(said)}."]


def _costs_less(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and a < b


def _untrained(evidence: Evidence) -> list[str]:
    """Whether the distilled student is told from its base, which has learned nothing."""
    said = []
    halves: tuple[Role, ...] = ("decomposer", "solver")
    for half in halves:
        student = UseStudent(half)
        for cell in evidence.flops:
            is_distilled = cell[:2] == ((student, LLM) if half == "decomposer" else (LLM, student))
            base = Cell(BASE, LLM, cell.vote) if half == "decomposer" else Cell(LLM, BASE, cell.vote)
            if is_distilled and base in evidence.flops:
                change = evidence.less(cell, base)
                said.append(f"The distilled {half} {_comparison(change)} its untrained base ({_points(change)}).")
    return said


def _single(evidence: Evidence) -> list[str]:
    """The single-stage student beside systems whose solver is a student too."""
    flops = evidence.flops
    alone = next((cell for cell in flops if cell[:2] == (NoDecomposition(), UseStudent("single"))), None)
    if alone is None:
        return []
    said = []
    for decomposer in (LLM, UseStudent("decomposer")):
        other = Cell(decomposer, UseStudent("solver"), alone.vote)
        if other not in flops:
            continue
        change, own, cost = evidence.less(alone, other), flops[alone], flops[other]
        share = f", at {own / cost:.2f} of the FLOPs" if own and cost else ""
        said.append(f"{_comparison(change)} {_name(other)} ({_points(change)}{share})")
    return [f"The single-stage student {' and '.join(said)}."] if said else []


def excludes_zero(change: Estimate) -> bool:
    """Whether a difference is significant at the 5 % level: its 95 % interval does not hold 0."""
    return change.low > 0 or change.high < 0


def _comparison(change: Estimate) -> str:
    if not excludes_zero(change):
        return "is not told apart from"
    return "is more accurate than" if change.value > 0 else "is less accurate than"


def _points(change: Estimate) -> str:
    value, low, high = (100 * part for part in change)
    return f"{value:+.1f} points [{low:+.1f}, {high:+.1f}]"


def _name(cell: Cell) -> str:
    """A cell in words."""
    decomposer, solver = cell[:2]
    if isinstance(solver, UseStudent) and solver.track == "single":
        return f"the single-stage student{_which(solver)}"
    match is_student(decomposer), is_student(solver):
        case True, True:
            return f"the two students{_which(decomposer)}{_which(solver)}"
        case True, False if solver == LLM:
            return f"the distilled decomposer{_which(decomposer)} before the LLM"
        case False, True if decomposer == LLM:
            return f"the distilled solver{_which(solver)} behind the LLM"
    if solver == LLM and decomposer in (LLM, NoDecomposition()):
        return "the LLM in both phases" if decomposer == LLM else "the LLM in a single stage"
    return f"{decomposer} before {solver}"


def _which(student: DecomposerSpec) -> str:
    """The name of a student, where it is not the one that its track's recipe describes."""
    return "" if isinstance(student, UseStudent) and not student.variant else f" ({student})"
