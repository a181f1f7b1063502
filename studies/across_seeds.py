"""Several seeds of one study as a level of their own: means of cells, and differences over seeds and questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import ConfigError
from ..core.files import replacing
from ..eval.analysis.compare import cell_of
from ..eval.analysis.conclusion import Evidence, conclusions
from ..eval.analysis.summary import paired_over_seeds, reference
from ..eval.config import decides_results, differences
from ..eval.grid import results
from ..eval.grid.rows import Results
from ..eval.grid_spec import Cell
from ..eval.render import escape
from ..eval.render.table import INCOMPLETE, Table, latex, markdown, points, save
from ..eval.run_dir import RunDirectory
from ..eval.stats.seeds import FEWEST_SEEDS, Tested, adjusted_over_known


@dataclass(frozen=True)
class Mean:
    """One cell on one test, over seeds."""

    cell: Cell
    test: str
    questions: int
    accuracy: float
    lowest: float
    """Of the seeds' accuracies."""
    highest: float


@dataclass(frozen=True)
class Seeds:
    """One study under several seeds."""

    seeds: tuple[int, ...]
    means: tuple[Mean, ...]
    beside: dict[Cell, Tested]
    """On all questions less the reference of the same vote, for other seeds and questions; p is Holm's over the cells
    of the vote. A reference has none."""
    references: tuple[Cell, ...]
    """Of each vote."""
    left_out: tuple[Cell, ...]
    """Cells that not every run has; a vote whose slope is learned is called differently under each seed."""
    conclusions: tuple[str, ...] = ()
    """What the runs together say, in sentences that follow from the numbers."""

    def __str__(self) -> str:
        lead = f"{escape.markdown(' '.join(self.conclusions))}\n\n" if self.conclusions else ""
        return f"{lead}{markdown(self.table())}\n{escape.markdown(self.note())}"

    def table(self) -> Table:
        """A row a cell: means over seeds with the lowest and the highest, and the difference to the reference."""
        asked = dict.fromkeys(mean.test for mean in self.means)
        n = {test: max(mean.questions for mean in self.means if mean.test == test) for test in asked}
        header = ["decomposer", "solver", "vote", *(f"{test} (n={n[test]})" for test in asked)]
        rows = []
        for cell in dict.fromkeys(mean.cell for mean in self.means):
            of_cell = {mean.test: mean for mean in self.means if mean.cell == cell}
            beside = self.beside.get(cell)
            star = "*" if beside and beside.p is not None and beside.p < 0.05 else ""
            star += "\N{DEGREE SIGN}" if star and beside and beside.over == "questions" else ""
            shown = [_spread(of_cell.get(test), n[test]) for test in asked]
            shown.append(points(beside.estimate) + star if beside else "reference" * (cell in self.references))
            rows.append([*cell.names, *shown])
        return [*header, "beside the reference (points)"], rows

    def records(self) -> tuple[list[str], list[list[object]]]:
        """The same as numbers, unrounded: a row a cell and test."""
        header = ["decomposer", "solver", "vote", "test", "questions", "seeds", "accuracy", "lowest", "highest"]
        rows: list[list[object]] = []
        first = self.means[0].test
        for mean in self.means:
            beside = self.beside.get(mean.cell) if mean.test == first else None
            tested = [*beside.estimate, beside.p, beside.over] if beside else [None] * 5
            own = [mean.questions, len(self.seeds), mean.accuracy, mean.lowest, mean.highest]
            rows.append([*mean.cell.names, mean.test, *own, *tested])
        return [*header, "beside", "beside_low", "beside_high", "p_holm", "over"], rows

    def note(self) -> str:
        """What stands in the table."""
        missing = ", ".join(cell.label for cell in self.left_out)
        held = ", ".join(cell.label for cell in self.references)
        return (
            f"Means over the seeds {', '.join(map(str, self.seeds))} in per cent, with the lowest and the highest. A "
            "seed redraws the training order, the adapters' initial values and the samples. Differences to the "
            f"reference of the same vote ({held}), on the questions that both were asked, have 95 % intervals over "
            "seeds and families of questions, which are crossed; * marks those below 5 % after Holm's adjustment over "
            "the cells of the vote, *\N{DEGREE SIGN} those tested over questions alone, since seeds change nothing. "
            + (f"Fewer than {FEWEST_SEEDS} seeds give no p-value over seeds. " if self._are_few else "")
            + f"{INCOMPLETE} not every question was asked."
            + (f" Not in every run, and left out: {missing}." if missing else "")
        )

    @property
    def _are_few(self) -> bool:
        return len(self.seeds) < FEWEST_SEEDS

    def save(self, stem: Path) -> None:
        """As STEM.md, STEM.tex, STEM.csv and STEM.parquet."""
        stem.parent.mkdir(parents=True, exist_ok=True)
        printed = latex(self.table(), "Accuracy over seeds.", note=self.note())
        with replacing(*(Path(f"{stem}{kind}") for kind in (".md", ".tex", ".csv", ".parquet"))) as parts:
            parts[0].write_text(f"{self}\n", encoding="utf-8")
            parts[1].write_text(printed, encoding="utf-8")
            save(self.records(), *parts[2:])


def over_seeds(runs: Sequence[Path], beside: str | None = None) -> Seeds:
    """Runs of one study that differ in their seed alone.

    `beside` is a cell, `decomposer:solver:vote`, to hold the others of its vote against. Raises ConfigError where the
    runs differ otherwise, share a seed or were asked different questions, and for a cell that they do not all have.
    """
    seeds = _seeds(runs)
    rows_of = [results.read(RunDirectory(run).results) for run in runs]
    results_of = [rows.by_cell for rows in rows_of]
    cells = [cell for cell in results_of[0] if all(cell in of for of in results_of)]
    for cell in cells:
        if len({frozenset(of[cell].keys) for of in results_of}) > 1:
            raise ConfigError(f"the runs were asked different questions in {cell.label}, and have no common mean")
    every = list(dict.fromkeys(cell for of in results_of for cell in of))
    asked = Results(row for cell in cells for row in results_of[0][cell]).tests
    means = [mean for cell in cells for test in asked if (mean := _mean(cell, test, [of[cell] for of in results_of]))]
    held = cell_of(beside, cells) if beside else None
    tested: dict[Cell, Tested] = {}
    references = []
    for vote in dict.fromkeys(cell.vote for cell in cells):
        of_vote = [cell for cell in cells if cell.vote == vote]
        usual = reference({cell: results_of[0][cell] for cell in of_vote})
        references.append(held if held in of_vote and held else usual)
        tested |= _against(of_vote, references[-1], results_of)
    left_out = tuple(cell for cell in every if cell not in cells)
    said = tuple(conclusions(Evidence.of_seeds(rows_of))) if cells else ()
    return Seeds(seeds, tuple(means), tested, tuple(references), left_out, said)


def _seeds(runs: Sequence[Path]) -> tuple[int, ...]:
    if len(runs) < 2:
        raise ConfigError("seeds are compared between two runs at least")
    studies = [RunDirectory(run).study for run in runs]
    for run, study in zip(runs[1:], studies[1:], strict=True):
        if unlike := [k for k in differences(studies[0], study) if k != "seed" and decides_results(k)]:
            raise ConfigError(f"{runs[0]} and {run} differ in more than their seed: {', '.join(unlike)}")
    seeds = tuple(study.seed for study in studies)
    if twice := [seed for i, seed in enumerate(seeds) if seed in seeds[:i]]:
        raise ConfigError(f"two of these runs have the seed {twice[0]}")
    return seeds


def _mean(cell: Cell, test: str, by_seed: Sequence[Results]) -> Mean | None:
    credits = [rows.of_test(test).credits for rows in by_seed]
    if not credits[0]:
        return None
    each = [sum(of) / len(of) for of in credits]
    return Mean(cell, test, len(credits[0]), sum(each) / len(each), min(each), max(each))


def _against(cells: Sequence[Cell], held: Cell, results_of: Sequence[Mapping[Cell, Results]]) -> dict[Cell, Tested]:
    """The cells of one vote against its reference, on the questions that both were asked."""
    tested: dict[Cell, Tested] = {}
    for cell in cells:
        both = ([of[cell] for of in results_of], [of[held] for of in results_of])
        if cell != held and (change := paired_over_seeds(*both)):
            tested[cell] = change
    adjusted = adjusted_over_known(list(tested.values()))
    return {cell: one._replace(p=p) for (cell, one), p in zip(tested.items(), adjusted, strict=True)}


def _spread(mean: Mean | None, asked: int) -> str:
    if mean is None:
        return "not asked"
    value, low, high = (100 * part for part in (mean.accuracy, mean.lowest, mean.highest))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]" + (f" {INCOMPLETE}" if mean.questions < asked else "")
