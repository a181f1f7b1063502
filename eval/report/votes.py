"""What the report says of votes: rules side by side, when to stop, and what the ranker is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...distill.ranker.held_out import HELD_OUT, held_out
from ..analysis.ranker import ScoreLine, score_lines
from ..analysis.votes import RuleLine, StopLine, rule_lines, stop_lines
from ..grid.rows import Results
from ..render import page
from ..render.table import Table, percent, points
from ..run_dir import RunDirectory


@dataclass(frozen=True)
class Votes:
    """What one run's votes come to; each part is empty where the run has nothing for it."""

    run: Path
    rules: list[RuleLine]
    stops: list[StopLine]
    scores: list[ScoreLine]

    @classmethod
    def of(cls, run: Path, rows: Results) -> Votes:
        """From a run's results."""
        return cls(run, rule_lines(rows), stop_lines(rows, RunDirectory(run).study.grid.stops), score_lines(rows))

    def tables(self) -> list[Table]:
        made = [rules_table(self.rules)] if self.rules else []
        made += [stops_table(self.stops)] if self.stops else []
        return made + ([scores_table(self.scores)] if self.scores else [])

    def sections(self, figures: page.Figures) -> list[str]:
        """For the page."""
        return [*self._rules(figures), *self._stops(), *self._ranker(figures)]

    def _rules(self, figures: page.Figures) -> list[str]:
        curves = figures("votes", _CURVES)
        if not self.rules and not curves:
            return []
        beside = "<p>Each rule beside the first, on the same samples, with 95 % intervals.</p>"
        return [
            "<h2>Votes</h2>",
            *([beside, page.table(rules_table(self.rules))] if self.rules else []),
            *curves,
        ]

    def _stops(self) -> list[str]:
        if not self.stops:
            return []
        return [
            "<h2>Stopping early</h2>",
            "<p>What each rule would have bought of the samples, in the order in which they were drawn, and the "
            "accuracy of the count over these.</p>",
            page.table(stops_table(self.stops)),
        ]

    def _ranker(self, figures: page.Figures) -> list[str]:
        if not self.scores:
            return []
        return [
            "<h2>The ranker</h2>",
            f"<p>{self._held_out()}On the samples of the tests, beside scores that need no training: a pair is a right "
            "and a wrong solution of one question; AUROC takes pairs of all questions, and also rewards knowing which "
            "of them are easy.</p>",
            page.table(scores_table(self.scores)),
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


def rules_table(found: Sequence[RuleLine]) -> Table:
    """A row a composition and rule: its accuracy, and the difference to the first rule on the same samples."""
    header = ["decomposer", "solver", "vote", "all questions", f"beside {found[0].vote} (points)"]
    header += ["questions to see one point"]
    return header, [
        [
            *line.composition.names,
            str(line.vote),
            percent(line.accuracy),
            points(line.beside) if line.beside else "",
            f"{line.needed:,.0f}" if line.needed else "",
        ]
        for line in found
    ]


def stops_table(found: Sequence[StopLine]) -> Table:
    """A row a composition and rule to stop by: what it would have bought, and what that loses."""
    header = ["decomposer", "solver", "stop", "samples", "all questions", "beside all samples (points)"]
    return header, [
        [*line.composition.names, line.stop, f"{line.samples:.2f}", percent(line.accuracy), points(line.beside)]
        for line in found
    ]


def scores_table(found: Sequence[ScoreLine]) -> Table:
    """A row a composition and kind of score: how well it tells right solutions from wrong ones."""
    header = ["decomposer", "solver", "score", "pairs told (%)", "AUROC"]
    return header, [
        [*line.composition.names, line.score, percent(line.worth.pairs), f"{line.worth.auroc:.3f}"]
        if line.worth.has_pairs
        else [*line.composition.names, line.score, "no pair", ""]
        for line in found
    ]
