"""Methods beside one another: every method and seed distils a student, and all answer the same questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ..core.errors import ConfigError
from ..core.files import replacing
from ..decompose.decomposition import none
from ..distill import student
from ..distill.method_catalogue import check_methods
from ..eval.analysis.summary import Rows
from ..eval.grid import results
from ..eval.grid.evaluate import GridDecomposer, GridSolver, Row, compose
from ..eval.render.table import markdown, points
from ..eval.run_dir import RunDirectory
from ..eval.stats.intervals import Tested, crossed, holm, questions_needed
from .distil import distil

if TYPE_CHECKING:
    from .run import Run

TABLE = Path("methods/table.md")


@dataclass(frozen=True)
class Taught:
    """One student."""

    method: str
    seed: int
    directory: Path

    @property
    def name(self) -> str:
        return f"{self.method} {self.seed}"


def compare(run: Run) -> Path:
    """Distil and ask every student that is not there yet, and write the table; its path."""
    settings = run.study.methods
    if not settings.names:
        raise ConfigError("the config lists no methods: set methods.names")
    check_methods(settings.names)
    recipe = getattr(run.study.distill, settings.role)
    students = [
        Taught(name, seed, run.files.methods / f"{name}-{seed}") for seed in settings.seeds for name in settings.names
    ]
    for each in students:
        stages = run.files.methods / f"stages-{each.seed}"
        of_method = recipe.model_copy(update={"method": each.method})
        distil(run, settings.role, of_method, each.directory, each.seed, stages)
    rows = [row for each in students for row in _asked(run, each)]
    overlaps = run.overlaps()
    with replacing(run.files.method_results, run.directory / TABLE) as (asked, table):
        results.write(rows, asked, overlaps)
        table.write_text(_described(run.directory, results.read(asked), run.study.methods.names), encoding="utf-8")
    return run.directory / TABLE


def _asked(run: Run, of: Taught) -> list[Row]:
    """What a student does on the tests beside its partner, greedily."""
    # An engine of its own: the adapters of sixty students need not lie in memory together.
    model = replace(run.distilled(of.directory), engine=run.study.student.open(adapters=1))
    decomposes, solves = (of.name, model), ("llm", run.llm)
    if run.study.methods.role == "solver":
        decomposes, solves = solves, decomposes
    with run.stage(f"ask: {of.name}", model) as stage:
        decomposing = GridDecomposer("none", None, None, none)
        if decomposes[1] is model or run.study.methods.partner == "llm":
            name, asked = decomposes
            decomposer = replace(run.decomposer(asked), advance=stage)
            decomposing = GridDecomposer(name, asked.footprint, asked.price, decomposer)
        name, asked = solves
        solver = replace(run.solver(asked), advance=stage)
        solving = GridSolver(name, asked.footprint, asked.price, ("greedy",), solver)
        return compose(run.tests, [decomposing], [solving])


def describe(directory: Path, names: Sequence[str]) -> str:
    """The tables of a comparison, from its results and its students' cards."""
    return _described(directory, results.read(RunDirectory(directory).method_results), names)


def _described(directory: Path, rows: Rows, names: Sequence[str]) -> str:
    by_role = "solver" if any(row["solver"].rpartition(" ")[0] in names for row in rows) else "decomposer"
    credit: dict[tuple[str, int], dict[tuple[str, str], float]] = {}
    for row in rows:
        method, _, seed = row[by_role].rpartition(" ")
        credit.setdefault((method, int(seed)), {})[row["test"], row["id"]] = row["credit"]
    seeds = sorted({seed for _, seed in credit})
    tests = list(dict.fromkeys(row["test"] for row in rows))
    header = ["method", *tests, "all questions", f"beside {names[0]} (points)", "p (Holm)"]
    header += ["weights", "tokens", "steps", "seconds"]
    beside = _against(credit, names, seeds)
    lines = [
        [name, *_accuracies(credit, name, seeds, tests), *beside[name], *_costs(directory, name, seeds)]
        for name in names
    ]
    asked = len(next(iter(credit.values())))
    return "\n".join(
        [
            f"Accuracy in per cent on {asked} questions: the mean over seeds {', '.join(map(str, seeds))} "
            "[the lowest, the highest seed]. A difference has a 95 % interval over seeds and questions; p is adjusted "
            f"for {len(names) - 1} comparisons (Holm). Weights are those of the last stage; tokens, steps and seconds "
            "those of all stages.\n",
            markdown((header, lines)),
            _needed(credit, names, seeds),
            *_overlaps(credit, seeds),
        ]
    )


def _accuracies(
    credit: dict[tuple[str, int], dict[tuple[str, str], float]], name: str, seeds: Sequence[int], tests: Sequence[str]
) -> list[str]:
    said = []
    for test in [*tests, None]:
        each = [_mean(credit[name, seed], test) for seed in seeds]
        said.append(f"{100 * fmean(each):.1f} [{100 * min(each):.1f}, {100 * max(each):.1f}]")
    return said


def _against(
    credit: dict[tuple[str, int], dict[tuple[str, str], float]], names: Sequence[str], seeds: Sequence[int]
) -> dict[str, list[str]]:
    """Each method's difference to the first, and its adjusted p-value."""
    first, *others = names
    found: dict[str, Tested] = {
        name: crossed([[value - credit[first, s][key] for key, value in credit[name, s].items()] for s in seeds])
        for name in others
    }
    adjusted = holm([tested.p for tested in found.values()])
    said = {
        name: [points(tested.estimate), f"{p:.3f}"] for (name, tested), p in zip(found.items(), adjusted, strict=True)
    }
    return {first: ["", ""], **said}


def _needed(
    credit: dict[tuple[str, int], dict[tuple[str, str], float]], names: Sequence[str], seeds: Sequence[int]
) -> str:
    """How many questions would tell one point between two methods of one seed."""
    first = names[0]
    needed = [
        questions_needed(list(credit[first, seed].values()), list(credit[name, seed].values()), 1.0)
        for name in names[1:]
        for seed in seeds
    ]
    if not needed:
        return ""
    return (
        f"To see one point beside {first} for one seed, a comparison would need {min(needed):,.0f} to "
        f"{max(needed):,.0f} questions (80 % power; as many questions flipping as did here, and one in a hundred at "
        "least).\n"
    )


def _mean(credits: dict[tuple[str, str], float], test: str | None) -> float:
    return fmean(value for (of, _), value in credits.items() if test in (None, of))


def _costs(directory: Path, name: str, seeds: Sequence[int]) -> list[str]:
    cards: list[dict[str, Any]] = [
        student.read(RunDirectory(directory).methods / f"{name}-{seed}") or {} for seed in seeds
    ]
    trained = [card["trained"] for card in cards]
    seconds = fmean(each["seconds"] for each in trained)
    tokens, steps = (fmean(each[name] for each in trained) for name in ("tokens", "steps"))
    return [f"{trained[0]['parameters']:,}", f"{tokens:,.0f}", f"{steps:,.0f}", f"{seconds:.0f}"]


def _overlaps(credit: dict[tuple[str, int], dict[tuple[str, str], float]], seeds: Sequence[int]) -> list[str]:
    """How far students solve the same questions: |A and B| / |A or B|, as the paper's first table has it."""
    methods = {method for method, _ in credit}
    wanted = [("kd", "negative"), ("kd", "nat"), ("nat", "negative")]
    lines = []
    for a, b in (pair for pair in wanted if methods.issuperset(pair)):
        each = [iou(_solved(credit[a, seed]), _solved(credit[b, seed])) for seed in seeds]
        lines.append([a, b, f"{fmean(each):.3f} [{min(each):.3f}, {max(each):.3f}]"])
    return ["", markdown((["solved by", "and by", "IoU"], lines))] if lines else []


def iou(a: set[tuple[str, str]], b: set[tuple[str, str]]) -> float:
    """Intersection over union; of two empty sets 0."""
    return len(a & b) / len(a | b) if a | b else 0.0


def _solved(credits: dict[tuple[str, str], float]) -> set[tuple[str, str]]:
    return {key for key, value in credits.items() if value > 0.5}
