"""Learning curves: every track, distilled at several budgets and seeds, on the same questions."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import ConfigError
from ..core.files import replacing
from ..distill.recipes import Training
from ..eval.analysis.learning_curve import learning_curves, student_name
from ..eval.grid import results
from ..eval.grid.rows import ResultRow
from ..eval.grid_spec import Track, UseStudent
from ..eval.render.table import markdown
from ..eval.report.learning_curve import curve_table, described
from .checks import stages_taught
from .context import StudyContext
from .distil import distil
from .evaluate import training_overlaps
from .partners import ask_student


def train_curve(context: StudyContext) -> Path:
    """Distil and ask every student of the curve that is not there yet, and write the table; its path."""
    settings = context.study.curve
    if not settings.tokens:
        raise ConfigError("the config lists no budgets: set curve.tokens")
    students = [
        (track, tokens, seed) for seed in settings.seeds for track in settings.tracks for tokens in settings.tokens
    ]
    rows: list[ResultRow] = []
    for track, tokens, seed in students:
        called = student_name(track, tokens, seed)
        directory = context.files.curve / called
        distil(context, track, _recipe(context, track, tokens), directory, seed)
        is_alone = track == "solver" and "solve" not in (
            stages_taught(context.study, context.questions, UseStudent("solver")) or ()
        )  # of imported traces
        rows += ask_student(context, called, directory, track, "none" if is_alone else "llm")
    with replacing(context.files.curve_results) as (part,):
        results.save(results.with_overlaps(rows, training_overlaps(context)), part)
    points = learning_curves(context.directory)
    table = context.files.curve_table
    with replacing(table) as (part,):
        part.write_text(f"{described(points)}\n\n{markdown(curve_table(points))}", encoding="utf-8")
    return table


def _recipe(context: StudyContext, track: Track, tokens: int) -> Training:
    """A track's recipe with another budget."""
    budget = {"max_train_tokens": tokens, "max_right_tokens": None, "max_train_flops": None}
    return context.study.distill.recipe(track).model_copy(update=budget)
