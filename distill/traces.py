"""A trace: one solution of the teacher's, with the decomposition it followed and whether it was right.

On disk a trace is a line of `traces.jsonl`; the first line names the format, so that a reader knows what it holds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, get_args

from ..lm import Usage
from ..solve import GRADERS, Verdict
from ..solve.lenient import MEASURES
from ..tasks import Question
from ..tasks.errors import ConfigError
from ..tasks.rows import objects

FORMAT = "divcon-traces/2"
"""1 had no `aliases`, `measure` and `reference`, and three verdicts."""


Name = TypeVar("Name", bound=str)


@dataclass(frozen=True)
class Trace:
    """What the teacher did with one training question, once."""

    question: Question
    subquestions: tuple[str, ...]
    """Empty when the teacher said that none are needed, or wrote none that could be read."""
    decomposition: str
    """The decomposition as the teacher wrote it."""
    solution: str
    """The worked solution as the teacher wrote it."""
    answer: str | None
    verdict: Verdict
    attempt: int
    """Which of the question's decompositions this is; solutions of one attempt share its cost and their prompt."""
    usage: Usage
    """Tokens and seconds of the solution; the decomposition's stand in `decomposition_usage`."""
    decomposition_usage: Usage


def write(traces: Sequence[Trace], path: Path, origin: str = "") -> None:
    """Replace the file at `path` by these traces, at once or not at all.

    `origin` names what they were collected from; a reader that expects another origin refuses them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as out:
        out.write(json.dumps({"format": FORMAT, "traces": len(traces), "origin": origin}) + "\n")
        out.writelines(json.dumps(_row(trace), ensure_ascii=False) + "\n" for trace in traces)
        out.flush()
        os.fsync(out.fileno())
    part.replace(path)


def read(path: Path, origin: str | None = None) -> list[Trace]:
    """The traces of a file. Raises ConfigError when it is missing, of another format or origin, or cut short."""
    rows = objects(path)
    _, header = next(rows, (0, {}))
    if header.get("format") != FORMAT:
        raise ConfigError(f"{path} is not a trace file of format {FORMAT}")
    if origin is not None and header.get("origin") != origin:
        raise ConfigError(
            f"{path} was collected from other questions, prompts or another teacher; give another --run directory, "
            "or remove the file to collect again"
        )
    try:
        traces = [_trace(row) for _, row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} holds a trace that cannot be read: {error!r}") from error
    if len(traces) != header.get("traces"):
        raise ConfigError(f"{path} says {header.get('traces')} traces and holds {len(traces)}")
    return traces


def _row(trace: Trace) -> dict[str, object]:
    question = trace.question
    return {
        "id": question.id,
        "question": question.text,
        "gold": question.answer,
        "aliases": list(question.aliases),
        "grader": question.grader,
        "measure": question.measure,
        "reference": question.solution,
        "context": question.context,
        "tags": dict(question.tags),
        "subquestions": list(trace.subquestions),
        "decomposition": trace.decomposition,
        "solution": trace.solution,
        "answer": trace.answer,
        "verdict": trace.verdict,
        "attempt": trace.attempt,
        "usage": vars(trace.usage),
        "decomposition_usage": vars(trace.decomposition_usage),
    }


def _trace(row: dict[str, object]) -> Trace:
    def text(key: str) -> str:
        return str(row[key])

    def texts(key: str) -> tuple[str, ...]:
        values = row[key]
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise TypeError(key)
        return tuple(values)

    answer = row["answer"]
    usage, decomposition_usage, tags = row["usage"], row["decomposition_usage"], row["tags"]
    if not isinstance(usage, dict) or not isinstance(decomposition_usage, dict) or not isinstance(tags, dict):
        raise TypeError("usage, decomposition_usage or tags")
    return Trace(
        question=Question(
            text("id"),
            text("question"),
            text("gold"),
            context=text("context"),
            solution=text("reference"),
            aliases=texts("aliases"),
            grader=_one_of(GRADERS, row["grader"]),
            measure=None if row["measure"] is None else _one_of(MEASURES, row["measure"]),
            tags=tags,
        ),
        subquestions=texts("subquestions"),
        decomposition=text("decomposition"),
        solution=text("solution"),
        answer=None if answer is None else str(answer),
        verdict=_one_of(get_args(Verdict), row["verdict"]),
        attempt=int(str(row["attempt"])),
        usage=Usage(**usage),
        decomposition_usage=Usage(**decomposition_usage),
    )


def _one_of(names: Iterable[Name], value: object) -> Name:
    """The name that a value is. Raises ValueError when it is none of them."""
    for name in names:
        if name == value:
            return name
    raise ValueError(f"{value!r} is unknown")
