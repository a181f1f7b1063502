"""From rows to what a reader takes away: accuracy with an interval and cost, a line a cell, and differences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...lm.cost.flops import total
from ..grid.rows import PHASES, PhaseCost, ResultRow, Results
from ..grid_spec import ALL, LLM, Cell, UseStudent, VoteSpec
from ..stats.intervals import Estimate, accuracy, difference, holm
from ..stats.paired import p_value
from ..stats.seeds import Tested, crossed


@dataclass(frozen=True)
class PhaseMean:
    """One phase of a cell: means over its questions."""

    tokens: float
    """Prompt and completion tokens."""
    reasoning_tokens: float
    """Of the completion's."""
    seconds: float
    flops: float | None
    """None where a model's size is unknown."""
    dollars: float | None
    """None where a price is unknown."""


@dataclass(frozen=True)
class CellSummary:
    """One cell on one test, or on all tests together."""

    cell: Cell
    test: str
    questions: int
    accuracy: Estimate
    decompose: PhaseMean
    solve: PhaseMean
    rank: PhaseMean
    """What the vote's ranker reads; nothing for votes without one."""
    is_complete: bool
    """Whether every question was asked; a data set without gold sub-questions leaves `gold` without its questions."""
    plan_right: Estimate | None
    """Accuracy where the decomposition is right; None where no decomposition can be judged, or none is."""
    plan_wrong: Estimate | None
    """Accuracy where the decomposition is wrong, which the solver then repaired; None likewise."""

    @property
    def flops(self) -> float | None:
        """Both phases and the ranker, a question."""
        return total([self.decompose.flops, self.solve.flops, self.rank.flops])

    @property
    def dollars(self) -> float | None:
        """Both phases and the ranker, a question."""
        return total([self.decompose.dollars, self.solve.dollars, self.rank.dollars])

    @property
    def tokens(self) -> float:
        return self.decompose.tokens + self.solve.tokens + self.rank.tokens

    @property
    def reasoning_tokens(self) -> float:
        return self.decompose.reasoning_tokens + self.solve.reasoning_tokens

    @property
    def seconds(self) -> float:
        return self.decompose.seconds + self.solve.seconds + self.rank.seconds


def lines(rows: Results) -> list[CellSummary]:
    """A line for every cell and test, and one for all tests together, in the order of the rows.

    A cell has none for a test that it was not asked.
    """
    asked = {test: len(set(rows.of_test(test).keys)) for test in rows.tests}
    return [
        _line(cell, test, of_test, asked[test])
        for cell, of_cell in rows.by_cell.items()
        for test in asked
        if (of_test := of_cell.of_test(test))
    ]


@dataclass(frozen=True)
class Substitution:
    """What replacing the LLM by a student in one phase does to accuracy, everything else as it was."""

    phase: str
    """`decomposer` or `solver`: where the student took the LLM's place."""
    student: UseStudent
    test: str
    vote: VoteSpec
    questions: int
    change: Estimate
    """Accuracy with the student less accuracy with the LLM, on the same questions."""


def swaps(rows: Results) -> list[Substitution]:
    """For each vote and test: the LLM in both phases against each student in one of them."""
    cells = rows.by_cell
    found = []
    for vote in dict.fromkeys(cell.vote for cell in cells):
        before = cells.get(Cell(LLM, LLM, vote), Results())
        for test in rows.tests:
            for phase, student, cell in _taught(cells, vote):
                pair = paired(cells[cell], before, test)
                if pair.a:
                    found.append(Substitution(phase, student, test, vote, len(pair.a), difference(*pair)))
    return found


def _taught(cells: Iterable[Cell], vote: VoteSpec) -> list[tuple[str, UseStudent, Cell]]:
    """The cells of a vote with a student in one phase and the LLM in the other: phase, student, cell."""
    of_vote = [cell for cell in cells if cell.vote == vote]
    decomposers = [("decomposer", cell.decomposer, cell) for cell in of_vote if cell.solver == LLM]
    solvers = [("solver", cell.solver, cell) for cell in of_vote if cell.decomposer == LLM]
    return [(phase, spec, cell) for phase, spec, cell in (*decomposers, *solvers) if isinstance(spec, UseStudent)]


class ReferenceComparison(NamedTuple):
    """One cell on all its questions, beside the one that the others of its vote are held against."""

    cell: Cell
    accuracy: Estimate
    reference: Cell
    beside: Estimate | None
    """Accuracy less the reference's, on the questions that both were asked; None for the reference itself."""
    p: float | None
    """How probable a difference as large is where there is none: McNemar's exact, or sign flips where credit was
    shared; adjusted over all squares of the vote (Holm)."""
    is_complete: bool
    """Whether every question was asked."""
    is_beside_complete: bool
    """Whether the difference is over every question."""


def squares(rows: Results, vote: VoteSpec | None = None) -> list[ReferenceComparison]:
    """Of one vote, the first one unless another is named, each beside `reference`."""
    cells = rows.by_cell
    vote = vote or next(iter(cells)).vote
    of_vote = {cell: of for cell, of in cells.items() if cell.vote == vote}
    held = reference(of_vote)
    pairs = {cell: paired(of, of_vote[held]) for cell, of in of_vote.items() if cell != held}
    tested = [cell for cell, pair in pairs.items() if pair.a]
    ps = dict(zip(tested, holm([p_value(*pairs[cell]) for cell in tested]), strict=True))
    asked = len(set(rows.keys))
    return [
        ReferenceComparison(
            cell,
            accuracy_of(of_cell),
            held,
            difference(*pairs[cell]) if cell in ps else None,
            ps.get(cell),
            len(of_cell) == asked,
            cell == held or len(pairs[cell].a) == asked,
        )
        for cell, of_cell in of_vote.items()
    ]


def reference(of_vote: Mapping[Cell, Results]) -> Cell:
    """What the cells of a vote are held against: the LLM in both phases, or the first that was asked most questions."""
    alone = next((cell for cell in of_vote if (cell.decomposer, cell.solver) == (LLM, LLM)), None)
    most = max(len(of_cell) for of_cell in of_vote.values())
    return alone or next(cell for cell, of_cell in of_vote.items() if len(of_cell) == most)


class Paired(NamedTuple):
    """Credits of two cells on the questions that both were asked, in the same order."""

    a: list[float]
    b: list[float]
    clusters: list[str]
    """Of each question, its family."""


def paired(a: Results, b: Results, test: str = ALL) -> Paired:
    """The credits of two cells on the questions that both were asked."""
    x, y = (dict(zip(of.keys, of.credits, strict=True)) for of in (a.of_test(test), b.of_test(test)))
    families = dict(zip(a.keys, a.families, strict=True))
    both = sorted(x.keys() & y.keys())
    return Paired([x[key] for key in both], [y[key] for key in both], [families[key] for key in both])


def paired_over_seeds(a: Sequence[Results], b: Sequence[Results], test: str = ALL) -> Tested | None:
    """Accuracy of one cell less that of another, each under the same seeds, over seeds and families of questions.

    None where they share no question. Seed by seed they must have been asked the same ones.
    """
    pairs = [paired(x, y, test) for x, y in zip(a, b, strict=True)]
    if not pairs[0].a:
        return None
    return crossed([[x - y for x, y in zip(pair.a, pair.b, strict=True)] for pair in pairs], pairs[0].clusters)


def accuracy_of(rows: Results) -> Estimate:
    """The accuracy of rows, over families of questions."""
    return accuracy(rows.credits, rows.families)


class OverlapCount(NamedTuple):
    """What a test shares with the questions that the student of a phase has learned from."""

    test: str
    phase: str
    """`decomposer` or `solver`."""
    questions: int
    exact: int
    normalised: int
    runs: int
    """Questions that share a run of 13 words."""


def shared(rows: Results) -> list[OverlapCount]:
    """For each test and phase; the counts exclude one another."""
    of_one_cell = Results({row.key: row for row in rows}.values())
    found = []
    for test in dict.fromkeys(row.test for row in of_one_cell):
        of_test = of_one_cell.of_test(test)
        by_phase = {
            "decomposer": [row.overlap_decomposer for row in of_test],
            "solver": [row.overlap_solver for row in of_test],
        }
        for phase, kinds in by_phase.items():
            counts = (kinds.count(kind) for kind in ("exact", "normalised", "13-gram"))
            found.append(OverlapCount(test, phase, len(kinds), *counts))
    return found


class Decontaminated(NamedTuple):
    """A cell on all questions, and on those that share nothing with the training questions."""

    cell: Cell
    asked: int
    whole: Estimate
    questions: int
    """Clean ones."""
    clean: Estimate
    leaks: int
    """Questions whose decomposition holds the gold answer, which the question itself does not."""


def clean(rows: Results) -> list[Decontaminated]:
    """For each cell."""
    found = []
    for cell, of_cell in rows.by_cell.items():
        untouched = of_cell.where(lambda row: row.overlap == "none")
        leaks = sum(row.leaks_answer for row in of_cell)
        found.append(
            Decontaminated(cell, len(of_cell), accuracy_of(of_cell), len(untouched), accuracy_of(untouched), leaks)
        )
    return found


class Verdicts(NamedTuple):
    """How a cell's winning answers were graded."""

    cell: Cell
    right: int
    wrong: int
    unreadable: int
    """Questions on which no sample gave an answer that could be read."""
    timed_out: int
    """Questions on which the comparison with the gold answer passed its limit."""


def verdicts(rows: Results) -> list[Verdicts]:
    """For each cell, on all questions."""
    counts = {cell: Counter(row.verdict for row in of_cell) for cell, of_cell in rows.by_cell.items()}
    return [
        Verdicts(cell, count["right"], count["wrong"], count["unreadable"], count["timed out"])
        for cell, count in counts.items()
    ]


class Unknown(NamedTuple):
    """Questions of a cell whose requests failed permanently, and what its accuracy may be on all of them."""

    cell: Cell
    test: str
    questions: int
    """All that were asked."""
    failed: int
    known: Estimate
    """Accuracy on the others."""
    low: float
    """On all, if every failed one were wrong."""
    high: float
    """On all, if every failed one were right."""


def unknowns(rows: Results) -> list[Unknown]:
    """The cells and tests of results, those with unknown credit among them, in which a request failed permanently."""
    found = []
    for cell, of_cell in rows.by_cell.items():
        for test in rows.tests:
            of_test = of_cell.of_test(test)
            known = of_test.known
            if (failed := len(of_test) - len(known)) and known:
                right = sum(known.credits)
                bounds = (right / len(of_test), (right + failed) / len(of_test))
                found.append(Unknown(cell, test, len(of_test), failed, accuracy_of(known), *bounds))
    return found


class Tokens(NamedTuple):
    """What one phase of a cell reads and writes: means over its questions."""

    cell: Cell
    phase: str
    calls: float
    """Samples that are drawn."""
    prompt: float
    cached: float
    """Of the prompt's, those that the server read from its cache."""
    completion: float
    reasoning: float
    """Of the completion's, those that the model thought with and did not show."""
    flops: float | None
    """As it would be put to work, adapters merged; None is unknown."""
    flops_as_run: float | None
    """As it was asked here."""


def tokens(rows: Results) -> list[Tokens]:
    """For each cell and phase that reads anything."""
    found = []
    for cell, of_cell in rows.by_cell.items():
        phases = zip(PHASES, zip(*(row.phases for row in of_cell), strict=True), strict=True)
        found += [_tokens(cell, phase, costs) for phase, costs in phases if any(map(_reads, costs))]
    return found


def _reads(cost: PhaseCost) -> bool:
    return bool(cost.calls or cost.tokens)


def _tokens(cell: Cell, phase: str, costs: Sequence[PhaseCost]) -> Tokens:
    def mean(values: Iterable[float]) -> float:
        return sum(values) / len(costs)

    spent = (total([cost.flops for cost in costs]), total([cost.flops_as_run for cost in costs]))
    return Tokens(
        cell,
        phase,
        mean(cost.calls for cost in costs),
        mean(cost.prompt_tokens for cost in costs),
        mean(cost.cached_tokens for cost in costs),
        mean(cost.completion_tokens for cost in costs),
        mean(cost.reasoning_tokens for cost in costs),
        *(None if amount is None else amount / len(costs) for amount in spent),
    )


class Lenient(NamedTuple):
    """A cell's accuracy beside the softer score that papers report for the data set."""

    cell: Cell
    test: str
    measure: str
    questions: int
    strict: Estimate
    lenient: Estimate


def lenient(rows: Results) -> list[Lenient]:
    """For each cell and test whose data set has a softer score."""
    found = []
    for cell, of_cell in rows.by_cell.items():
        by_measure: dict[tuple[str, str], list[ResultRow]] = {}
        for row in of_cell:
            if row.measure is not None:
                by_measure.setdefault((row.test, row.measure), []).append(row)
        for (test, measure), measured in by_measure.items():
            own = Results(measured)
            soft = lenient_accuracy(own)
            found.append(Lenient(cell, test, measure, len(own), accuracy_of(own), soft))
    return found


def lenient_accuracy(rows: Results) -> Estimate:
    """The mean of the softer score, over the rows that have one."""
    known = [(row.lenient, row.cluster) for row in rows if row.lenient is not None]
    return accuracy([score for score, _ in known], [family for _, family in known])


@dataclass(frozen=True)
class Decomposed:
    """How many of a decomposer's decompositions are right, where that can be said."""

    decomposer: str
    test: str
    questions: int
    right: Estimate


def decomposed(rows: Results) -> list[Decomposed]:
    """For each decomposer and test, over the questions whose sub-questions can be judged."""
    found = []
    for decomposer, of_one_cell in rows.by_decomposer.items():
        for test in rows.tests:
            of_test = of_one_cell.of_test(test)
            judged = of_test.where(lambda row: row.decomposition_right is not None)
            right = accuracy([float(bool(row.decomposition_right)) for row in judged], judged.families)
            if judged:
                found.append(Decomposed(decomposer, test, len(judged), right))
    return found


def _line(cell: Cell, test: str, rows: Results, asked: int) -> CellSummary:
    return CellSummary(
        cell=cell,
        test=test,
        questions=len(rows),
        accuracy=accuracy_of(rows),
        decompose=_phase([row.decompose for row in rows]),
        solve=_phase([row.solve for row in rows]),
        rank=_phase([row.rank for row in rows]),
        is_complete=len(rows) == asked,
        plan_right=_where(rows, plan_is=True),
        plan_wrong=_where(rows, plan_is=False),
    )


def _where(rows: Results, *, plan_is: bool) -> Estimate | None:
    judged = rows.where(lambda row: row.decomposition_right is plan_is)
    return accuracy_of(judged) if judged else None


def _phase(costs: Sequence[PhaseCost]) -> PhaseMean:
    def mean(value: Callable[[PhaseCost], float]) -> float:
        return sum(map(value, costs)) / len(costs)

    def known(values: Sequence[float | None]) -> float | None:
        """One unknown cost makes the mean unknown."""
        amount = total(values)
        return None if amount is None else amount / len(costs)

    return PhaseMean(
        tokens=mean(lambda cost: cost.tokens),
        reasoning_tokens=mean(lambda cost: cost.reasoning_tokens),
        seconds=mean(lambda cost: cost.seconds),
        flops=known([cost.flops for cost in costs]),
        dollars=known([cost.dollars for cost in costs]),
    )
