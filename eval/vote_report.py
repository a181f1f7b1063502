"""What the report says of votes: rules side by side, when to stop, what the ranker is worth, and case by case."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import yaml

from . import page, tables
from .ballots import Case, RuleLine, Said, StopLine, cases, rule_lines, stop_lines
from .ranking import ScoreLine, score_lines
from .summary import Rows
from .teaching import HELD_OUT


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
        stops = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["grid"].get("stops", ())
        return cls(run, rule_lines(rows), stop_lines(rows, stops), score_lines(rows))

    def tables(self) -> list[tables.Table]:
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
        told = self.run / "ranker" / HELD_OUT
        if not told.is_file():
            return ""
        held = json.loads(told.read_text(encoding="utf-8"))
        return (
            f"On pairs of {held['questions']} training questions that it did not learn from it is right in "
            f"{100 * held['pair accuracy']:.1f} % (epoch {held['epoch']}, the best). "
        )


_CURVES = (
    "Expected accuracy against the number of samples, rule by rule: over all subsets of so many, or over 256 drawn "
    "ones where there are more. The band is the first rule's 95 % interval over questions. A ranker that looks at a "
    "question's other samples scores all of them together, and its rules have no curve."
)


def case_view(rows: Rows) -> list[str]:
    """The paper's case study, foldable by composition."""
    found = [(composition, list(of)) for composition, of in groupby(cases(rows), key=lambda case: case.composition)]
    if not found:
        return []
    return [
        "<h2>Cases</h2>",
        "<p>What the samples of a question say, and who wins under each rule; questions on which rules disagree come "
        "first.</p>",
        "<label><input type=checkbox class=only checked> only where rules disagree</label>",
        *(_folded(composition.label, of) for composition, of in found),
    ]


def _folded(label: str, of: Sequence[Case]) -> str:
    disagree = sum(case.disagree for case in of)
    summary = html.escape(f"{label}: rules disagree on {disagree} of the {len(of)} shown")
    return f"<details class=cases><summary>{summary}</summary>{''.join(map(_case, of))}</details>"


def _case(case: Case) -> str:
    """The answers, their scores, and who wins under each rule."""

    def score(value: float | None) -> str:
        return "" if value is None else f"{value:.3f}"

    header = ["answer", "verdict", "rank", "probability", "certainty"]
    said = [
        [str(one.answer), one.verdict, *(score(one.scores[name]) for name in ("rank", "probability", "certainty"))]
        for one in case.samples
    ]
    won = [[vote, winner] for vote, winner in case.winners.items()]
    label = html.escape(f"{case.id} ({case.test}), gold: {case.gold}")
    kind = "differ" if case.disagree else "agree"
    return (
        f"<details class={kind}><summary>{label}</summary><p>{html.escape(case.question)}</p>"
        f"{page.table((header, said))}{page.table((['vote', 'winner'], won))}"
        f"{''.join(map(_solution, enumerate(case.samples, 1)))}</details>"
    )


def _solution(numbered: tuple[int, Said]) -> str:
    number, said = numbered
    label = html.escape(f"sample {number}: {said.answer}, {said.verdict}")
    return f"<details><summary>{label}</summary><pre>{html.escape(said.solution)}</pre></details>"
