"""What the report says of votes: rules side by side, when to stop, what the ranker is worth, and case by case."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import yaml

from ..distill import student
from ..distill.recipes import RankerRecipe
from . import figures, page, tables
from .ballots import Case, RuleCurve, RuleLine, Said, StopLine, cases, rule_curves, rule_lines, stop_lines
from .ranking import Gain, ScoreLine, gains, score_lines
from .summary import Rows
from .teaching import HELD_OUT
from .vote import Score


@dataclass(frozen=True)
class Votes:
    """What one run's votes come to; each part is empty where the run has nothing for it."""

    run: Path
    rules: list[RuleLine]
    curves: list[RuleCurve]
    stops: list[StopLine]
    scores: list[ScoreLine]
    gains: list[Gain]

    @classmethod
    def of(cls, run: Path, rows: Rows) -> Votes:
        """From a run's results."""
        stops = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["grid"].get("stops", ())
        curves = rule_curves(rows, _whole_only(run))
        return cls(run, rule_lines(rows), curves, stop_lines(rows, stops), score_lines(rows), gains(rows))

    def tables(self) -> list[tables.Table]:
        made = [tables.votes(self.rules)] if self.rules else []
        made += [tables.stops(self.stops)] if self.stops else []
        return made + ([tables.scores(self.scores)] if self.scores else [])

    def draw(self, out: Path) -> None:
        """Write the figures into a directory."""
        if self.curves:
            figures.save(figures.votes(self.curves), out, "votes")
        if self.scores:
            figures.save(
                figures.calibration([line for line in self.scores if line.score == "ranker"]), out, "calibration"
            )
        if self.gains:
            figures.save(figures.gain(self.gains), out, "gain")

    def sections(self, out: Path) -> list[str]:
        """For the page, which shows the figures that were drawn into `out`."""
        return [*self._rules(out), *self._stops(), *self._ranker(out)]

    def _rules(self, out: Path) -> list[str]:
        if not self.rules and not self.curves:
            return []
        beside = "<p>Each rule beside the first, on the same samples, with 95 % intervals (Bonett and Price).</p>"
        return [
            "<h2>Votes</h2>",
            *([beside, page.table(tables.votes(self.rules))] if self.rules else []),
            *([page.figure(out / "votes.svg", _CURVES)] if self.curves else []),
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

    def _ranker(self, out: Path) -> list[str]:
        if not self.scores:
            return []
        drawn = [("calibration", "How often a solution is right that the ranker scores so.")]
        if self.gains:
            drawn.append(("gain", "What the ranker's weights add to the count, against how well it tells pairs."))
        return [
            "<h2>The ranker</h2>",
            f"<p>{self._held_out()}On the samples of the tests, beside scores that need no training: a pair is a right "
            "and a wrong solution of one question; AUROC takes pairs of all questions, and also rewards knowing which "
            "of them are easy.</p>",
            page.table(tables.scores(self.scores)),
            *(page.figure(out / f"{name}.svg", caption) for name, caption in drawn),
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


def _whole_only(run: Path) -> tuple[Score, ...]:
    """A ranker that looks at a question's other samples scores them all together."""
    made = student.read(run / "ranker")
    looks_around = made and RankerRecipe.model_validate(made["recipe"]).backbone.looks_around
    return ("rank",) if looks_around else ()


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
