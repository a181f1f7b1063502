"""What the report says of votes: rules side by side, when to stop, and what the ranker is worth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...distill.ranker.held_out import HELD_OUT, held_out
from ..analysis.ranker import ScoreLine, score_lines
from ..analysis.summary import Rows
from ..analysis.votes import RuleLine, StopLine, rule_lines, stop_lines
from ..render import page
from ..render.table import Table
from ..run_dir import RunDirectory
from . import tables


@dataclass(frozen=True)
class Votes:
    """What one run's votes come to; each part is empty where the run has nothing for it."""

    run: Path
    rules: list[RuleLine]
    stops: list[StopLine]
    scores: list[ScoreLine]

    @classmethod
    def of(cls, run: Path, rows: Rows) -> Votes:
        """From a run's results."""
        return cls(run, rule_lines(rows), stop_lines(rows, RunDirectory(run).study.grid.stops), score_lines(rows))

    def tables(self) -> list[Table]:
        made = [tables.votes(self.rules)] if self.rules else []
        made += [tables.stops(self.stops)] if self.stops else []
        return made + ([tables.scores(self.scores)] if self.scores else [])

    def sections(self, figures: page.Figures) -> list[str]:
        """For the page."""
        return [*self._rules(figures), *self._stops(), *self._ranker(figures)]

    def _rules(self, figures: page.Figures) -> list[str]:
        curves = figures("votes", _CURVES)
        if not self.rules and not curves:
            return []
        beside = "<p>Each rule beside the first, on the same samples, with 95 % intervals (Bonett and Price).</p>"
        return [
            "<h2>Votes</h2>",
            *([beside, page.table(tables.votes(self.rules))] if self.rules else []),
            *curves,
        ]

    def _stops(self) -> list[str]:
        if not self.stops:
            return []
        return [
            "<h2>Stopping early</h2>",
            "<p>What each rule would have bought of the samples, in the order in which they were drawn, and the "
            "accuracy of the count over these.</p>",
            page.table(tables.stops(self.stops)),
        ]

    def _ranker(self, figures: page.Figures) -> list[str]:
        if not self.scores:
            return []
        return [
            "<h2>The ranker</h2>",
            f"<p>{self._held_out()}On the samples of the tests, beside scores that need no training: a pair is a right "
            "and a wrong solution of one question; AUROC takes pairs of all questions, and also rewards knowing which "
            "of them are easy.</p>",
            page.table(tables.scores(self.scores)),
            *figures("calibration", "How often a solution is right that the ranker scores so."),
            *figures("gain", "What the ranker's weights add to the count, against how well it tells pairs."),
        ]

    def _held_out(self) -> str:
        if not (RunDirectory(self.run).ranker / HELD_OUT).is_file():
            return ""
        held = held_out(RunDirectory(self.run).ranker)
        return (
            f"On pairs of {held.questions} training questions that it did not learn from it is right in "
            f"{100 * held.pair_accuracy:.1f} % (epoch {held.epoch}, the best). "
        )


_CURVES = (
    "Expected accuracy against the number of samples, rule by rule, without controls: over all subsets of so many, or "
    "over 256 drawn ones where there are more. The band is the first rule's 95 % interval over questions. A ranker "
    "that looks at a question's other samples scores all of them together, and its rules have no curve."
)
