"""Methods beside one another: every method and seed distils a student, and all answer the same questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from ..core.errors import ConfigError
from ..core.files import replacing
from ..distill import student
from ..distill.method_catalogue import check_methods
from ..eval.grid import results
from ..eval.grid.rows import QuestionKey, Results
from ..eval.grid_spec import ALL
from ..eval.render.table import markdown, points
from ..eval.run_dir import RunDirectory
from ..eval.stats.intervals import questions_needed
from ..eval.stats.seeds import FEWEST_SEEDS, Tested, adjusted_over_known, crossed
from .context import StudyContext
from .distil import distil
from .evaluate import training_overlaps
from .partners import ask_student

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


def compare(context: StudyContext) -> Path:
    """Distil and ask every student that is not there yet, and write the table; its path."""
    settings = context.study.methods
    if not settings.names:
        raise ConfigError("the config lists no methods: set methods.names")
    check_methods(settings.names)
    recipe = getattr(context.study.distill, settings.role)
    students = [
        Taught(name, seed, context.files.methods / f"{name}-{seed}")
        for seed in settings.seeds
        for name in settings.names
    ]
    for each in students:
        stages = context.files.methods / f"stages-{each.seed}"
        of_method = recipe.model_copy(update={"method": each.method})
        distil(context, settings.role, of_method, each.directory, each.seed, stages)
    asked = [ask_student(context, each.name, each.directory, settings.role, settings.partner) for each in students]
    rows = results.with_overlaps((row for own in asked for row in own), training_overlaps(context))
    with replacing(context.files.method_results, context.directory / TABLE) as (part, table):
        results.save(rows, part)
        table.write_text(_described(context.directory, rows.known, context.study.methods.names), encoding="utf-8")
    return context.directory / TABLE


def describe(directory: Path, names: Sequence[str]) -> str:
    """The tables of a comparison, from its results and its students' cards."""
    return _described(directory, results.read(RunDirectory(directory).method_results), names)


def _described(directory: Path, rows: Results, names: Sequence[str]) -> str:
    of_solver = any(str(cell.solver).rpartition(" ")[0] in names for cell in rows.by_cell)
    credit: dict[tuple[str, int], dict[QuestionKey, float]] = {}
    for cell, of_cell in rows.by_cell.items():
        method, _, seed = str(cell.solver if of_solver else cell.decomposer).rpartition(" ")
        credit[method, int(seed)] = dict(zip(of_cell.keys, of_cell.credits, strict=True))
    clusters = dict(zip(rows.keys, rows.families, strict=True))
    seeds = sorted({seed for _, seed in credit})
    tests = [test for test in rows.tests if test != ALL]
    header = ["method", *tests, "all questions", f"beside {names[0]} (points)", "p (Holm)"]
    header += ["weights", "tokens", "steps", "seconds"]
    beside = _against(credit, clusters, names, seeds)
    lines = [
        [name, *_accuracies(credit, name, seeds, tests), *beside[name], *_costs(directory, name, seeds)]
        for name in names
    ]
    asked = len(next(iter(credit.values())))
    return "\n".join(
        [
            f"Accuracy in per cent on {asked} questions: the mean over seeds {', '.join(map(str, seeds))} "
            f"[the lowest, the highest seed]. A difference has a 95 % interval over {_over(seeds)}; p is adjusted for "
            f"{len(names) - 1} comparisons (Holm). Weights are those of the last stage; tokens, steps and seconds "
            "those of all stages.\n",
            markdown((header, lines)),
            _needed(credit, names, seeds),
            *_overlaps(credit, seeds),
        ]
    )


def _over(seeds: Sequence[int]) -> str:
    """What intervals are for, and which p-values there are."""
    if len(seeds) == 1:
        return "questions alone, with the p-value of a test over questions: they say nothing of another training"
    few = f"; fewer than {FEWEST_SEEDS} seeds give no p-value over them" if len(seeds) < FEWEST_SEEDS else ""
    return f"seeds and families of questions, which are crossed{few}"


def _accuracies(
    credit: dict[tuple[str, int], dict[QuestionKey, float]], name: str, seeds: Sequence[int], tests: Sequence[str]
) -> list[str]:
    said = []
    for test in [*tests, None]:
        each = [_mean(credit[name, seed], test) for seed in seeds]
        said.append(f"{100 * fmean(each):.1f} [{100 * min(each):.1f}, {100 * max(each):.1f}]")
    return said


def _against(
    credit: dict[tuple[str, int], dict[QuestionKey, float]],
    clusters: dict[QuestionKey, str],
    names: Sequence[str],
    seeds: Sequence[int],
) -> dict[str, list[str]]:
    """Each method's difference to the first, and its adjusted p-value where there is one."""
    first, *others = names
    asked = [key for key in credit[first, seeds[0]] if all(key in of for of in credit.values())]
    families = [clusters[key] for key in asked]
    found: dict[str, Tested] = {
        name: crossed([[credit[name, s][key] - credit[first, s][key] for key in asked] for s in seeds], families)
        for name in others
    }
    adjusted = adjusted_over_known(list(found.values()))
    said = {
        name: [points(tested.estimate), "" if p is None else f"{p:.3f}"]
        for (name, tested), p in zip(found.items(), adjusted, strict=True)
    }
    return {first: ["", ""], **said}


def _needed(credit: dict[tuple[str, int], dict[QuestionKey, float]], names: Sequence[str], seeds: Sequence[int]) -> str:
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


def _mean(credits: dict[QuestionKey, float], test: str | None) -> float:
    return fmean(value for (of, _), value in credits.items() if test in (None, of))


def _costs(directory: Path, name: str, seeds: Sequence[int]) -> list[str]:
    cards: list[dict[str, Any]] = [
        student.read(RunDirectory(directory).methods / f"{name}-{seed}") or {} for seed in seeds
    ]
    trained = [card["trained"] for card in cards]
    seconds = fmean(each["seconds"] for each in trained)
    tokens, steps = (fmean(each[name] for each in trained) for name in ("tokens", "steps"))
    return [f"{trained[0]['parameters']:,}", f"{tokens:,.0f}", f"{steps:,.0f}", f"{seconds:.0f}"]


def _overlaps(credit: dict[tuple[str, int], dict[QuestionKey, float]], seeds: Sequence[int]) -> list[str]:
    """How far students solve the same questions: |A and B| / |A or B|, as the paper's first table has it."""
    methods = {method for method, _ in credit}
    wanted = [("kd", "negative"), ("kd", "nat"), ("nat", "negative")]
    lines = []
    for a, b in (pair for pair in wanted if methods.issuperset(pair)):
        each = [iou(_solved(credit[a, seed]), _solved(credit[b, seed])) for seed in seeds]
        lines.append([a, b, f"{fmean(each):.3f} [{min(each):.3f}, {max(each):.3f}]"])
    return ["", markdown((["solved by", "and by", "IoU"], lines))] if lines else []


def iou(a: set[QuestionKey], b: set[QuestionKey]) -> float:
    """Intersection over union; of two empty sets 0."""
    return len(a & b) / len(a | b) if a | b else 0.0


def _solved(credits: dict[QuestionKey, float]) -> set[QuestionKey]:
    return {key for key, value in credits.items() if value > 0.5}
