"""From rows to what a reader takes away: accuracy with an interval and cost, a line a cell, and differences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from ...lm.cost.flops import total
from ..grid_spec import ALL, LLM, Cell, UseStudent, VoteSpec, is_interactive
from ..stats.intervals import Estimate, accuracy, difference, holm
from ..stats.paired import p_value
from ..stats.seeds import Tested, crossed

Rows = Sequence[dict[str, Any]]


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


def lines(rows: Rows) -> list[CellSummary]:
    """A line for every cell and test, and one for all tests together, in the order of the rows.

    A cell has none for a test that it was not asked.
    """
    asked = {test: len({_key(row) for row in rows if test in (ALL, row["test"])}) for test in tests(rows)}
    return [
        _line(cell, test, of_test, asked[test])
        for cell, of_cell in by_cell(rows).items()
        for test in asked
        if (of_test := [row for row in of_cell if test in (ALL, row["test"])])
    ]


def tests(rows: Rows) -> list[str]:
    """The tests in order; where there are several, all of them together come first."""
    named = list(dict.fromkeys(row["test"] for row in rows))
    return [ALL, *named] if len(named) > 1 else named


def by_cell(rows: Rows) -> dict[Cell, list[dict[str, Any]]]:
    """The rows of each cell, in order."""

    def names(row: dict[str, Any]) -> tuple[str, str, str]:
        return row["decomposer"], row["solver"], row["vote"]

    return {Cell.parse(*key): list(group) for key, group in groupby(rows, key=names)}


def by_decomposer(rows: Rows) -> dict[str, list[dict[str, Any]]]:
    """The rows of one cell of each decomposer that asks something: all its cells share the decompositions.

    Where sub-questions are asked one at a time they hang on the solver's answers, and each solver has rows of its own.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for cell, of_cell in by_cell(rows).items():
        one_by_one = is_interactive(cell.decomposer)
        name = f"{cell.decomposer} before {cell.solver}" if one_by_one else str(cell.decomposer)
        if name not in found and any(row["subquestions"] for row in of_cell):
            found[name] = of_cell
    return found


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


def swaps(rows: Rows) -> list[Substitution]:
    """For each vote and test: the LLM in both phases against each student in one of them."""
    cells = by_cell(rows)
    found = []
    for vote in dict.fromkeys(cell.vote for cell in cells):
        before = cells.get(Cell(LLM, LLM, vote), [])
        for test in tests(rows):
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


def squares(rows: Rows, vote: VoteSpec | None = None) -> list[ReferenceComparison]:
    """Of one vote, the first one unless another is named, each beside `reference`."""
    cells = by_cell(rows)
    vote = vote or next(iter(cells)).vote
    of_vote = {cell: of for cell, of in cells.items() if cell.vote == vote}
    held = reference(of_vote)
    pairs = {cell: paired(of, of_vote[held]) for cell, of in of_vote.items() if cell != held}
    tested = [cell for cell, pair in pairs.items() if pair.a]
    ps = dict(zip(tested, holm([p_value(*pairs[cell]) for cell in tested]), strict=True))
    asked = len({_key(row) for row in rows})
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


def reference(of_vote: Mapping[Cell, Rows]) -> Cell:
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


def paired(a: Rows, b: Rows, test: str = ALL) -> Paired:
    """The credits of two cells on the questions that both were asked."""
    x, y = ({_key(row): row for row in of if test in (ALL, row["test"])} for of in (a, b))
    both = sorted(x.keys() & y.keys())
    first, second = ([float(of[key]["credit"]) for key in both] for of in (x, y))
    return Paired(first, second, [str(x[key]["cluster"]) for key in both])


def paired_over_seeds(a: Sequence[Rows], b: Sequence[Rows], test: str = ALL) -> Tested | None:
    """Accuracy of one cell less that of another, each under the same seeds, over seeds and families of questions.

    None where they share no question. Seed by seed they must have been asked the same ones.
    """
    pairs = [paired(x, y, test) for x, y in zip(a, b, strict=True)]
    if not pairs[0].a:
        return None
    return crossed([[x - y for x, y in zip(pair.a, pair.b, strict=True)] for pair in pairs], pairs[0].clusters)


def accuracy_of(rows: Rows) -> Estimate:
    """The accuracy of rows, over families of questions."""
    return accuracy([row["credit"] for row in rows], families(rows))


def families(rows: Rows) -> list[str]:
    """The family of each row's question."""
    return [row["cluster"] for row in rows]


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


def shared(rows: Rows) -> list[OverlapCount]:
    """For each test and phase; the counts exclude one another."""
    of_one_cell = list({_key(row): row for row in rows}.values())
    found = []
    for test in dict.fromkeys(row["test"] for row in of_one_cell):
        for phase in ("decomposer", "solver"):
            kinds = [row[f"overlap_{phase}"] for row in of_one_cell if row["test"] == test]
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


def clean(rows: Rows) -> list[Decontaminated]:
    """For each cell."""
    found = []
    for cell, of_cell in by_cell(rows).items():
        untouched = [row for row in of_cell if row["overlap"] == "none"]
        leaks = sum(row["leaks_answer"] for row in of_cell)
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


def verdicts(rows: Rows) -> list[Verdicts]:
    """For each cell, on all questions."""
    counts = {cell: Counter(row["verdict"] for row in of_cell) for cell, of_cell in by_cell(rows).items()}
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


def unknowns(rows: Rows) -> list[Unknown]:
    """The cells and tests of results, those with unknown credit among them, in which a request failed permanently."""
    found = []
    for cell, of_cell in by_cell(rows).items():
        for test in tests(rows):
            of_test = [row for row in of_cell if test in (ALL, row["test"])]
            known = [row for row in of_test if row["credit"] is not None]
            if (failed := len(of_test) - len(known)) and known:
                right = sum(row["credit"] for row in known)
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


def tokens(rows: Rows) -> list[Tokens]:
    """For each cell and phase that reads anything."""
    found = []
    for cell, of_cell in by_cell(rows).items():
        for phase in ("decompose", "solve", "rank"):
            sums = [sum(row[f"{phase}_{name}"] for row in of_cell) for name in _COUNTED]
            if any(sums):
                spent = [total(row[f"{phase}_{name}"] for row in of_cell) for name in ("flops", "flops_as_run")]
                means = [None if amount is None else amount / len(of_cell) for amount in spent]
                found.append(Tokens(cell, phase, *(amount / len(of_cell) for amount in sums), *means))
    return found


_COUNTED = ("calls", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")


class Lenient(NamedTuple):
    """A cell's accuracy beside the softer score that papers report for the data set."""

    cell: Cell
    test: str
    measure: str
    questions: int
    strict: Estimate
    lenient: Estimate


def lenient(rows: Rows) -> list[Lenient]:
    """For each cell and test whose data set has a softer score."""
    found = []
    for cell, of_cell in by_cell(rows).items():
        measured = [row for row in of_cell if row["measure"] is not None]
        for (test, measure), of_test in groupby(measured, key=lambda row: (row["test"], row["measure"])):
            group = list(of_test)
            strict, soft = (accuracy([row[key] for row in group], families(group)) for key in ("credit", "lenient"))
            found.append(Lenient(cell, test, measure, len(group), strict, soft))
    return found


@dataclass(frozen=True)
class Decomposed:
    """How many of a decomposer's decompositions are right, where that can be said."""

    decomposer: str
    test: str
    questions: int
    right: Estimate


def decomposed(rows: Rows) -> list[Decomposed]:
    """For each decomposer and test, over the questions whose sub-questions can be judged."""
    found, asked = [], tests(rows)
    for decomposer, of_one_cell in by_decomposer(rows).items():
        for test in asked:
            of_test = [row for row in of_one_cell if test in (ALL, row["test"])]
            judged = [row for row in of_test if row["decomposition_right"] is not None]
            right = accuracy([float(row["decomposition_right"]) for row in judged], families(judged))
            if judged:
                found.append(Decomposed(decomposer, test, len(judged), right))
    return found


def _key(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["test"], row["id"]


def _line(cell: Cell, test: str, rows: Rows, asked: int) -> CellSummary:
    return CellSummary(
        cell=cell,
        test=test,
        questions=len(rows),
        accuracy=accuracy_of(rows),
        decompose=_phase("decompose", rows),
        solve=_phase("solve", rows),
        rank=_phase("rank", rows),
        is_complete=len(rows) == asked,
        plan_right=_where(rows, plan_is=True),
        plan_wrong=_where(rows, plan_is=False),
    )


def _where(rows: Rows, *, plan_is: bool) -> Estimate | None:
    judged = [row for row in rows if row["decomposition_right"] is plan_is]
    return accuracy_of(judged) if judged else None


def _phase(name: str, rows: Rows) -> PhaseMean:
    def mean(value: Callable[[dict[str, Any]], float]) -> float:
        return sum(map(value, rows)) / len(rows)

    def known(key: str) -> float | None:
        """One unknown cost makes the mean unknown."""
        return None if any(row[f"{name}_{key}"] is None for row in rows) else mean(lambda row: row[f"{name}_{key}"])

    return PhaseMean(
        tokens=mean(lambda row: row[f"{name}_prompt_tokens"] + row[f"{name}_completion_tokens"]),
        reasoning_tokens=mean(lambda row: row[f"{name}_reasoning_tokens"]),
        seconds=mean(lambda row: row[f"{name}_seconds"]),
        flops=known("flops"),
        dollars=known("dollars"),
    )
