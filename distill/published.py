"""Traces made elsewhere, read into the study's own format and labelled by its graders.

Told apart by their keys, a JSON object a line, plain or gzipped:

* `question`, `answer`, `generated_answer` (a list): the traces of Turning Dust into Gold on MATH;
* `question`, `ground_truth`, and a `{"solution": ...}` a model: the model solutions published with GSM8K;
* `question`, `answer` with "sub-question ** step" lines: the Socratic files of GSM8K;
* `messages` (chat turns, the last one the assistant's) with the gold `answer`, optionally `id` and `subquestions`;
* `custom_id`, `response`: the output of OpenAI's Batch API, whose questions stand in a file of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from ..decompose.decomposition import listing
from ..lm import Usage
from ..solve import GRADERS, extract, grade
from ..tasks import GraderName, Question, jsonl, math
from ..tasks.boxed import last_boxed
from ..tasks.errors import ConfigError
from ..tasks.rows import objects, text, texts
from .traces import Trace

_SUFFIXES = (".jsonl", ".jsonl.gz")
_SAMPLE = re.compile(r"[-_#:/](?:sample[-_]?)?\d+$")
"""What a batch request's id may carry behind the question's id: which sample it is."""


_UNKNOWN = Usage()
"""Of traces that do not say what they cost."""


class Imported(NamedTuple):
    """Labelled traces, and how many answers were none."""

    traces: list[Trace]
    failed: int
    """Calls of a batch that brought no answer; they are not traces."""


def read(path: Path, grader: GraderName | None = None, questions: Path | None = None) -> Imported:
    """The traces of a file, or of every such file below a folder.

    `grader` replaces each data set's own way of comparing answers; `questions` is a file of one's own questions
    (`id`, `question`, `answer`), which the output of a batch refers to. Raises ConfigError, naming the line, for an
    unknown shape.
    """
    files = sorted(file for file in path.rglob("*") if file.name.endswith(_SUFFIXES)) if path.is_dir() else [path]
    if not files:
        raise ConfigError(f"no .jsonl or .jsonl.gz file below {path}")
    asked = {question.id: question for question in jsonl.read(questions)} if questions else {}
    made: list[_Made] = []
    failed = 0
    for file in files:
        ids: dict[str, str] = {}
        for number, row in objects(file):
            line = _Line(row, f"{file}:{number}", f"{file.name.partition('.')[0]}/{number}", asked, ids)
            found = list(_shape(line)(line))
            failed += not found
            made += (
                [replace(each, question=replace(each.question, grader=grader)) for each in found] if grader else found
            )
    return Imported(_labelled(made), failed)


@dataclass(frozen=True)
class _Line:
    """A line of a file, and what is known around it."""

    row: dict[str, Any]
    where: str
    name: str
    """An id for the question, where the row has none."""
    asked: Mapping[str, Question]
    ids: dict[str, str]
    """Ids by question text, so that samples of one question are one question's."""

    def text(self, key: str) -> str:
        return text(self.row, key, self.where)


@dataclass(frozen=True)
class _Made:
    """A solution before it is labelled."""

    question: Question
    solution: str
    attempt: int
    answer: str | None
    subquestions: tuple[str, ...] = ()
    usage: Usage = _UNKNOWN


def _shape(line: _Line) -> Callable[[_Line], Iterator[_Made]]:
    row = line.row
    for known, shape in SHAPES:
        if known(row):
            return shape
    raise ConfigError(f"{line.where} has none of the known shapes; its keys are {', '.join(map(repr, row))}")


def _labelled(made: Sequence[_Made]) -> list[Trace]:
    verdicts = grade((each.answer, each.question) for each in made)
    return [
        Trace(
            question=each.question,
            subquestions=each.subquestions,
            decomposition=listing(each.subquestions) if each.subquestions else "",
            solution=each.solution,
            answer=each.answer,
            verdict=verdict,
            attempt=each.attempt,
            usage=each.usage,
            decomposition_usage=Usage(),
        )
        for each, verdict in zip(made, verdicts, strict=True)
    ]


def _math(line: _Line) -> Iterator[_Made]:
    gold = _boxed(line.text("answer"))
    if gold is None:
        raise ConfigError(f"{line.where}: the answer has no \\boxed answer")
    question = Question(
        id=line.name,
        text=line.text("question").removeprefix("Problem:").strip(),
        answer=gold,
        solution=line.text("answer").removeprefix("Solution:").strip(),
        grader="math",
        tags={key: str(line.row[key]) for key in ("level", "type") if line.row.get(key)},
    )
    for attempt, solution in enumerate(line.row["generated_answer"]):
        worked = str(solution).removeprefix("Solution:").strip()
        yield _Made(question, worked, attempt, _boxed(worked))


def _models(line: _Line) -> Iterator[_Made]:
    gold = extract(line.text("ground_truth")) or ""
    solved = {
        name: made["solution"] for name, made in line.row.items() if isinstance(made, dict) and "solution" in made
    }
    for attempt, (model, solution) in enumerate(solved.items()):
        question = Question(line.name, line.text("question"), gold, grader="math", tags={"model": model})
        yield _Made(question, str(solution), attempt, extract(str(solution)))


def _socratic(line: _Line) -> Iterator[_Made]:
    question = math.gsm8k(line.row, line.where, line.name)
    solution = f"{question.solution}\nThe answer is {question.answer}."
    yield _Made(question, solution, 0, question.answer, question.subquestions)


def _chat(line: _Line) -> Iterator[_Made]:
    turns = line.row["messages"]
    said = [_content(turn) for turn in turns if isinstance(turn, dict) and turn.get("role") == "user"]
    last = turns[-1] if turns and isinstance(turns[-1], dict) else {}
    if not said or last.get("role") != "assistant":
        raise ConfigError(f"{line.where}: 'messages' does not end in a user's question and an assistant's solution")
    name = line.text("id") if line.row.get("id") is not None else line.ids.setdefault(said[-1], line.name)
    question = Question(name, said[-1], line.text("answer"), grader="math")
    yield _solved(question, _content(last), 0, texts(line.row, "subquestions", line.where))


def _batch(line: _Line) -> Iterator[_Made]:
    """One trace a choice; none for a call that failed."""
    name = line.text("custom_id")
    question = line.asked.get(name) or line.asked.get(_SAMPLE.sub("", name))
    if question is None:
        raise ConfigError(f"{line.where}: no question {name!r}; name the file that has it with --questions")
    response = line.row["response"] or {}
    body = response.get("body") or {}
    if line.row.get("error") or response.get("status_code") != 200:
        return
    choices = [choice for choice in body.get("choices", []) if _content(choice.get("message") or {})]
    used = body.get("usage") or {}
    usage = Usage(int(used.get("prompt_tokens", 0)), int(used.get("completion_tokens", 0)) // max(1, len(choices)))
    for choice in choices:
        cut = choice.get("finish_reason") == "length"
        yield replace(_solved(question, _content(choice["message"]), 0, cut=cut), usage=usage)


def _solved(
    question: Question, solution: str, attempt: int, subquestions: tuple[str, ...] = (), cut: bool = False
) -> _Made:
    answer = extract(solution, seek=GRADERS[question.grader].seek, cut=cut)
    return _Made(question, solution, attempt, answer, subquestions)


def _content(turn: Mapping[str, Any]) -> str:
    """A turn's text, whole or in parts."""
    content = turn.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))


def _boxed(solution: str) -> str | None:
    """The published labels count a solution without a box as unreadable, whatever else it says."""
    box = last_boxed(solution)
    return solution[slice(*box)] if box else None


SHAPES: list[tuple[Callable[[dict[str, Any]], bool], Callable[[_Line], Iterator[_Made]]]] = [
    (lambda row: isinstance(row.get("generated_answer"), list), _math),
    (lambda row: "ground_truth" in row, _models),
    (lambda row: isinstance(row.get("messages"), list), _chat),
    (lambda row: "custom_id" in row and "response" in row, _batch),
    (lambda row: " ** " in str(row.get("answer")), _socratic),
]
"""How a line is told, and how it is read; the first that fits."""
