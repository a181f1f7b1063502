"""What the two papers printed, with the sampling error that they leave out, and beside a run's cells.

`published.csv` holds the numbers, one a line, in the papers' own names. Beside a run stands whatever has a counterpart
in it. Models, prompts and graders differ, so that two numbers in one line are two measurements and no replication.
"""

from __future__ import annotations

import csv
import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import TypeAdapter

from ...core.errors import ConfigError
from ...distill.method_catalogue import METHODS
from ...distill.recipes import DecomposerData, SolverData
from ...tasks.sources import BaseSource, PublishedSource
from ..analysis.summary import accuracy_of, lenient_accuracy
from ..config import Study
from ..grid import results
from ..grid.rows import Results
from ..grid_spec import BASE, LLM, Cell, DecomposerSpec, NoDecomposition, SolverSpec, UseModel, UseStudent
from ..render import page
from ..render.table import Table, percent
from ..run_dir import RunDirectory
from ..stats.intervals import Estimate, share

Paper = Literal["divide-or-conquer", "turning-dust-into-gold"]
TITLES: Mapping[Paper, str] = {
    "divide-or-conquer": "Divide-or-Conquer",
    "turning-dust-into-gold": "Turning Dust into Gold",
}
"""Named like the configs that hold their studies."""
Metric = Literal["EM", "F1", "accuracy", "right", "IoU", "input tokens", "beside FT (%)"]
"""EM, F1 and accuracy are in per cent; `right` counts questions."""


@dataclass(frozen=True)
class Reported:
    """One number that a paper printed, and what it was measured on."""

    paper: Paper
    table: str
    data: str
    """The data set, by its name in a config."""
    only: str
    """The type of question, where the number is of one type alone."""
    train: str
    """The data set that a student learned from; empty where none takes part."""
    teacher: str
    """Empty where there is none, or its name was not to be read."""
    student: str
    decomposer: str
    """In the paper's words; `none` is a single stage."""
    solver: str
    setting: str
    """What was done otherwise than in the main tables; empty for these."""
    metric: Metric
    value: Decimal
    """To the digit that was printed."""
    n: int | None
    """Questions; None where nobody says."""
    decompose_usd: Decimal | None
    """Dollars for all questions together; None where the paper has none."""
    solve_usd: Decimal | None
    source: Literal["text", "image", "second-hand"]
    """Where it was read: the paper's text, an image of its table, or notes that quote it."""
    note: str

    @property
    def estimate(self) -> Estimate | None:
        """As a share with Wilson's interval over questions; None for what is no share, or of an unknown number of them.

        F1 is a mean of shares, for which the interval errs on the wide side.
        """
        if self.n is None or self.metric not in ("EM", "F1", "accuracy"):
            return None
        return share(float(self.value) / 100, self.n)


_UNKNOWN = ("n", "decompose_usd", "solve_usd")
"""What is None where the file has nothing."""


@cache
def reported() -> tuple[Reported, ...]:
    """All that the papers printed and somebody has read, table by table."""
    with (Path(__file__).parent / "published.csv").open(encoding="utf-8", newline="") as file:
        lines = [
            {key: None if key in _UNKNOWN and not value else value for key, value in line.items()}
            for line in csv.DictReader(file)
        ]
    return TypeAdapter(tuple[Reported, ...]).validate_python(lines)


def of_paper(name: str) -> list[Reported]:
    """What one paper printed. Raises ConfigError for a name that is neither's."""
    if name not in TITLES:
        raise ConfigError(f"no paper {name!r}; there are {', '.join(TITLES)}")
    return [each for each in reported() if each.paper == name]


def printed(name: str) -> Table:
    """A paper's numbers with their intervals. Raises ConfigError for a name that is neither's."""
    header = ["table", "data set", "learned from", "student", "teacher", "decomposer", "solver", "setting", "metric"]
    header += ["printed", "n", "95 % interval", "dollars: decompose", "solve", "read from", "note"]
    return header, [
        [
            each.table,
            _data(each),
            *(each.train, each.student, each.teacher, each.decomposer, each.solver, each.setting, each.metric),
            str(each.value),
            _count(each.n),
            _interval(each.estimate),
            *("" if cost is None else f"{cost:f}" for cost in (each.decompose_usd, each.solve_usd)),
            each.source,
            each.note,
        ]
        for each in of_paper(name)
    ]


@dataclass(frozen=True)
class ReportedComparison:
    """A paper's number and the cell of a run that is its counterpart."""

    reported: Reported
    cell: Cell
    test: str
    questions: int
    strict: Estimate
    lenient: Estimate | None
    """By the softer rule that the paper uses for the data set; None where it has none."""
    measure: str | None
    """That rule."""
    remark: str
    """In what the two are not the same, beyond what always differs."""


def compare_with_reported(rows: Results, study: Study) -> list[ReportedComparison]:
    """Every number of the papers' main tables that a greedy cell (or one of a single sample) is the counterpart of.

    A cell is one by its decomposer, its solver, its test's data set and what its student learned from. Both of a
    paper's students stand beside the study's one.
    """
    return [
        each
        for cell, of_cell in rows.by_cell.items()
        if cell.vote.samples == 1
        for test, source in study.tests.items()
        if (of_test := of_cell.of_test(test))
        for each in _comparisons(cell, of_test, source, study)
    ]


def of_run(run: Path, study: Study, paper: str | None = None) -> list[ReportedComparison]:
    """One paper's numbers, or both papers', beside the cells of a run's grid and of its comparison of methods.

    Raises ConfigError for a name that is neither paper's, a run without results, or one without a counterpart.
    """
    wanted = {each.paper for each in (of_paper(paper) if paper else reported())}
    kept = RunDirectory(run)
    files = [file for file in (kept.method_results, kept.results) if file.is_file()]
    if not files:
        raise ConfigError(f"no results in {run}; run its study first")
    rows = Results(row for file in files for row in results.read(file))
    found = [each for each in compare_with_reported(rows, study) if each.reported.paper in wanted]
    if not found:
        raise ConfigError(f"no cell of {run} has a counterpart in {paper or 'the papers'}")
    return found


def _comparisons(cell: Cell, of_test: Results, source: BaseSource, study: Study) -> Iterator[ReportedComparison]:
    """For one cell on one test."""
    measured = of_test.where(lambda row: row.measure is not None)
    strict = accuracy_of(of_test)
    lenient = lenient_accuracy(measured) if measured else None
    measure = measured[0].measure if measured else None
    for paper in TITLES:
        if told := _told(paper, cell, study):
            for each in _distinct(paper):
                if _matches(each, told, source, study.train):
                    yield ReportedComparison(
                        each, cell, of_test[0].test, len(of_test), strict, lenient, measure, told.remark
                    )


class _Told(NamedTuple):
    """A cell in a paper's words."""

    decomposer: str
    solver: str
    remark: str = ""


_UNTAUGHT = {"Vicuna": "base", "Mistral": "base"}
_ASKED: Mapping[DecomposerSpec, str] = {
    NoDecomposition(): "none",
    NoDecomposition("direct"): "none",
    LLM: "GPT-3.5",
    BASE: "base",
}
_DECOMPOSERS: Mapping[DecomposerData, str] = {"all": "S_D-T", "rejection_sampled": "S_D-R"}
_SOLVERS: Mapping[SolverData, str] = {"all": "S_E-T", "gold-spliced": "S_E-A", "right": "S_E-T"}


def _told(paper: Paper, cell: Cell, study: Study) -> _Told | None:
    return _divided(cell, study) if paper == "divide-or-conquer" else _turned(cell, study)


def _divided(cell: Cell, study: Study) -> _Told | None:
    """In the words of Divide-or-Conquer; None where it has no such cell."""
    remarks = ["the paper's single stage may not think"] if cell.decomposer == NoDecomposition() else []
    decomposer, solver = _ASKED.get(cell.decomposer), _ASKED.get(cell.solver)
    recipes = study.distill
    if isinstance(cell.decomposer, UseStudent) and recipes.decomposer.method == "kd":
        decomposer = _DECOMPOSERS[cell.decomposer.recipe_changes.get("data", recipes.decomposer.data)]
    if cell.solver in (UseStudent("solver"), UseStudent("solver", "direct")) and recipes.solver.method == "kd":
        direct = "direct" in (recipes.solver.target, getattr(cell.solver, "variant", ""))
        solver = _SOLVERS[recipes.solver.data] + (" direct" if direct else "")
        remarks += ["learned right replies alone, the paper's all"] if recipes.solver.data == "right" else []
    return _Told(decomposer, solver, "; ".join(remarks)) if decomposer and solver else None


def _turned(cell: Cell, study: Study) -> _Told | None:
    """In the words of Turning Dust into Gold; None where it has no such cell."""
    if cell.decomposer != NoDecomposition():
        return None
    known = METHODS.get(_method(cell.solver, study))
    return _Told("none", known.paper_name) if known and known.paper_name else None


def _method(solver: SolverSpec, study: Study) -> str:
    """What a solver was distilled by: a student of the grid, or of a comparison of methods (`METHOD SEED`)."""
    if isinstance(solver, UseModel):
        return re.sub(r" \d+$", "", solver.name)
    return solver.variant or (study.distill.solver.method if solver.track == "solver" else "")


def _matches(each: Reported, told: _Told, test: BaseSource, train: BaseSource) -> bool:
    """Whether a number is of these models, this data set and this training set.

    Traces do not name the data set that they are of; they are taken for the paper's own.
    """
    named = (_UNTAUGHT.get(each.decomposer, each.decomposer), _UNTAUGHT.get(each.solver, each.solver))
    only = test.only if isinstance(test, PublishedSource) else {}
    learned = each.train in ("", train.source) or (train.source == "traces" and each.train == each.data)
    asked = (test.source, dict(only)) == (each.data, {"type": each.only} if each.only else {})
    return named == (told.decomposer, told.solver) and learned and asked


@cache
def _distinct(paper: Paper) -> tuple[Reported, ...]:
    """The shares of a paper's main tables, each once although later tables repeat some."""
    found: dict[object, Reported] = {}
    for each in of_paper(paper):
        if each.estimate and not each.setting:
            learned = (each.train, each.teacher) if each.train else ()
            models = (each.decomposer, each.solver, each.student if each.train else "")
            found.setdefault((each.data, each.only, learned, models, each.value), each)
    return tuple(found.values())


def table(found: list[ReportedComparison]) -> Table:
    """A row a pair: the paper's number, then the run's."""
    header = ["paper", "table", "data set", "decomposer", "solver", "printed (%)", "n"]
    header += ["this run", "n", "strict (%)", "lenient (%)", "lenient rule", "also differs"]
    return header, [
        [
            *(TITLES[each.reported.paper], each.reported.table, _data(each.reported)),
            *(each.reported.decomposer, _learner(each.reported)),
            f"{each.reported.value} {_interval(each.reported.estimate)}",
            _count(each.reported.n),
            f"{each.cell.label}, {each.test}",
            _count(each.questions),
            percent(each.strict),
            percent(each.lenient) if each.lenient else "",
            each.measure or "",
            "; ".join(filter(None, [each.remark, each.reported.note])),
        ]
        for each in found
    ]


CAUTION = (
    "The paper's numbers were measured with other models, prompts and graders, and students sampled at temperature 0.7 "
    "in Divide-or-Conquer, so that a difference here is no failed replication and an agreement no successful one. Its "
    "intervals are Wilson's over questions, added here: the papers print none. The lenient column has the rule that is "
    "nearest to the paper's grader."
)


@dataclass(frozen=True)
class Papers:
    """The papers' numbers beside a run's; nothing where no test's data set is one of theirs.

    The data set decides, and no setting: whoever tests on GSM8K has the paper's number in mind anyway, and should see
    its interval and what differs; a study of other questions has nothing to be compared.
    """

    found: list[ReportedComparison]

    @classmethod
    def of(cls, run: Path, rows: Results) -> Papers:
        """From a run's config and results."""
        return cls(compare_with_reported(rows, RunDirectory(run).study))

    def tables(self) -> list[Table]:
        return [table(self.found)] if self.found else []

    def sections(self, figures: page.Figures) -> list[str]:
        """For the page."""
        if not self.found:
            return []
        return ["<h2>Beside the papers</h2>", f"<p>{html.escape(CAUTION)}</p>", page.table(table(self.found))]


def _data(each: Reported) -> str:
    return f"{each.data}: {each.only}" if each.only else each.data


def _learner(each: Reported) -> str:
    """The solver, with its teacher where it matters and the base where it is not the usual one."""
    told = [each.teacher] if each.paper == "turning-dust-into-gold" and each.teacher else []
    told += [each.student] if each.student.startswith("Mistral") else []
    return f"{each.solver} ({', '.join(told)})" if told else each.solver


def _count(n: int | None) -> str:
    return "unknown" if n is None else f"{n:,}"


def _interval(estimate: Estimate | None) -> str:
    return f"[{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]" if estimate else ""
