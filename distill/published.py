"""Traces that others have published, read into the study's own format and labelled by its graders.

Told apart by their keys, a JSON object a line, plain or gzipped:

* `question`, `answer`, `generated_answer` (a list): the traces of Turning Dust into Gold on MATH;
* `question`, `ground_truth`, and a `{"solution": ...}` a model: the model solutions published with GSM8K;
* `question`, `answer` with "sub-question ** step" lines: the Socratic files of GSM8K.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..decompose.decomposition import listing
from ..lm import Usage
from ..solve import GRADERS, extract
from ..tasks import GraderName, Question, gsm8k
from ..tasks.boxed import last_boxed
from ..tasks.errors import ConfigError
from ..tasks.jsonl import objects, text
from .traces import Trace

_SUFFIXES = (".jsonl", ".jsonl.gz")


def read(path: Path, grader: GraderName | None = None) -> list[Trace]:
    """The traces of a file, or of every such file below a folder.

    `grader` replaces each data set's own way of comparing answers. Raises ConfigError, naming the line, for an unknown
    shape.
    """
    files = sorted(file for file in path.rglob("*") if file.name.endswith(_SUFFIXES)) if path.is_dir() else [path]
    if not files:
        raise ConfigError(f"no .jsonl or .jsonl.gz file below {path}")
    return [
        trace
        for file in files
        for number, row in objects(file)
        for trace in _traces(row, f"{file}:{number}", f"{file.name.partition('.')[0]}/{number}", grader)
    ]


def _traces(row: dict[str, Any], where: str, name: str, grader: GraderName | None) -> Iterator[Trace]:
    if isinstance(row.get("generated_answer"), list):
        return _math(row, where, name, grader or "hendrycks")
    if "ground_truth" in row:
        return _models(row, where, name, grader or "number")
    if " ** " in str(row.get("answer")):
        return _socratic(row, where, name, grader or "number")
    raise ConfigError(f"{where} has none of the known shapes; its keys are {', '.join(map(repr, row))}")


def _math(row: dict[str, Any], where: str, name: str, grader: GraderName) -> Iterator[Trace]:
    gold = _boxed(text(row, "answer", where))
    if gold is None:
        raise ConfigError(f"{where}: the answer has no \\boxed answer")
    question = Question(
        id=name,
        text=text(row, "question", where).removeprefix("Problem:").strip(),
        answer=gold,
        solution=text(row, "answer", where),
        grader=grader,
        tags={key: str(row[key]) for key in ("level", "type") if row.get(key)},
    )
    for attempt, solution in enumerate(row["generated_answer"]):
        yield _labelled(question, str(solution).removeprefix("Solution:").strip(), attempt, _boxed)


def _models(row: dict[str, Any], where: str, name: str, grader: GraderName) -> Iterator[Trace]:
    gold = extract(text(row, "ground_truth", where)) or ""
    solved = {model: made["solution"] for model, made in row.items() if isinstance(made, dict) and "solution" in made}
    for attempt, (model, solution) in enumerate(solved.items()):
        question = Question(name, text(row, "question", where), gold, grader=grader, tags={"model": model})
        yield _labelled(question, str(solution), attempt, extract)


def _socratic(row: dict[str, Any], where: str, name: str, grader: GraderName) -> Iterator[Trace]:
    question = gsm8k.question(row, where, name)
    solution = f"{question.solution}\nThe answer is {question.answer}."
    yield _labelled(question, solution, 0, extract, question.subquestions)


def _labelled(
    question: Question,
    solution: str,
    attempt: int,
    read_answer: Callable[[str], str | None],
    subquestions: tuple[str, ...] = (),
) -> Trace:
    answer = read_answer(solution)
    return Trace(
        question=question,
        subquestions=subquestions,
        decomposition=listing(subquestions) if subquestions else "",
        solution=solution,
        answer=answer,
        verdict=GRADERS[question.grader](answer, question.answer),
        attempt=attempt,
        usage=Usage(),
        decomposition_usage=Usage(),
    )


def _boxed(solution: str) -> str | None:
    """The published labels count a solution without a box as unreadable, whatever else it says."""
    box = last_boxed(solution)
    return solution[slice(*box)] if box else None
