"""Traces made elsewhere, read into the study's own format and labelled by its graders.

Rows of any kind of file (`core.tables`), told apart by their keys:

* `question`, `answer`, `generated_answer` (a list): the traces of Turning Dust into Gold on MATH;
* `question`, `ground_truth`, and a `{"solution": ...}` a model: the model solutions published with GSM8K;
* `question`, `answer` with "sub-question ** step" lines: the Socratic files of GSM8K;
* `messages` (chat turns, the last one the assistant's) with the gold `answer`, optionally `id` and `subquestions`;
* `conversations` (`from` and `value`: ShareGPT), likewise;
* `prompt` and `completion`, or `instruction` and `output`, and the like, with the gold `answer`;
* `question` and `subquestions` without a solution: decompositions alone;
* `custom_id`, `response`: the output of OpenAI's Batch API, whose questions stand in a file of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from ...core import tables
from ...core.errors import ConfigError
from ...core.jsonlines import text, texts
from ...decompose.decomposition import listing, parse
from ...lm.api.response import text_and_reasoning
from ...lm.reasoning import split
from ...lm.types import Completion, Usage
from ...solve.grading.extract import extract
from ...solve.grading.grade import Verdict, grade, grader_of
from ...tasks import own, word_problems
from ...tasks.boxed import last_boxed
from ...tasks.question import GraderName, Question
from . import trace
from .trace import Trace

_SAMPLE = re.compile(r"[-_#:/](?:sample[-_]?)?\d+$")
"""What a batch request's id may carry behind the question's id: which sample it is."""


_UNKNOWN = Usage()
"""Of traces that do not say what they cost."""


class Imported(NamedTuple):
    """Labelled traces, and how many answers were none."""

    traces: list[Trace]
    failed: int
    """Calls, or answers of them, that are none; they are not traces."""


def read(path: Path, grader: GraderName | None = None, questions: Path | None = None) -> Imported:
    """The traces of a file, or of every such file below a folder.

    `grader` replaces each data set's own way of comparing answers; `questions` is a file of one's own questions
    (`id`, `question`, `answer`), which the output of a batch refers to. Raises ConfigError, naming the line, for an
    unknown shape.
    """
    files = _below(path) if path.is_dir() else [path]
    files = [file for file in files if not trace.is_one(file)]
    if not files:
        raise ConfigError(
            f"no file to read below {path}; accepted are {tables.ACCEPTED}"
            if path.is_dir()
            else f"no traces to import in {path}"
        )
    asked = {question.id: question for question in own.read(questions)} if questions else {}
    made: list[_Made] = []
    failed = 0
    for file in files:
        ids: dict[str, str] = {}
        stem = str(file.relative_to(path) if path.is_dir() else file.name)
        stem = re.sub(r"(\.(jsonl|ndjson|json|csv|tsv|parquet|arrow|feather))?(\.(gz|zst))?$", "", stem)
        for number, row in tables.rows(file):
            line = _Line(row, f"{file}:{number}", f"{stem}/{number}", asked, ids, grader)
            for solution in _read(line):
                if solution is None:
                    failed += 1
                else:
                    made.append(solution)
    _refuse_twins(made)
    return Imported(_labelled(made), failed)


def _below(folder: Path) -> list[Path]:
    """The files of traces in a folder: those whose rows are numbered, since a `.json` may describe them."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and tables.is_readable(file))
    return [file for file in files if not re.search(r"\.json(\.gz|\.zst)?$", file.name)]


def _read(line: _Line) -> list[_Made | None]:
    """The solutions of a line; None for each that is none."""
    try:
        return list(_shape(line)(line))
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise ConfigError(f"{line.where} is not of the shape that its keys say: {error}") from error


def _refuse_twins(made: Sequence[_Made]) -> None:
    """Raise ConfigError when one id names two questions: their samples would vote together."""
    texts: dict[str, str] = {}
    for each in made:
        if texts.setdefault(each.question.id, each.question.text) != each.question.text:
            raise ConfigError(f"two different questions have the id {each.question.id!r}")


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
    grader: GraderName | None
    """How answers are compared, instead of the data set's own way."""

    def text(self, key: str) -> str:
        return text(self.row, key, self.where)

    def question(self, question: Question) -> Question:
        return replace(question, grader=self.grader) if self.grader else question


@dataclass(frozen=True)
class _Made:
    """A solution before it is labelled."""

    question: Question
    solution: str
    attempt: int
    answer: str | None
    subquestions: tuple[str, ...] = ()
    usage: Usage = _UNKNOWN
    reasoning: str | None = None
    system: str = ""


def _shape(line: _Line) -> Callable[[_Line], Iterator[_Made | None]]:
    row = line.row
    for known, shape in SHAPES:
        if known(row):
            return shape
    raise ConfigError(f"{line.where} has none of the known shapes; its keys are {', '.join(map(repr, row))}")


def _labelled(made: Sequence[_Made]) -> list[Trace]:
    solved = [i for i, each in enumerate(made) if each.solution]
    verdicts: list[Verdict] = ["unreadable"] * len(made)
    for i, verdict in zip(solved, grade((made[i].answer, made[i].question) for i in solved), strict=True):
        verdicts[i] = verdict
    return [
        Trace(
            question=each.question,
            subquestions=each.subquestions,
            decomposition=listing(each.subquestions) if each.subquestions or not each.solution else "",
            solution=each.solution,
            answer=each.answer,
            verdict=verdict,
            attempt=each.attempt,
            usage=each.usage,
            decomposition_usage=Usage(),
            reasoning=each.reasoning,
            system=each.system,
        )
        for each, verdict in zip(made, verdicts, strict=True)
    ]


def _math(line: _Line) -> Iterator[_Made | None]:
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
        thought, worked = split(_said(solution).removeprefix("Solution:").strip())
        made = _Made(line.question(question), worked, attempt, _boxed(worked), reasoning=thought)
        yield made if worked else None


def _models(line: _Line) -> Iterator[_Made | None]:
    gold = extract(line.text("ground_truth"))
    if gold is None:
        raise ConfigError(f"{line.where}: 'ground_truth' states no answer")
    solved = {
        name: made["solution"] for name, made in line.row.items() if isinstance(made, dict) and "solution" in made
    }
    for attempt, (model, solution) in enumerate(solved.items()):
        question = Question(line.name, line.text("question"), gold, grader="math", tags={"model": model})
        yield _solved(line.question(question), _said(solution), None, attempt)


def _socratic(line: _Line) -> Iterator[_Made | None]:
    question = word_problems.gsm8k(line.row, line.where, line.name)
    solution = f"{question.solution}\nThe answer is {question.answer}."
    yield _Made(line.question(question), solution, 0, question.answer, question.subquestions)


def _chat(line: _Line) -> Iterator[_Made | None]:
    yield _conversation(line, line.row["messages"], "messages")


_ROLES = {"human": "user", "gpt": "assistant", "model": "assistant", "bot": "assistant", "chatgpt": "assistant"}


def _sharegpt(line: _Line) -> Iterator[_Made | None]:
    turns = [
        {"role": _ROLES.get(str(turn.get("from")).lower(), turn.get("from")), "content": turn.get("value")}
        for turn in line.row["conversations"]
    ]
    yield _conversation(line, turns, "conversations")


def _conversation(line: _Line, turns: Sequence[Any], key: str) -> _Made | None:
    """A solution from a chat: the last user's turn is the question, the system's turn is kept."""
    said = [_content(turn).text for turn in turns if isinstance(turn, dict) and turn.get("role") == "user"]
    system = [_content(turn).text for turn in turns if isinstance(turn, dict) and turn.get("role") == "system"]
    last = turns[-1] if turns and isinstance(turns[-1], dict) else {}
    if not said or not said[-1].strip() or last.get("role") != "assistant":
        raise ConfigError(f"{line.where}: {key!r} does not end in a user's question and an assistant's solution")
    question = _question(line, said[-1])
    made = _solved(question, *_content(last), 0, texts(line.row, "subquestions", line.where))
    return replace(made, system="\n\n".join(system)) if made else None


def _question(line: _Line, asked: str) -> Question:
    """A question with the row's gold answer."""
    gold = next((key for key in _GOLD if line.row.get(key) not in (None, "")), None)
    if gold is None:
        raise ConfigError(
            f"{line.where} has no 'answer', the gold one, without which nobody knows whether its solution is right"
        )
    name = line.text("id") if line.row.get("id") is not None else line.ids.setdefault(asked, line.name)
    return line.question(Question(name, asked, line.text(gold), grader="math"))


_ASKED = ("prompt", "instruction", "question", "problem", "query", "input")
_SOLVED = ("completion", "response", "output", "solution", "generation")
_GOLD = ("answer", "gold", "final_answer", "expected_answer", "target", "ground_truth")
"""Keys under which rows made elsewhere have the question, the solution and the gold answer."""


def _pair(line: _Line) -> Iterator[_Made | None]:
    """A prompt and its completion, as texts or as turns."""
    asked, solved = _first(line.row, _ASKED), _first(line.row, _SOLVED)
    if isinstance(line.row[asked], list) or isinstance(line.row[solved], list):
        turns = [*_turns(line.row[asked], "user"), *_turns(line.row[solved], "assistant")]
        yield _conversation(line, turns, solved)
        return
    question = line.text(asked)
    if asked == "instruction" and str(line.row.get("input") or "").strip():
        question = f"{question}\n\n{line.row['input']}"
    made = _solved(_question(line, question), _said(line.row[solved]), None, 0, _subquestions(line))
    yield replace(made, system=_said(line.row.get("system"))) if made else None


def _turns(said: Any, role: str) -> list[Any]:
    return said if isinstance(said, list) else [{"role": role, "content": said}]


def _decomposition(line: _Line) -> Iterator[_Made | None]:
    """A question with its sub-questions, none of them or some, which nobody has solved."""
    asked, subquestions = line.text(_first(line.row, _ASKED)), _subquestions(line)
    gold = next((line.text(key) for key in _GOLD if line.row.get(key) not in (None, "")), "")
    name = line.text("id") if line.row.get("id") is not None else line.ids.setdefault(asked, line.name)
    yield _Made(line.question(Question(name, asked, gold, grader="math")), "", 0, None, subquestions)


def _subquestions(line: _Line) -> tuple[str, ...]:
    """A list, or a text with one a line."""
    said = line.row.get("subquestions")
    return parse(said, limit=100)[0] if isinstance(said, str) else texts(line.row, "subquestions", line.where)


def _first(row: Mapping[str, Any], keys: Sequence[str]) -> str:
    return next(key for key in keys if row.get(key))


def _has(row: Mapping[str, Any], *keys: Sequence[str]) -> bool:
    return all(any(row.get(key) for key in some) for some in keys)


def _batch(line: _Line) -> Iterator[_Made | None]:
    """One trace a choice."""
    name = line.text("custom_id")
    question = line.asked.get(name) or line.asked.get(_SAMPLE.sub("", name))
    if question is None:
        raise ConfigError(f"{line.where}: no question {name!r}; name the file that has it with --questions")
    response = line.row["response"] or {}
    body = response.get("body") or {}
    choices = [] if line.row.get("error") or response.get("status_code") != 200 else body.get("choices") or []
    used = body.get("usage") or {}
    usage = Usage(int(used.get("prompt_tokens") or 0), int(used.get("completion_tokens") or 0) // max(1, len(choices)))
    if not choices:
        yield None
    for choice in choices:
        cut = choice.get("finish_reason") == "length"
        made = _solved(line.question(question), *_content(choice.get("message") or {}), 0, cut=cut)
        yield replace(made, usage=usage) if made else None


def _solved(
    question: Question,
    written: str,
    reasoning: str | None,
    attempt: int,
    subquestions: tuple[str, ...] = (),
    *,
    cut: bool = False,
) -> _Made | None:
    """A solution with its answer, the reasoning before it apart; None when the model never came to it."""
    made = Completion.read(written, "length" if cut else "stop", Usage(), reasoning=reasoning)
    if not made.text.strip():
        return None
    answer = extract(made.text, pattern=grader_of(question).pattern, cut=cut)
    return _Made(question, made.text, attempt, answer, subquestions, reasoning=made.reasoning)


class _Content(NamedTuple):
    """What a turn says."""

    text: str
    reasoning: str | None
    """Where a field of its own holds it."""


def _content(turn: Mapping[str, Any]) -> _Content:
    """A turn's text, whole or in parts."""
    if not isinstance(turn.get("content"), list):
        _said(turn.get("content"))  # refuses what is no text
    return _Content(*text_and_reasoning(turn))


def _said(value: object) -> str:
    """A text; empty for null. Half a character in it is replaced, since no file can hold it."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value.encode("utf-8", "replace").decode()


def _boxed(solution: str) -> str | None:
    """The published labels count a solution without a box as unreadable, whatever else it says."""
    box = last_boxed(solution)
    return solution[slice(*box)] if box else None


SHAPES: list[tuple[Callable[[dict[str, Any]], bool], Callable[[_Line], Iterator[_Made | None]]]] = [
    (lambda row: isinstance(row.get("generated_answer"), list), _math),
    (lambda row: "ground_truth" in row, _models),
    (lambda row: isinstance(row.get("messages"), list), _chat),
    (lambda row: isinstance(row.get("conversations"), list), _sharegpt),
    (lambda row: "custom_id" in row and "response" in row, _batch),
    (lambda row: " ** " in str(row.get("answer")), _socratic),
    (lambda row: _has(row, _ASKED, _SOLVED), _pair),
    (lambda row: _has(row, _ASKED) and row.get("subquestions") is not None, _decomposition),
]
"""How a line is told, and how it is read; the first that fits."""
