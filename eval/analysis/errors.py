"""Where an answer went wrong: in the decomposition, in a step of its own, or by a wrong value that was handed on.

Two views, kept apart. By gold steps: where each step's result is known (the miniature world), a solution's steps are
held against the gold computation graph; the classes of a step are those of *Faith and Fate* (Dziri et al., 2023,
arXiv 2305.18654). By substitution: where a data set has gold sub-questions, the same solver's answer with these tells
what the decomposition was to blame for. Definitions and limits: docs/how-to/errors.md.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, get_args

from ...solve.grading.numbers import number
from ...tasks.miniature.grade import canonical, decomposition_is_right
from ...tasks.miniature.problem import Operator, Problem, compute
from ...tasks.miniature.recover import recover
from ...tasks.miniature.splits import question
from ..grid.rows import ResultRow, Results
from ..grid_spec import Cell, GoldDecomposition, is_interactive
from ..stats.intervals import Estimate, accuracy, difference

# -- steps against the gold graph ------------------------------------------------------------------------------------

StepClass = Literal["correct", "local", "propagation", "both", "restored", "unreadable"]
"""`correct`: right, and rightly computed from right values. `local`: wrong, though the earlier results it reads stand
right in the solution. `propagation`: wrong, and rightly computed from earlier results that stand wrong. `both`: wrong,
reads wrong results and is not rightly computed from them either. `restored`: right in spite of a wrong computation or
of wrong results that it reads (the paper's restoration). `unreadable`: no step could be read, or not what it reads."""

Slip = Literal["fact", "values", "operation", "arithmetic", "answer", "unreadable"]
"""What is wrong with a solution's first wrong step: the fact it recalls; another value that it takes; the operation;
only the result; nothing, but the answer is not what the last step came to. `unreadable`: the first step that is not
right has no reading."""
SLIPS: tuple[Slip, ...] = get_args(Slip)

Cause = Literal[
    "correct",
    "recovered decomposition",
    "recovered step",
    "right, unreadable",
    "decomposition",
    "local",
    "propagation",
    "both",
    "unreadable",
]
"""What an answer is put down to. The first four are right answers: all steps `correct`; the decomposition was wrong; a
step was; a step has no reading and none is known to be wrong. The others are wrong answers: the decomposition was
wrong; else the class of the step that gives the answer."""
STEPS: tuple[StepClass, ...] = get_args(StepClass)
CAUSES: tuple[Cause, ...] = get_args(Cause)
RIGHT: tuple[Cause, ...] = CAUSES[:4]
WRONG: tuple[Cause, ...] = CAUSES[4:]
SOLVING: tuple[Cause, ...] = ("local", "propagation", "both")


class Working(NamedTuple):
    """A calculation as a solution writes it."""

    left: int
    operator: str
    right: int
    result: int


@dataclass(frozen=True)
class Node:
    """A step of the gold solution."""

    left: int
    operator: Operator
    right: int
    reads: tuple[int | None, int | None]
    """The earlier nodes that the left and the right value are the results of; None for one that the text or a fact
    tells."""
    recalls: bool
    """Whether the right value is a fact that the text does not tell."""

    @property
    def result(self) -> int:
        """What it comes to."""
        return compute(self.left, self.operator, self.right)


def graph(problem: Problem) -> tuple[Node, ...]:
    """A problem's computation graph, each node after those that it reads."""
    return tuple(
        Node(step.left, step.operator, step.right, _reads(problem, place), step.fact is not None)
        for place, step in enumerate(problem.steps)
    )


def _reads(problem: Problem, place: int) -> tuple[int | None, int | None]:
    """Found by value: the world tells results from stated numbers, and two equal results are only ever added."""
    step = problem.steps[place]
    left = next((use for use in step.uses if problem.steps[use].result == step.left), None)
    right = next((use for use in step.uses if use != left and problem.steps[use].result == step.right), None)
    return left, right


_LINE = re.compile(r"\s*\(?(\d{1,2})[.):]\s+(.*)")
_WORKING = re.compile(r"(-?\d+) ?([-+*/]) ?(-?\d+) ?= ?(-?\d+)")
_ANSWER = re.compile(r"the answer is", re.IGNORECASE)


def workings(solution: str, subquestions: int) -> list[Working | None]:
    """The calculation that answers each sub-question: the only one on the only line that bears its number.

    Of a question that was left whole, a list of one: the only calculation before the answer is stated. None where
    there is no such calculation, or more than one: nothing is guessed.
    """
    before = _ANSWER.split(solution)[0]
    if not subquestions:
        return [_working(before)]
    lines: dict[int, list[str]] = {}
    for found in filter(None, map(_LINE.fullmatch, before.splitlines())):
        lines.setdefault(int(found[1]), []).append(found[2])
    texts = [lines.get(number, []) for number in range(1, subquestions + 1)]
    return [_working(text[0]) if len(text) == 1 else None for text in texts]


def _working(text: str) -> Working | None:
    found = list(_WORKING.finditer(text))
    if len(found) != 1 or text.count("=") != 1:
        return None
    (one,) = found
    before, behind = text[: one.start()], text[one.end() :]
    if re.search(r"[-+*/] ?$|[\d.,]$", before) or re.match(r" ?[-+*/\d]|[.,]\d", behind):
        return None  # a part of a longer calculation, or of a longer number
    left, operator, right, result = one.groups()
    return Working(int(left), operator, int(right), int(result))


def step_classes(nodes: Sequence[Node], workings: Sequence[Working | None]) -> list[StepClass]:
    """The class of each step of a solution, given the working for each node."""
    stated = [working and working.result for working in workings]
    return [_step_class(nodes, node, working, stated) for node, working in zip(nodes, workings, strict=True)]


def _step_class(nodes: Sequence[Node], node: Node, working: Working | None, stated: Sequence[int | None]) -> StepClass:
    if working is None:
        return "unreadable"
    is_right = working.result == node.result
    if any(read is not None and stated[read] is None for read in node.reads):
        return "correct" if is_right and _computes(working, node.operator, node.left, node.right) else "unreadable"
    reads_right = all(read is None or stated[read] == nodes[read].result for read in node.reads)
    left, right = _values(node, stated)
    computed = _computes(working, node.operator, left, right)
    if is_right:
        return "correct" if computed and reads_right else "restored"
    if reads_right:
        return "local"
    return "propagation" if computed else "both"


def _values(node: Node, stated: Sequence[int | None]) -> tuple[int, int]:
    """What the node's operation is to be done with, given what the solution says the earlier results are."""

    def value(gold: int, read: int | None) -> int:
        said = None if read is None else stated[read]
        return gold if said is None else said

    return value(node.left, node.reads[0]), value(node.right, node.reads[1])


def _computes(working: Working, operator: Operator, left: int, right: int) -> bool:
    """Whether a working is this operation on these values, and comes to what they come to."""
    if working.operator != operator or not _takes(working, left, right):
        return False
    if operator == "/" and working.right == 0:
        return False
    return compute(working.left, operator, working.right) == working.result


def _takes(working: Working, left: int, right: int) -> bool:
    """In this order, or in the other where that makes no difference."""
    taken = (working.left, working.right)
    return taken == (left, right) or (working.operator in "+*" and taken == (right, left))


def _slip(nodes: Sequence[Node], workings: Sequence[Working | None], classes: Sequence[StepClass]) -> Slip:
    """Of a wrong answer."""
    wrong = next((place for place, of in enumerate(classes) if of != "correct"), None)
    if wrong is None:
        return "answer"
    node, working = nodes[wrong], workings[wrong]
    if working is None or classes[wrong] == "unreadable":
        return "unreadable"
    left, right = _values(node, [one and one.result for one in workings])
    if sorted((working.left, working.right)) != sorted((left, right)):
        return "fact" if node.recalls and left in (working.left, working.right) else "values"
    return "operation" if working.operator != node.operator or not _takes(working, left, right) else "arithmetic"


@dataclass(frozen=True)
class Attribution:
    """What one answer is put down to."""

    cause: Cause
    steps: tuple[StepClass, ...]
    """In the order of the gold solution; empty under a wrong decomposition, whose steps have no gold ones."""
    slip: Slip | None
    """What is wrong with the first wrong step of a wrong answer; None of other answers."""


def attribution(row: ResultRow, problem: Problem) -> Attribution | None:
    """Of a row of results; None where nobody was asked for sub-questions, or the answer's verdict is open.

    Without sub-questions no step says which quantity it is for, and telling it by its numbers would be a guess.
    """
    if row.decomposition_kind in ("not tried", "direct", "empty") or row.verdict == "timed out":
        return None
    is_right = row.verdict == "right"
    if not _is_right(row, problem):
        return Attribution("recovered decomposition" if is_right else "decomposition", (), None)
    nodes, asked = graph(problem), [canonical(one) for one in row.subquestions]
    found = workings(winning(row), len(asked))
    if asked:
        found = [found[asked.index(canonical(step.asks))] for step in problem.steps]
    classes = tuple(step_classes(nodes, found))
    if is_right:
        return Attribution(_cause_of_right(classes), classes, None)
    return Attribution(_cause_of_wrong(row, found[-1], classes[-1]), classes, _slip(nodes, found, classes))


def _is_right(row: ResultRow, problem: Problem) -> bool:
    """Whether the sub-questions are right; also where the study's source could not judge them."""
    gold = question(problem, "train", 0, 0)  # only its sub-questions and its chain matter
    return row.decomposition_kind != "unreadable" and decomposition_is_right(gold, row.subquestions)


def winning(row: ResultRow) -> str:
    """The solution that speaks for a row: the first whose answer won the vote, or the first where none can be read."""
    answers = row.answers
    place = answers.index(row.answer) if row.answer in answers else 0
    return str(row.solutions[place])


def _cause_of_right(classes: Sequence[StepClass]) -> Cause:
    if set(classes) - {"correct", "unreadable"}:
        return "recovered step"
    return "right, unreadable" if "unreadable" in classes else "correct"


def _cause_of_wrong(row: ResultRow, last: Working | None, last_class: StepClass) -> Cause:
    """The answer is one more step, which only copies the last one's result."""
    if last is None or row.verdict == "unreadable":
        return "unreadable"
    match last_class:
        case "unreadable":
            return "unreadable"
        case "correct" | "restored":
            return "local"  # the last step is right, and the answer is not
    return last_class if number(row.answer or "") == last.result else "both"


def gold_problems(rows: Results) -> dict[str, Problem]:
    """The problems behind the questions of the miniature world among the rows, by text; others are left out."""
    return recover(dict.fromkeys((row.id, row.question) for row in rows))


@dataclass(frozen=True)
class CauseLine:
    """What the answers of one cell are put down to."""

    cell: Cell
    causes: Sequence[tuple[Cause, str]]
    """Of each answer, with its question's family."""
    slips: Mapping[Slip, int]
    steps: Mapping[StepClass, int]
    """Of all answers under a right decomposition: how many steps are what."""

    @cached_property
    def counts(self) -> Mapping[Cause, int]:
        return Counter(cause for cause, _ in self.causes)

    @property
    def questions(self) -> int:
        return len(self.causes)

    @property
    def wrong(self) -> int:
        return sum(self.counts[cause] for cause in WRONG)

    def of_wrong(self, *causes: Cause) -> Estimate:
        """The share of the wrong answers that is put down to these causes."""
        wrong = [(float(cause in causes), family) for cause, family in self.causes if cause in WRONG]
        return accuracy([named for named, _ in wrong], [family for _, family in wrong])


def cause_lines(rows: Results, problems: Mapping[str, Problem] | None = None) -> list[CauseLine]:
    """For each cell, over the questions whose gold steps are known; cells that have none are left out.

    So are those that were asked one sub-question at a time: their last turn's steps are not the ones they were asked.
    `problems` are the rows' `gold_problems`, where they are known already.
    """
    problems = gold_problems(rows) if problems is None else problems
    found = []
    for cell, of_cell in rows.by_cell.items():
        if is_interactive(cell.decomposer):
            continue
        known = [row for row in of_cell if row.question in problems]
        given = [(one, row.cluster) for row in known if (one := attribution(row, problems[row.question]))]
        if given:
            found.append(
                CauseLine(
                    cell,
                    [(one.cause, family) for one, family in given],
                    Counter(one.slip for one, _ in given if one.slip),
                    Counter(step for one, _ in given for step in one.steps),
                )
            )
    return found


# -- substitution ----------------------------------------------------------------------------------------------------

Swapped = Literal["correct", "recovery", "decomposition", "solving"]
"""An answer beside the same solver's with the gold sub-questions: both right; right though wrong with gold (recovery,
or luck); wrong and right with gold; wrong with both."""


def swapped(row: ResultRow, with_gold: ResultRow) -> Swapped | None:
    """None where either verdict is open."""
    verdicts = (row.verdict, with_gold.verdict)
    if "timed out" in verdicts:
        return None
    match tuple(verdict == "right" for verdict in verdicts):
        case (True, True):
            return "correct"
        case (True, False):
            return "recovery"
        case (False, True):
            return "decomposition"
    return "solving"


def paired_with_gold(rows: Results) -> dict[Cell, list[tuple[ResultRow, ResultRow]]]:
    """For each cell whose solver and vote also stand behind gold sub-questions: its rows, each with gold's.

    Rows of questions that gold was not asked are left out.
    """
    cells = rows.by_cell
    found = {}
    for cell, of_cell in cells.items():
        gold = cells.get(cell._replace(decomposer=GoldDecomposition()))
        if gold is not None and cell.decomposer != GoldDecomposition():
            of_gold = {row.key: row for row in gold}
            found[cell] = [(row, of_gold[row.key]) for row in of_cell if row.key in of_gold]
    return {cell: pairs for cell, pairs in found.items() if pairs}


@dataclass(frozen=True)
class SwapLine:
    """One cell beside the gold decompositions, as shares of its questions."""

    cell: Cell
    kinds: Sequence[tuple[Swapped, str]]
    """Of each answer, with its question's family."""

    @cached_property
    def counts(self) -> Mapping[Swapped, int]:
        return Counter(kind for kind, _ in self.kinds)

    @property
    def questions(self) -> int:
        return len(self.kinds)

    @cached_property
    def gain(self) -> Estimate:
        """Accuracy with gold sub-questions less the cell's own, on the same questions: decomposition less recovery."""
        gold = [float(kind in ("correct", "decomposition")) for kind, _ in self.kinds]
        own = [float(kind in ("correct", "recovery")) for kind, _ in self.kinds]
        return difference(gold, own, [family for _, family in self.kinds])

    @property
    def wrong(self) -> int:
        return self.counts["decomposition"] + self.counts["solving"]

    def share(self, of: Swapped) -> Estimate:
        """Of all questions."""
        return _share(self.kinds, of)

    @property
    def of_wrong(self) -> Estimate:
        """The share of the wrong answers that gold sub-questions set right."""
        return _share([one for one in self.kinds if one[0] in ("decomposition", "solving")], "decomposition")


def _share(kinds: Sequence[tuple[Swapped, str]], of: Swapped) -> Estimate:
    return accuracy([float(kind == of) for kind, _ in kinds], [family for _, family in kinds])


def swap_lines(rows: Results) -> list[SwapLine]:
    """For each cell that can be held beside gold sub-questions."""
    found = []
    for cell, pairs in paired_with_gold(rows).items():
        known = [(one, row.cluster) for row, gold in pairs if (one := swapped(row, gold)) is not None]
        if known:
            found.append(SwapLine(cell, known))
    return found
