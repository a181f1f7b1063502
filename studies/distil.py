"""A run's students: distilled from its traces, by a method, into a directory with a card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.errors import ConfigError
from ..decompose.decomposition import Stage
from ..distill import student
from ..distill.method_catalogue import check_methods
from ..distill.ranker.held_out import HELD_OUT
from ..distill.recipes import DecomposerRecipe, RankerRecipe, ReaderBackbone, SingleRecipe, SolverRecipe, Training
from ..distill.traces import collect as teacher
from ..distill.traces import trace
from ..distill.traces.collect import decomposing, operations, solved_by, solving
from ..distill.traces.source import TracesSource
from ..distill.traces.trace import Trace
from ..distill.training.distributed import is_first, processes
from ..eval.grid_spec import Track
from ..lm.cost.flops import ModelSize, total
from ..lm.local.weights import model_directory, weights_hash
from ..lm.model import Model
from ..lm.settings import TransformersSettings
from ..lm.types import Usage
from ..solve.grading.grade import classify, grader_of
from ..solve.voting.rules import learn
from . import prompting, students
from .collect import collect, collect_single
from .context import StudyContext

if TYPE_CHECKING:
    from ..distill.data.groups import LabelledReply, TrainingData
    from ..distill.ranker.train import Ranked


Cost = dict[str, dict[str, float]]
"""Amounts by what they are of, by part of the traces."""


def distil_track(context: StudyContext, track: Track) -> dict[str, Any]:
    """The student that a track's recipe describes, trained unless it is there; what its card says."""
    study, directory = context.study, context.files.path / track
    return distil(context, track, study.distill.recipe(track), directory, study.seed)


def distil(
    context: StudyContext, role: Track, recipe: Training, directory: Path, seed: int, scratch: Path | None = None
) -> dict[str, Any]:
    """A student, distilled unless it is there; what its card says.

    `scratch` is kept, for other methods that begin alike; without one the stages are thrown away when all are done.
    """
    if (facts := student.read(directory)) is not None:
        students.check(context.study, directory, facts)
        return facts
    from ..distill.methods import Distillation, distil
    from ..distill.training.telemetry import check_trackers, in_words

    path = context.files.single_traces if role == "single" else context.files.traces
    if processes() > 1 and not trace.exist(path):
        raise ConfigError("several processes train together, but one collects: divcon collect first")
    check_methods([recipe.method])
    check_trackers(recipe.report_to)  # before anything is bought
    base = model_directory(context.study.student.path)
    collected = collect_single(context) if role == "single" else collect(context)
    material = _material(context, recipe, collected)
    kept = scratch is not None
    scratch = scratch or context.files.checkpoints / directory.relative_to(context.directory)
    scratch.mkdir(parents=True, exist_ok=True)
    own: list[StudentSamples] = []
    with context.progress.stage(f"distil: {directory.relative_to(context.directory)}") as stage:

        def ask(of: Path) -> tuple[LabelledReply, ...]:
            own.append(_own(context, role, recipe, of, collected))
            return own[-1].replies

        def log(said: dict[str, Any]) -> None:
            stage.note = in_words(said)
            context.progress.event("training", student=directory.name, **said)

        course = Distillation(
            material,
            base,
            recipe,
            seed=seed,
            scratch=scratch,
            own=ask,
            advance=stage,
            log=log,
            board=context.files.tensorboard / scratch.name,
            device=context.study.student.device,
            thinking=context.study.student.thinking,
        )
        if not is_first():  # it trains with the others, and writes nothing
            distil(recipe.method, course, directory)
            return {}
        context.remember(stage.name)
        lesson = _lesson(context, role, recipe, collected, seed)
        made = student.build(
            directory,
            lesson,
            lambda out: _with(distil(recipe.method, course, out), [said.flops for said in own]),
        )
    if not kept:
        shutil.rmtree(scratch, ignore_errors=True)
    context.progress.event("distilled", role=role, method=recipe.method, seed=seed, **made["trained"])
    return made


def distil_ranker(context: StudyContext) -> dict[str, Any]:
    """The ranker, trained on the teacher's traces, then on the student's own samples if its recipe has some."""
    recipe, directory = context.study.distill.ranker, context.files.ranker
    base = recipe.backbone.path if isinstance(recipe.backbone, ReaderBackbone) else ""
    base_hash = weights_hash(model_directory(base)) if base else ""
    if (facts := student.read(directory)) is not None:
        student.check(directory, facts, base_hash)
        return facts
    if processes() > 1:
        raise ConfigError("a ranker is trained by one process: divcon distill ranker, without a launcher")
    from ..distill.ranker import train as ranking
    from ..distill.training.telemetry import in_words

    collected = collect(context)
    own: Sequence[Trace] = ()
    asked: list[float | None] = []
    if recipe.student_samples:
        settings = context.study.collect.model_copy(update={"solutions": recipe.student_samples})
        solver = context.models.distilled(context.files.solver)
        own = solved_by(prompting.solver(context.study, solver), collected, settings)
        asked = [operations(own, ModelSize(0), solver.footprint)]
    scratch = context.files.checkpoints / "ranker"
    with context.progress.stage("distil: ranker") as stage:
        context.remember(stage.name)

        def log(said: dict[str, Any]) -> None:
            stage.note = in_words(said)
            context.progress.event("training", student="ranker", **said)

        def train(out: Path) -> student.TrainingReport:
            stages = {"the teacher's traces": collected, "the student's own solutions": own}
            ranked = ranking.course(
                {name: ranking.labelled(some) for name, some in stages.items() if some},
                recipe,
                out,
                seed=context.study.seed,
                scratch=scratch,
                base_hash=base_hash,
                advance=stage,
                log=log,
                device=context.study.student.device,
            )
            _tell_held_out(ranked, out)
            return _with(ranked.trained, asked)

        made = student.build(directory, _rankers_lesson(context, recipe, collected, base_hash), train)
    shutil.rmtree(scratch, ignore_errors=True)
    context.progress.event("distilled", role="ranker", seed=context.study.seed, **made["trained"])
    return made


def _tell_held_out(ranked: Ranked, out: Path) -> None:
    """What the held-out questions say of a ranker in `out`: its pairs, and which slope of the vote does best there."""
    from ..distill.ranker import model as ranker

    groups = [one.group for one in ranked.held_out]
    graders = [grader_of(group.question) for group in groups]
    classes = classify([[s.answer for s in group.solutions] for group in groups], graders)
    facts = {
        "questions": len(groups),
        "pair accuracy": ranked.best["accuracy"],
        "epoch": ranked.best["epoch"],
        "slope": learn(classes, [one.right for one in ranked.held_out], ranker.load(out).score(groups)),
    }
    (out / HELD_OUT).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _rankers_lesson(
    context: StudyContext, recipe: RankerRecipe, collected: Sequence[Trace], base_hash: str
) -> student.StudentCard:
    return student.StudentCard(
        role="ranker",
        base=recipe.backbone.path if isinstance(recipe.backbone, ReaderBackbone) else "no backbone",
        base_hash=base_hash,
        teacher=_teacher(context),
        data="right and wrong solutions"
        + (f", then {recipe.student_samples} of the student's own a question" * bool(recipe.student_samples)),
        prompts={},
        cost=_teaching_cost(context, None, collected),
        seed=context.study.seed,
        recipe=recipe.model_dump(mode="json"),
    )


def _material(context: StudyContext, recipe: Training, collected: Sequence[Trace]) -> TrainingData:
    from ..distill.data import training_data

    if isinstance(recipe, SolverRecipe):
        return training_data.solving(
            collected, prompting.solver(context.study, context.models.base), recipe, _stage(recipe)
        )
    assert isinstance(recipe, DecomposerRecipe)
    return training_data.decomposing(collected, prompting.decomposer(context.study, context.models.base), recipe)


def _stage(recipe: SolverRecipe) -> Stage | None:
    """The prompt that a student is asked with; None leaves it to the sub-questions."""
    if not isinstance(recipe, SingleRecipe):
        return None
    return "direct" if recipe.target == "direct" else "single_stage"


class StudentSamples(NamedTuple):
    """What a student in the making says itself."""

    replies: tuple[LabelledReply, ...]
    flops: float | None
    """Of asking it, and whoever follows it; None where a size is unknown."""


def _with(trained: student.TrainingReport, asked: Sequence[float | None]) -> student.TrainingReport:
    """What a training cost, with the operations of asking on the way."""
    return replace(trained, flops=total([trained.flops, *asked]))


def _own(context: StudyContext, role: Track, recipe: Training, of: Path, collected: Sequence[Trace]) -> StudentSamples:
    """What a student in the making says to the training questions itself.

    Its solutions follow the teacher's decompositions; its decompositions are followed by the teacher.
    """
    settings = context.study.student
    # A NAT model is one that vLLM cannot load.
    engine = TransformersSettings(
        engine="transformers", path=settings.path, dtype=settings.dtype, device=settings.device
    ).open()
    model = Model("own", engine, context.store, context.study.seed, adapter=of, thinking=settings.thinking)
    if isinstance(recipe, SolverRecipe):
        own = solved_by(prompting.solver(context.study, model), collected, context.study.collect, _stage(recipe))
        flops = operations(own, ModelSize(0), model.footprint)
    elif isinstance(context.study.train, TracesSource):
        raise ConfigError(
            "a decomposer's own decompositions need a teacher that follows them, and there are traces alone"
        )
    else:
        llm = context.models.llm
        asks, follows = prompting.decomposer(context.study, model), prompting.solver(context.study, llm)
        own = teacher.collect(context.questions.train, asks, follows, context.study.collect)
        flops = operations(own, model.footprint, llm.footprint)
    return StudentSamples(_material(context, recipe.model_copy(update={"method": "own"}), own).replies, flops)


def _lesson(
    context: StudyContext, role: Track, recipe: Training, collected: Sequence[Trace], seed: int
) -> student.StudentCard:
    return student.StudentCard(
        role=role,
        base=context.study.student.path,
        base_hash=weights_hash(model_directory(context.study.student.path)),
        teacher=_teacher(context),
        data=_data(recipe),
        prompts=students.prompts(context.study, role, getattr(recipe, "target", "")),
        cost=_teaching_cost(context, recipe, collected),
        seed=seed,
        recipe=recipe.model_dump(mode="json"),
        thinking=context.study.student.thinking,
    )


def _data(recipe: Training) -> str:
    said = [f"method {recipe.method}"]
    if isinstance(recipe, SingleRecipe):
        said.append("single stage")
    if isinstance(recipe, SolverRecipe):
        said += [f"solutions: {recipe.data}"] * (recipe.method == "kd") + [f"target {recipe.target}"]
    if isinstance(recipe, DecomposerRecipe) and recipe.method == "kd":
        said.append(f"decompositions: {recipe.data}")
    return ", ".join(said)


def _teacher(context: StudyContext) -> str:
    train = context.study.train
    if isinstance(train, TracesSource):
        return f"traces in {train.path} ({train.fingerprint()[:12]})"
    identity = context.models.llm.engine.identity(None)
    return f"{identity.model} at {identity.host} {identity.revision[:12]}".strip()


def _teaching_cost(context: StudyContext, recipe: Training | None, collected: Sequence[Trace]) -> Cost:
    """What a track used of the teacher's traces; None is the ranker's, which uses all. Of traces that were made
    elsewhere it is unknown."""
    if isinstance(context.study.train, TracesSource):
        return {}
    size, nobody = context.models.llm.footprint, ModelSize(0)
    solutions = "single-stage solutions" if isinstance(recipe, SingleRecipe) else "solutions"
    used = {solutions: _priced(context.models.llm, solving(collected), operations(collected, nobody, size))}
    if isinstance(recipe, SingleRecipe):
        return used
    asked = {"decompositions": _priced(context.models.llm, decomposing(collected), operations(collected, size, nobody))}
    # A decomposer that learns from all decompositions needs to know of no solution.
    is_unlabelled = isinstance(recipe, DecomposerRecipe) and recipe.method == "kd" and recipe.data == "all"
    return asked if is_unlabelled else asked | used


def _priced(teacher: Model, usage: Usage, flops: float | None) -> dict[str, float]:
    cost: dict[str, float] = {
        "prompt tokens": usage.prompt_tokens,
        "completion tokens": usage.completion_tokens,
        "seconds": round(usage.seconds, 3),
    }
    dollars = teacher.price.dollars(usage, flops) if teacher.price else None
    known = {"flops": flops, "dollars": dollars}
    return cost | {name: amount for name, amount in known.items() if amount is not None}
