"""A trace: one solution of the teacher's, with the decomposition it followed and whether it was right.

On disk a trace is a line of `traces.jsonl`; `traces.json` beside it names the format and says what must be there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, get_args

from ...core import documents, packed
from ...core.errors import ConfigError
from ...core.files import atomic_write
from ...core.jsonlines import objects
from ...lm.types import Usage
from ...solve.grading.grade import GRADERS, Verdict
from ...solve.grading.lenient import MEASURES
from ...tasks.question import Question

FORMAT = "divcon-traces/3"
"""1 had three verdicts, 2 its facts in the first line of the traces."""

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
    logprob: float | None = None
    """The mean natural log-probability of the solution's tokens; None where it was not asked for or not offered."""
    reasoning: str | None = None
    """What the teacher thought before it wrote the solution; None where there was nothing."""
    decomposition_reasoning: str | None = None
    """What it thought before the decomposition, likewise."""
    system: str = ""
    """The system turn that the teacher was given, in traces made elsewhere. A student is asked without it."""


def write(traces: Sequence[Trace], path: Path, origin: str = "") -> None:
    """Replace the traces at `path`, and what is said about them beside it; a reader finds the new ones, or none.

    `origin` names what they were collected from; a reader that expects another origin refuses them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = path.with_suffix(".json")
    facts.unlink(missing_ok=True)
    text = "".join(json.dumps(_row(trace), ensure_ascii=False) + "\n" for trace in traces)
    digest = hashlib.sha256(text.encode()).hexdigest()
    said = {"format": FORMAT, "traces": len(traces), "origin": origin, "sha256": digest}
    for file, whole in ((path, text), (facts, json.dumps(said, indent=2) + "\n")):
        atomic_write(file, whole, sync=True)


def exist(path: Path) -> bool:
    """Whether traces were written there to their end."""
    return path.with_suffix(".json").is_file()


def is_one(path: Path) -> bool:
    """Whether a file holds traces of this format: it needs no importing."""
    return path.suffix == ".jsonl" and exist(path)


def read(path: Path, origin: str | None = None) -> list[Trace]:
    """The traces at a path. Raises ConfigError when they are missing, of another format or origin, or damaged."""
    facts = _facts(path)
    if facts.get("format") != FORMAT:
        raise ConfigError(f"{path} is not a trace file of format {FORMAT}")
    if origin is not None and facts.get("origin") != origin:
        raise ConfigError(
            f"{path} was collected from other questions, prompts or another teacher; give another --run directory, "
            "or remove the file to collect again"
        )
    if facts.get("sha256") != hashlib.sha256(packed.text(path).encode()).hexdigest():
        raise ConfigError(f"{path} is damaged: it is not what was written there; remove its folder to make it again")
    try:
        return [_trace(row) for _, row in objects(path)]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} holds a trace that cannot be read: {error!r}") from error


def _facts(path: Path) -> dict[str, object]:
    beside = path.with_suffix(".json")
    if not beside.is_file():
        raise ConfigError(f"no traces in {path.parent}: {beside.name} is missing")
    found: dict[str, object] = documents.read(
        dict[str, object], beside, f"remove {path.parent} to make the traces again"
    )
    return found


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
        **({"choices": list(question.choices)} if question.choices else {}),
        "subquestions": list(trace.subquestions),
        "decomposition": trace.decomposition,
        "solution": trace.solution,
        "answer": trace.answer,
        "verdict": trace.verdict,
        "attempt": trace.attempt,
        "usage": vars(trace.usage),
        "decomposition_usage": vars(trace.decomposition_usage),
        "logprob": trace.logprob,
        **({"system": trace.system} if trace.system else {}),
        **{name: thought for name in _REASONING if (thought := getattr(trace, name)) is not None},
    }


_REASONING = ("reasoning", "decomposition_reasoning")


def _trace(row: dict[str, object]) -> Trace:
    def text(key: str) -> str:
        return str(row[key])

    def texts(key: str) -> tuple[str, ...]:
        values = row[key]
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise TypeError(key)
        return tuple(values)

    answer, logprob = row["answer"], row.get("logprob")
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
            choices=texts("choices") if row.get("choices") else (),
            tags=tags,
        ),
        subquestions=texts("subquestions"),
        decomposition=text("decomposition"),
        solution=text("solution"),
        answer=None if answer is None else str(answer),
        verdict=_one_of(get_args(Verdict), row["verdict"]),
        attempt=int(str(row["attempt"])),
        usage=documents.checked(Usage, usage, "usage"),
        decomposition_usage=documents.checked(Usage, decomposition_usage, "decomposition_usage"),
        logprob=None if logprob is None else float(str(logprob)),
        system=str(row.get("system") or ""),
        **{name: text(name) for name in _REASONING if row.get(name) is not None},
    )


def _one_of(names: Iterable[Name], value: object) -> Name:
    """The name that a value is. Raises ValueError when it is none of them."""
    for name in names:
        if name == value:
            return name
    raise ValueError(f"{value!r} is unknown")
