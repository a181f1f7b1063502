"""The report of a run, made from its directory alone: no model, no network."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ...core.errors import ConfigError
from ...core.files import refilling
from ...distill import student
from .. import freshness
from ..analysis.conclusion import Evidence, conclusions
from ..analysis.declined import warnings
from ..analysis.summary import (
    CellSummary,
    ReferenceComparison,
    Substitution,
    Unknown,
    clean,
    decomposed,
    lenient,
    lines,
    shared,
    squares,
    swaps,
    unknowns,
    verdicts,
)
from ..grid import results, sample_counts
from ..grid.rows import Results
from ..papers.reference import Papers
from ..render import escape, page
from ..render.table import Table, markdown, percent, save
from ..run_dir import RunDirectory
from . import figures, provenance, scatter, tables
from .browser import Browser
from .costs import Costs
from .errors import Errors
from .learning_curve import LearningCurves
from .plots import PLOTS, Drawn, draw_all
from .spread import shipped_spread
from .votes import Votes


def report(run: Path, axis: figures.AxisName | None = None) -> Path:
    """Write `report/` in a run directory: tables, figures, and one HTML page; the page's path.

    `axis` is the kind of cost that accuracy is drawn against; None is FLOPs, where they are known. Raises ConfigError
    when the run has no results, nobody knows that cost of any cell, or the report cannot be written; an earlier
    report is then left as it was.
    """
    rows = results.read(RunDirectory(run).results, unknown=True)
    if not rows.known:
        raise ConfigError(f"the results of {run} are empty")
    if axis and not any(figures.AXES[axis].cost(line) is not None for line in lines(rows.known)):
        remedy = "; give its models a price" if axis == "dollars" else ""
        raise ConfigError(f"{run} has no cell whose cost in {axis} is known: draw it against another --axis{remedy}")
    try:
        return _write(run, RunDirectory(run).report, rows, axis or "flops")
    except OSError as error:
        raise ConfigError(f"cannot write the report of {run}: {error.strerror}") from error


class Part(Protocol):
    """What one subject comes to in a run; all of it is empty where the run has nothing for it."""

    def tables(self) -> list[Table]:
        """For `table.md`."""
        ...

    def sections(self, figures: page.Figures) -> list[str]:
        """For the page."""
        ...


PARTS: tuple[Callable[[Path, Results], Part], ...] = (Errors.of, Votes.of, Costs.of, LearningCurves.of, Papers.of)
"""The subjects of a report, in order, each from a run's directory and rows. Adding one is a class and a name here."""


@dataclass(frozen=True)
class _Made:
    """What a report is made of."""

    run: Path
    rows: Results
    axis: figures.AxisName
    parts: list[Part]
    lines: list[CellSummary]
    squares: list[ReferenceComparison]
    """Of every vote."""
    swaps: list[Substitution]
    unknown: list[Unknown]
    """Where requests failed permanently; empty in most runs."""

    @classmethod
    def of(cls, run: Path, everything: Results, axis: figures.AxisName) -> _Made:
        rows = everything.known
        summary = lines(rows)
        squared = [
            square for vote in dict.fromkeys(line.cell.vote for line in summary) for square in squares(rows, vote)
        ]
        return cls(
            run, rows, axis, [part(run, rows) for part in PARTS], summary, squared, swaps(rows), unknowns(everything)
        )

    @property
    def notes(self) -> list[str]:
        """What stands below the main table."""
        return [
            *warnings(self.rows),
            sample_counts.described(RunDirectory(self.run).sample_counts),
            _footnote(self.run),
            tables.marks(self.squares),
        ]


def _write(run: Path, out: Path, rows: Results, axis: figures.AxisName) -> Path:
    """All that a report consists of takes its place at once; what an earlier one had beyond it goes."""
    stands_on = freshness.of_report(run, axis)
    with refilling(out) as part:
        made = _Made.of(run, rows, axis)
        _tables(made, part)
        drawn = page.Figures(part, draw_all(Drawn(run, axis, made.rows), part))
        (part / "index.html").write_text(_page(made, drawn), encoding="utf-8", errors="replace")
        left = [out / file.name for file in sorted(part.iterdir())]
    _remove_stale(out, drawn.drawn)
    freshness.write(RunDirectory(run).reported, stands_on, left)
    return out / "index.html"


def _tables(made: _Made, out: Path) -> None:
    """All tables as Markdown; the main one as LaTeX and, unrounded, as CSV and Parquet."""
    main, best, rows = tables.main(made.lines, made.squares), tables.best(made.lines), made.rows
    others = [
        *([tables.unknown(made.unknown)] if made.unknown else []),
        *([tables.changes(made.swaps)] if made.swaps else []),
        *([tables.decompositions(found)] if (found := decomposed(rows)) else []),
    ]
    others += [table for part in made.parts for table in part.tables()]
    others += [tables.verdicts(verdicts(rows)), *([tables.lenient(soft)] if (soft := lenient(rows)) else [])]
    others += [tables.overlap(shared(rows)), tables.cleaned(clean(rows))]
    shown = [
        markdown(main, best),
        *map(markdown, others),
        *(f"{escape.markdown(note)}\n" for note in made.notes),
    ]
    (out / "table.md").write_text("\n".join(shown), encoding="utf-8")
    latex = tables.for_print(made.lines, made.squares, " ".join(made.notes))
    (out / "table.tex").write_text(latex, encoding="utf-8")
    save(tables.records(made.lines, made.squares), out / "table.csv", out / "table.parquet")


def _remove_stale(out: Path, drawn: Sequence[str]) -> None:
    """What an earlier report drew, and this one had nothing for."""
    for name in PLOTS.keys() - set(drawn):
        for kind in (*figures.KINDS, "csv"):
            (out / f"{name}.{kind}").unlink(missing_ok=True)


def _footnote(run: Path) -> str:
    seed = RunDirectory(run).study.seed
    return (
        "Accuracy in per cent with 95 % intervals (Wilson; over families of questions where there are some; ties in a "
        f"vote share credit). Seed {seed}, one run: a seed redraws the training order, the adapters' initial values "
        f"and the samples; no interval covers another training. {_budgets(run)}"
        "Costs are means over all questions, each cell counted as if it ran alone: its decomposition, its "
        "solutions, their prompt once, and what the vote's ranker reads. FLOPs are 2 x parameters x tokens plus "
        "attention, of plain adapters as merged into their base. "
        "Seconds are each sample's share of its batch, on the machine that made it."
    )


def _budgets(run: Path) -> str:
    """What the two tracks were trained on, and whether it was as much."""
    taught = [facts["trained"]["tokens"] for role in ("decomposer", "solver") if (facts := student.read(run / role))]
    if len(taught) < 2:
        return ""
    matched = "matched to a step" if abs(taught[0] - taught[1]) < max(taught) / 100 else "not matched"
    return f"Training tokens, decomposer and solver: {taught[0]:,} and {taught[1]:,} ({matched}). "


def _page(made: _Made, drawn: page.Figures) -> str:
    rows, title = made.rows, f"divcon study: {made.run.resolve().name}"
    browser = Browser.of(rows)
    sections = [
        f"<h1>{html.escape(title)}</h1>",
        *_says(made),
        "<h2>Accuracy against cost</h2>",
        *scatter.sections(
            made.lines,
            made.axis,
            drawn("accuracy_cost", "Accuracy against inference cost; the line is the Pareto front, controls aside."),
        ),
        "<h2>Every decomposer before every solver</h2>",
        *drawn("heat_map", _HEAT),
        *(f"<p class=note>{html.escape(warning)}</p>" for warning in warnings(made.rows)),
        *_unknown(made),
        *_changes(made),
        "<h2>Test by test</h2>",
        *drawn("by_test", "Accuracy of every decomposer before each solver, test by test."),
        *drawn("slopes", "Accuracy from test to test, without controls, gold and the untrained student."),
        *_decompositions(rows),
        *(section for part in made.parts for section in part.sections(drawn)),
        "<h2>Verdicts</h2>",
        "<p>How the winning answers were graded. An unreadable answer is no answer; timed out is a comparison that "
        "passed its limit of time or size. Neither counts as right.</p>",
        page.table(tables.verdicts(verdicts(rows))),
        *_lenient(rows),
        "<h2>Contamination</h2>",
        "<p>Test questions that stand among the training questions, wholly or in part; each cell's accuracy on those "
        "that share no run of 13 words with any; and leaks: decompositions that hold the gold answer where the "
        "question does not.</p>",
        page.table(tables.overlap(shared(rows))),
        page.table(tables.cleaned(clean(rows))),
        "<h2>Every cell</h2>",
        page.table(tables.main(made.lines, made.squares), tables.best(made.lines)),
        f"<p class=note>{html.escape(' '.join(made.notes))}</p>",
        "<h2>Students</h2>",
        page.table(_students(made.run)),
        *drawn("training", "The students' trainings."),
        *provenance.sections(made.run),
        *browser.sections(),
    ]
    return page.document(title, sections, browser.blocks())


def _unknown(made: _Made) -> list[str]:
    if not made.unknown:
        return []
    return [
        "<h2>Requests that failed permanently</h2>",
        "<p>A model's server refused these and always would: a prompt over its context, a filter. Nobody knows what it "
        "would have said. All numbers of this page are of the other questions; the bounds are of all, if every unknown "
        "one were wrong, or right.</p>",
        page.table(tables.unknown(made.unknown)),
    ]


def _changes(made: _Made) -> list[str]:
    few = list(dict.fromkeys(swap.vote for swap in made.swaps))[:2]  # the rules of one set of samples differ little
    shown = [swap for swap in made.swaps if swap.vote in few]
    if not shown:
        return []
    return [
        "<h2>What the student changes</h2>",
        "<p>A student takes the LLM's place in one phase, the other stays with the LLM. Differences in accuracy on the "
        "same questions, in points, with 95 % intervals.</p>",
        page.table(tables.changes(shown)),
    ]


_HEAT = (
    "Accuracy on all questions; in small print the difference to the reference, the cell called so. A star: told from "
    "it at the 5 % level (Holm, over all cells of the vote); a dagger: not over every question."
)


def _decompositions(rows: Results) -> list[str]:
    found = decomposed(rows)
    if not found:
        return []
    return ["<h2>Decompositions that are right</h2>", page.table(tables.decompositions(found))]


def _lenient(rows: Results) -> list[str]:
    found = lenient(rows)
    if not found:
        return []
    return [
        "<h2>Strict beside lenient</h2>",
        "<p>The same outputs under the softer rule that papers report for the data set: the gold number anywhere in "
        "the output (any-token), the gold phrase behind the answer's mark (substring), or DROP's F1.</p>",
        page.table(tables.lenient(found)),
    ]


def _says(made: _Made) -> list[str]:
    """The study's answer, in words that follow from its numbers; nothing where the LLM's place was never taken."""
    said = conclusions(Evidence.of_run(made.rows))
    if not said:
        return []
    sentences = [*said, "These intervals are over questions; none of them covers another training."]
    return [f"<p class=lead>{'<br>'.join(map(html.escape, sentences))}</p>", *_other_seeds(made)]


def _other_seeds(made: _Made) -> list[str]:
    """What five trainings of the same study came to, where divcon ships that."""
    spread = shipped_spread(RunDirectory(made.run).study)
    if spread is None:
        return []
    own = {line.cell: line.accuracy for line in made.lines if line.test == made.lines[0].test}
    rows = [
        [*cell.names, percent(own[cell]), f"{100 * mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"]
        for cell, (mean, low, high) in spread.accuracies.items()
        if cell in own
    ]
    header = ["decomposer", "solver", "vote", "this run", f"{len(spread.seeds)} seeds: mean [lowest, highest]"]
    return [
        f"<p>The same study under other seeds, as divcon ships it ({html.escape(spread.made_on)}): how far one "
        "training lies from another.</p>",
        page.table((header, rows)),
    ]


def _students(run: Path) -> Table:
    header = ["student", "data", "teacher", "examples", "steps", "training tokens", "weights trained", "last loss"]
    rows = []
    for name in [folder.name for folder in RunDirectory(run).student_folders()]:
        if facts := student.read(run / name):
            t = facts["trained"]
            amounts = [f"{t[key]:,}" for key in ("examples", "steps", "tokens", "parameters")]
            rows.append([name, facts["data"], facts["teacher"], *amounts, f"{t['loss']:.4f}"])
    return header, rows
