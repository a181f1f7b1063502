"""A run's students: distilled from its traces, by a method, into a directory with a card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..distill import student, traces
from ..distill.collect import collect, operations, solved_by, spent
from ..distill.held_out import HELD_OUT
from ..distill.imported import TracesSource
from ..distill.processes import is_first, processes
from ..distill.recipes import DecomposerRecipe, RankerRecipe, Reader, SolverRecipe, Training
from ..distill.traces import Trace
from ..lm import Model
from ..lm.cost import Footprint, total
from ..lm.settings import TransformersSettings
from ..lm.weights import model_directory, weights_hash
from ..solve import GRADERS
from ..solve.grade import classify
from ..tasks.errors import ConfigError
from .vote import learn

if TYPE_CHECKING:
    from ..distill.ranking import Ranked
    from ..distill.units import Labelled, Material
    from .run import Run


def teach(
    run: Run, role: student.Role, recipe: Training, directory: Path, seed: int, scratch: Path | None = None
) -> dict[str, Any]:
    """A student, distilled unless it is there; what its card says.

    `scratch` is kept, for other methods that begin alike; without one the stages are thrown away when all are done.
    """
    if (facts := student.read(directory)) is not None:
        run.check(directory, facts)
        return facts
    from ..distill.methods import Course, distil  # TRL takes seconds to import
    from ..distill.telemetry import check_trackers, in_words

    if processes() > 1 and not traces.exist(run.directory / "traces" / "traces.jsonl"):
        raise ConfigError("several processes train together, but one collects: divcon collect first")
    check_methods([recipe.method])
    check_trackers(recipe.report_to)  # before anything is bought
    base = model_directory(run.study.student.path)
    collected = run.collect()
    material = _material(run, recipe, collected)
    kept = scratch is not None
    scratch = scratch or run.directory / "checkpoints" / directory.relative_to(run.directory)
    scratch.mkdir(parents=True, exist_ok=True)
    own: list[Own] = []
    with run.progress.stage(f"distil: {directory.relative_to(run.directory)}") as stage:

        def ask(of: Path) -> tuple[Labelled, ...]:
            own.append(_own(run, role, recipe, of, collected))
            return own[-1].replies

        def log(said: dict[str, Any]) -> None:
            stage.note = in_words(said)
            run.progress.event("training", student=directory.name, **said)

        course = Course(
            material,
            base,
            recipe,
            seed=seed,
            scratch=scratch,
            own=ask,
            advance=stage,
            log=log,
            board=run.directory / "tensorboard" / scratch.name,
            device=run.study.student.device,
        )
        if not is_first():  # it trains with the others, and writes nothing
            distil(recipe.method, course, directory)
            return {}
        run.remember(stage.name)
        lesson = _lesson(run, role, recipe, collected, seed)
        made = student.build(
            directory,
            lesson,
            lambda out: _with(distil(recipe.method, course, out), [said.flops for said in own]),
        )
    if not kept:
        shutil.rmtree(scratch, ignore_errors=True)
    run.progress.event("distilled", role=role, method=recipe.method, seed=seed, **made["trained"])
    return made


def teach_ranker(run: Run, directory: Path) -> dict[str, Any]:
    """The ranker, trained on the teacher's traces, then on the student's own samples if its recipe has some."""
    recipe = run.study.distill.ranker
    base = recipe.backbone.path if isinstance(recipe.backbone, Reader) else ""
    base_hash = weights_hash(model_directory(base)) if base else ""
    if (facts := student.read(directory)) is not None:
        student.check(directory, facts, base_hash)
        return facts
    if processes() > 1:
        raise ConfigError("a ranker is trained by one process: divcon distill ranker, without a launcher")
    from ..distill import ranking
    from ..distill.telemetry import in_words

    collected = run.collect()
    own: Sequence[Trace] = ()
    asked: list[float | None] = []
    if recipe.own:
        settings = run.study.collect.model_copy(update={"solutions": recipe.own})
        solver = run.distilled(run.directory / "solver")
        own = solved_by(run.solver(solver), collected, settings)
        asked = [operations(own, Footprint(0), solver.footprint)]
    scratch = run.directory / "checkpoints" / "ranker"
    with run.progress.stage("distil: ranker") as stage:
        run.remember(stage.name)

        def log(said: dict[str, Any]) -> None:
            stage.note = in_words(said)
            run.progress.event("training", student="ranker", **said)

        def train(out: Path) -> student.Trained:
            stages = {"the teacher's traces": collected, "the student's own solutions": own}
            ranked = ranking.course(
                {name: ranking.labelled(some) for name, some in stages.items() if some},
                recipe,
                out,
                seed=run.study.seed,
                scratch=scratch,
                base_hash=base_hash,
                advance=stage,
                log=log,
                device=run.study.student.device,
            )
            _tell_held_out(ranked, out)
            return _with(ranked.trained, asked)

        made = student.build(directory, _rankers_lesson(run, recipe, collected, base_hash), train)
    shutil.rmtree(scratch, ignore_errors=True)
    run.progress.event("distilled", role="ranker", seed=run.study.seed, **made["trained"])
    return made


def _tell_held_out(ranked: Ranked, out: Path) -> None:
    """What the held-out questions say of a ranker in `out`: its pairs, and which slope of the vote does best there."""
    from ..distill import ranker

    groups = [one.group for one in ranked.held_out]
    graders = [GRADERS[group.question.grader] for group in groups]
    classes = classify([[s.answer for s in group.solutions] for group in groups], graders)
    facts = {
        "questions": len(groups),
        "pair accuracy": ranked.best["accuracy"],
        "epoch": ranked.best["epoch"],
        "slope": learn(classes, [one.right for one in ranked.held_out], ranker.load(out).score(groups)),
    }
    (out / HELD_OUT).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _rankers_lesson(run: Run, recipe: RankerRecipe, collected: Sequence[Trace], base_hash: str) -> student.Lesson:
    return student.Lesson(
        role="ranker",
        base=recipe.backbone.path if isinstance(recipe.backbone, Reader) else "no backbone",
        base_hash=base_hash,
        teacher=_teacher(run),
        data="right and wrong solutions" + (f", then {recipe.own} of the student's own a question" * bool(recipe.own)),
        prompts={},
        cost={} if isinstance(run.study.train, TracesSource) else _teaching_cost(collected, run.llm),
        seed=run.study.seed,
        recipe=recipe.model_dump(mode="json"),
    )


def check_methods(names: Sequence[str]) -> None:
    """Raises ConfigError for a name that is none."""
    from ..distill.methods import METHODS

    for name in names:
        if name not in METHODS:
            raise ConfigError(f"no method {name!r}; there are {', '.join(METHODS)}")


def explain() -> str:
    """Every method in a line."""
    from ..distill.methods import METHODS

    wide = max(map(len, METHODS))
    return "\n".join(f"{name:<{wide}}  {method.line}" for name, method in METHODS.items())


def _material(run: Run, recipe: Training, collected: Sequence[Trace]) -> Material:
    from ..distill.material import decomposing, solving

    if isinstance(recipe, SolverRecipe):
        return solving(collected, run.solver(run.base), recipe)
    assert isinstance(recipe, DecomposerRecipe)
    return decomposing(collected, run.decomposer(run.base), recipe)


class Own(NamedTuple):
    """What a student in the making says itself."""

    replies: tuple[Labelled, ...]
    flops: float | None
    """Of asking it, and whoever follows it; None where a size is unknown."""


def _with(trained: student.Trained, asked: Sequence[float | None]) -> student.Trained:
    """What a training cost, with the operations of asking on the way."""
    return replace(trained, flops=total([trained.flops, *asked]))


def _own(run: Run, role: student.Role, recipe: Training, of: Path, collected: Sequence[Trace]) -> Own:
    """What a student in the making says to the training questions itself.

    Its solutions follow the teacher's decompositions; its decompositions are followed by the teacher.
    """
    settings = run.study.student
    # A NAT model is one that vLLM cannot load.
    engine = TransformersSettings(
        engine="transformers", path=settings.path, dtype=settings.dtype, device=settings.device
    ).open()
    model = Model("own", engine, run.store, run.study.seed, adapter=of)
    if role == "solver":
        own = solved_by(run.solver(model), collected, run.study.collect)
        flops = operations(own, Footprint(0), model.footprint)
    elif isinstance(run.study.train, TracesSource):
        raise ConfigError(
            "a decomposer's own decompositions need a teacher that follows them, and there are traces alone"
        )
    else:
        own = collect(run.train_questions, run.decomposer(model), run.solver(run.llm), run.study.collect)
        flops = operations(own, model.footprint, run.llm.footprint)
    return Own(_material(run, recipe.model_copy(update={"method": "own"}), own).replies, flops)


def _lesson(run: Run, role: student.Role, recipe: Training, collected: Sequence[Trace], seed: int) -> student.Lesson:
    return student.Lesson(
        role=role,
        base=run.study.student.path,
        base_hash=weights_hash(model_directory(run.study.student.path)),
        teacher=_teacher(run),
        data=_data(recipe),
        prompts=run.prompts(role),
        cost={} if isinstance(run.study.train, TracesSource) else _teaching_cost(collected, run.llm),
        seed=seed,
        recipe=recipe.model_dump(mode="json"),
    )


def _data(recipe: Training) -> str:
    said = [f"method {recipe.method}"]
    if isinstance(recipe, SolverRecipe):
        said += [f"solutions: {recipe.data}"] * (recipe.method == "kd") + [f"target {recipe.target}"]
    if isinstance(recipe, DecomposerRecipe) and recipe.method == "kd":
        said.append(f"decompositions: {recipe.data}")
    return ", ".join(said)


def _teacher(run: Run) -> str:
    train = run.study.train
    if isinstance(train, TracesSource):
        return f"traces in {train.path} ({train.fingerprint()[:12]})"
    identity = run.llm.engine.identity(None)
    return f"{identity.model} at {identity.host} {identity.revision[:12]}".strip()


def _teaching_cost(collected: Sequence[Trace], teacher: Model) -> dict[str, float]:
    both = spent(collected)
    cost: dict[str, float] = {
        "prompt tokens": both.prompt_tokens,
        "completion tokens": both.completion_tokens,
        "seconds": round(both.seconds, 3),
    }
    flops = operations(collected, teacher.footprint, teacher.footprint)
    dollars = teacher.price.dollars(both, flops) if teacher.price else None
    known = {"flops": flops, "dollars": dollars}
    return cost | {name: amount for name, amount in known.items() if amount is not None}
