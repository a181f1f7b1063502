"""What the report says of errors: where they come from, and how good decompositions are with and without gold."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path

from ..analysis.agreement import ALL, BlameLine, MeasureLine, Views, blame_lines, measure_lines, views
from ..analysis.decomposition_quality import MEASURES, QualityLine, quality_lines
from ..analysis.errors import CAUSES, RIGHT, SLIPS, STEPS, CauseLine, SwapLine, cause_lines, gold_problems, swap_lines
from ..analysis.reconstruction import FILE, joined
from ..grid.rows import Results
from ..grid_spec import GoldDecomposition, VoteSpec
from ..render import page
from ..render.table import Table, decimal, percent, points
from ..run_dir import RunDirectory


@dataclass(frozen=True)
class Errors:
    """What one run says of its errors, under its first vote; each part is empty where the run has nothing for it."""

    vote: VoteSpec
    causes: list[CauseLine]
    swaps: list[SwapLine]
    quality: list[QualityLine]
    measures: list[MeasureLine]
    blame: list[BlameLine]
    views: list[Views]
    without: list[str]
    """Tests without gold, which no cell with gold sub-questions was asked."""
    reader: str | None
    """The model that rebuilt questions; None where none did."""

    @classmethod
    def of(cls, run: Path, rows: Results) -> Errors:
        """From a run's results, and what its reader said."""
        vote = rows[0].cell.vote
        reader = RunDirectory(run).study.grid.reader
        of_vote = rows.where(lambda row: row.cell.vote == vote)
        if reader is not None:
            of_vote = joined(of_vote, run / FILE, reader)
        was_read = any(row.reconstruction is not None for row in of_vote)
        problems = gold_problems(of_vote)  # made again by replaying whole draws
        return cls(
            vote,
            cause_lines(of_vote, problems),
            swap_lines(of_vote),
            quality_lines(of_vote),
            measure_lines(of_vote),
            blame_lines(of_vote, problems),
            views(of_vote, problems),
            _tests_lacking_gold(of_vote),
            reader if was_read else None,
        )

    def tables(self) -> list[Table]:
        made = [causes_table(self.causes)] if self.causes else []
        made += [slips_table(self.causes)] if any(line.slips for line in self.causes) else []
        made += [steps_table(self.causes)] if any(line.steps for line in self.causes) else []
        made += [substitutions_table(self.swaps)] if self.swaps else []
        made += [agreement_table(self.views)] if self.views else []
        made += [quality_table(self.quality)] if self.quality else []
        made += [measures_table(self.measures)] if self.measures else []
        return made + ([blame_table(self.blame)] if self.blame else [])

    def sections(self, figures: page.Figures) -> list[str]:
        """For the page."""
        return [*self._origins(), *self._quality()]

    def _origins(self) -> list[str]:
        if not self.causes and not self.swaps:
            return [_HEADING, f"<p>{_NO_GOLD}</p>"]
        return [_HEADING, *self._by_steps(), *self._by_gold(), *self._agreement()]

    def _by_steps(self) -> list[str]:
        if not self.causes:
            return ["<p>No gold steps are known for these questions, so that no single step can be blamed.</p>"]
        slips, steps = (any(getattr(line, of) for line in self.causes) for of in ("slips", "steps"))
        return [
            f"<p>{_BY_STEPS.format(vote=self.vote)}</p>",
            page.table(causes_table(self.causes)),
            *([f"<p>{_SLIPS}</p>", page.table(slips_table(self.causes))] if slips else []),
            *([f"<p>{_STEPS}</p>", page.table(steps_table(self.causes))] if steps else []),
        ]

    def _by_gold(self) -> list[str]:
        if not self.swaps:
            return [f"<p>{_NO_CELL}</p>"]
        left = (
            f" Left out, having no gold sub-questions: {html.escape(', '.join(self.without))}." if self.without else ""
        )
        return [f"<p>{_BY_GOLD}{left}</p>", page.table(substitutions_table(self.swaps))]

    def _agreement(self) -> list[str]:
        return [f"<p>{_AGREE}</p>", page.table(agreement_table(self.views))] if self.views else []

    def _quality(self) -> list[str]:
        if not self.quality:
            return []
        reader = _READER.format(reader=self.reader) if self.reader else _NO_READER
        return [
            "<h2>How good the decompositions are</h2>",
            f"<p>{_QUALITY} {reader}</p>",
            page.table(quality_table(self.quality)),
            *([f"<p>{_TOLD}</p>", page.table(measures_table(self.measures))] if self.measures else []),
            *([f"<p>{_BLAMED}</p>", page.table(blame_table(self.blame))] if self.blame else []),
        ]


def _tests_lacking_gold(rows: Results) -> list[str]:
    """The tests that were not asked with gold sub-questions, where others were."""
    asked = {row.test for row in rows if row.cell.decomposer == GoldDecomposition()}
    return [test for test in dict.fromkeys(row.test for row in rows) if test not in asked] if asked else []


_HEADING = "<h2>Where errors come from</h2>"
_NO_GOLD = (
    "These questions have no gold steps, and no cell of the grid has gold sub-questions, so that no error is put down "
    "to either half."
)
_NO_CELL = "No cell of the grid has gold sub-questions, so that nothing says what a better decomposition would change."
_BY_STEPS = (
    "By gold steps ({vote}), in answers. Right: with all steps right, in spite of a wrong decomposition, in spite of a "
    "wrong step, or with steps that cannot be read. Wrong: the decomposition was wrong; else the step that gives the "
    "answer was. It is local where it reads right results, propagation where it is rightly computed from wrong ones, "
    "both where neither holds, and unreadable where nothing can be told. The last column is a 95 % interval (Wilson). "
    "Cells whose solver was given no sub-questions are left out."
)
_SLIPS = (
    "What the first wrong step gets wrong, in wrong answers under a right decomposition: the fact that it recalls, "
    "another value that it takes, the operation, or only the result; or all steps are right and the answer is not."
)
_STEPS = (
    "All steps under right decompositions, by the classes of Faith and Fate; restored is right in spite of a wrong "
    "computation or of a wrong result that it reads. Steps of one solution depend on one another; no interval is given."
)
_BY_GOLD = (
    "By substitution, in per cent of the questions with 95 % intervals (Wilson): each answer beside the same solver's "
    "with the gold sub-questions. The difference in accuracy has a 95 % interval over families of questions."
)
_AGREE = (
    "Both views on the same wrong answers, over the decompositions that models wrote. Steps blame the decomposition "
    "wherever it is wrong; substitution only where a right one is enough. Intervals are over questions: the share's is "
    "Wilson's for clusters, kappa's the bootstrap's."
)
_QUALITY = (
    "Told without gold, from questions and sub-questions alone: means over the decompositions that have sub-questions, "
    "with 95 % intervals. Covered is the share of a question's numbers, or of its names and content words, that the "
    "sub-questions name; likeness also counts words that only they have; redundancy is how much of a sub-question "
    "stands in an earlier one."
)
_READER = (
    "log P(question) is {reader}'s mean log-probability of a token of the question behind the sub-questions, in nats, "
    "and its gain is over the same without them."
)
_NO_READER = "No model was asked how well the questions can be rebuilt from them (grid.reader)."
_TOLD = (
    "Whether these measures tell right decompositions from wrong ones: AUROC, 0.5 is chance, below it the right ones "
    "have less. Only decompositions with sub-questions count; the bootstrap's 95 % intervals are over questions. All "
    "together, a measure also profits from telling one decomposer from another, and hard questions from easy ones; "
    "pairs of a right and a wrong decomposition of one question leave the latter out."
)
_BLAMED = (
    "Whether they tell wrong answers that gold steps put down to the decomposition from those that they put down to "
    "the solving, solver by solver (in brackets: how many of how many): AUROC likewise."
)


_RIGHTLY = dict(zip(RIGHT, ("all steps", "recovered decomposition", "recovered step", "unreadable"), strict=True))


def causes_table(found: Sequence[CauseLine]) -> Table:
    """A row a cell: what its answers are put down to, and the decomposition's share of the wrong ones."""
    header = ["decomposer", "solver", "vote", "n"]
    header += [f"right: {_RIGHTLY[cause]}" for cause in RIGHT]
    header += ["wrong: decomposition", "local", "propagation", "both", "unreadable", "decomposition, of wrong (%)"]
    return header, [
        [
            *line.cell.names,
            str(line.questions),
            *(str(line.counts.get(cause, 0)) for cause in CAUSES),
            percent(line.of_wrong("decomposition")) if line.wrong else "none is wrong",
        ]
        for line in found
    ]


def slips_table(found: Sequence[CauseLine]) -> Table:
    """A row a cell: what is wrong with the first wrong step of its wrong answers under a right decomposition."""
    header = ["decomposer", "solver", "vote", "wrong answers", *SLIPS]
    return header, [
        [*line.cell.names, str(sum(line.slips.values())), *(str(line.slips.get(slip, 0)) for slip in SLIPS)]
        for line in found
        if line.slips
    ]


def steps_table(found: Sequence[CauseLine]) -> Table:
    """A row a cell: what its steps under right decompositions are, in per cent of them."""
    header = ["decomposer", "solver", "vote", "steps", *(f"{step} (%)" for step in STEPS)]
    return header, [
        [*line.cell.names, str(n), *(f"{100 * line.steps.get(step, 0) / n:.1f}" for step in STEPS)]
        for line in found
        if (n := sum(line.steps.values()))
    ]


def substitutions_table(found: Sequence[SwapLine]) -> Table:
    """A row a cell: its answers beside the same solver's with gold sub-questions, in per cent of all questions."""
    header = ["decomposer", "solver", "vote", "n", "wrong, right with gold: decomposition", "wrong with both: solving"]
    header += ["right, wrong with gold: recovery", "of wrong, right with gold", "with gold less own (points)"]
    return header, [
        [
            *line.cell.names,
            str(line.questions),
            *(percent(line.share(of)) for of in ("decomposition", "solving", "recovery")),
            percent(line.of_wrong) if line.wrong else "none is wrong",
            points(line.gain),
        ]
        for line in found
    ]


def quality_table(found: Sequence[QualityLine]) -> Table:
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


def measures_table(found: Sequence[MeasureLine]) -> Table:
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


def blame_table(found: Sequence[BlameLine]) -> Table:
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


def agreement_table(found: Sequence[Views]) -> Table:
    """A row a solver: how far the two ways to blame a wrong answer agree."""
    header = ["solver", "vote", "wrong answers", "both blame the decomposition", "both the solving"]
    header += ["steps the decomposition, gold does not help", "steps the solving, gold helps", "agree (%)", "kappa"]
    return header, [
        [line.solver, line.vote, str(line.both), *map(str, line.crossed), percent(line.share), decimal(line.kappa)]
        for line in found
    ]
