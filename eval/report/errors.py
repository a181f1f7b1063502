"""What the report says of errors: where they come from, and how good decompositions are with and without gold."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path

from ..analysis.agreement import BlameLine, MeasureLine, Views, blame_lines, measure_lines, views
from ..analysis.decomposition_quality import QualityLine, quality_lines
from ..analysis.errors import CauseLine, SwapLine, cause_lines, gold_problems, swap_lines
from ..analysis.reconstruction import FILE, joined
from ..analysis.summary import Rows
from ..render import page
from ..render.table import Table
from ..run_dir import RunDirectory
from . import tables


@dataclass(frozen=True)
class Errors:
    """What one run says of its errors, under its first vote; each part is empty where the run has nothing for it."""

    vote: str
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
    def of(cls, run: Path, rows: Rows) -> Errors:
        """From a run's results, and what its reader said."""
        vote = rows[0]["vote"]
        reader = RunDirectory(run).study.grid.reader
        of_vote = [row for row in rows if row["vote"] == vote]
        if reader is not None:
            of_vote = joined(of_vote, run / FILE, reader)
        was_read = any(row.get("reconstruction") is not None for row in of_vote)
        problems = gold_problems(of_vote)  # made again by replaying whole draws
        return cls(
            vote,
            cause_lines(of_vote, problems),
            swap_lines(of_vote),
            quality_lines(of_vote),
            measure_lines(of_vote),
            blame_lines(of_vote, problems),
            views(of_vote, problems),
            _without_gold(of_vote),
            reader if was_read else None,
        )

    def tables(self) -> list[Table]:
        made = [tables.causes(self.causes)] if self.causes else []
        made += [tables.slips(self.causes)] if any(line.slips for line in self.causes) else []
        made += [tables.steps(self.causes)] if any(line.steps for line in self.causes) else []
        made += [tables.swapped(self.swaps)] if self.swaps else []
        made += [tables.views(self.views)] if self.views else []
        made += [tables.quality(self.quality)] if self.quality else []
        made += [tables.measures(self.measures)] if self.measures else []
        return made + ([tables.blamed(self.blame)] if self.blame else [])

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
            page.table(tables.causes(self.causes)),
            *([f"<p>{_SLIPS}</p>", page.table(tables.slips(self.causes))] if slips else []),
            *([f"<p>{_STEPS}</p>", page.table(tables.steps(self.causes))] if steps else []),
        ]

    def _by_gold(self) -> list[str]:
        if not self.swaps:
            return [f"<p>{_NO_CELL}</p>"]
        left = (
            f" Left out, having no gold sub-questions: {html.escape(', '.join(self.without))}." if self.without else ""
        )
        return [f"<p>{_BY_GOLD}{left}</p>", page.table(tables.swapped(self.swaps))]

    def _agreement(self) -> list[str]:
        return [f"<p>{_AGREE}</p>", page.table(tables.views(self.views))] if self.views else []

    def _quality(self) -> list[str]:
        if not self.quality:
            return []
        reader = _READER.format(reader=self.reader) if self.reader else _NO_READER
        return [
            "<h2>How good the decompositions are</h2>",
            f"<p>{_QUALITY} {reader}</p>",
            page.table(tables.quality(self.quality)),
            *([f"<p>{_TOLD}</p>", page.table(tables.measures(self.measures))] if self.measures else []),
            *([f"<p>{_BLAMED}</p>", page.table(tables.blamed(self.blame))] if self.blame else []),
        ]


def _without_gold(rows: Rows) -> list[str]:
    """The tests that were not asked with gold sub-questions, where others were."""
    asked = {row["test"] for row in rows if row["decomposer"] == "gold"}
    return [test for test in dict.fromkeys(row["test"] for row in rows) if test not in asked] if asked else []


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
    "with the gold sub-questions. The difference in accuracy is Bonett and Price's."
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
