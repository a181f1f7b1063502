"""A first study for files of one's own: what is in their columns, how answers are compared, how much there is of it.

Everything that is guessed is said in a comment beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ..core import tables
from ..core.errors import ConfigError
from ..core.files import atomic_write
from ..core.jsonlines import Row
from ..solve.grading.numbers import number
from ..tasks import contamination, own, registry
from ..tasks.boxed import last_boxed
from ..tasks.question import GraderName, Question

_NAMES: dict[own.Part, tuple[str, ...]] = {
    "question": ("question", "problem", "prompt", "query", "input", "instruction", "text", "q"),
    "answer": ("answer", "final_answer", "gold", "target", "label", "answerkey", "correct_answer", "output", "a"),
    "choices": ("choices", "options", "candidates"),
    "subquestions": ("subquestions", "sub_questions", "decomposition", "steps"),
    "solution": ("solution", "rationale", "explanation", "ground_truth", "reasoning"),
    "context": ("context", "passage", "paragraph"),
    "id": ("id", "qid", "question_id", "uid"),
}
"""Columns by their usual names, the most usual first, in lower case."""
_SIGNS: dict[registry.Name, Callable[[Row], bool]] = {
    "gsm8k": lambda row: "####" in str(row.get("answer")),
    "math": lambda row: "problem" in row and "\\boxed" in str(row.get("solution")),
    "svamp": lambda row: {"Body", "Question", "Answer"} <= row.keys(),
    "asdiv": lambda row: {"body", "solution_type"} <= row.keys(),
    "multiarith": lambda row: "final_ans" in row or row.keys() == {"input", "target"},
    "bamboogle": lambda row: {"Question", "Answer", "Q1"} <= row.keys(),
    "strategyqa": lambda row: isinstance(row.get("answer"), bool) and "decomposition" in row,
}
"""What tells a published data set by its first row."""
_LOOKED_AT = 500
"""Rows by which a file is judged."""
_TRAIN, _TEST = 1000, 200
"""Questions that a first study takes at most, of training and of each test."""
_SHARE = 0.7
"""Of a file that is learned from and tested on, what is learned from."""


@dataclass(frozen=True)
class Sniffed:
    """What a file seems to hold."""

    path: Path
    settings: dict[str, Any]
    """Of a source: `source`, `path`, `columns`."""
    questions: list[Question]
    """All that can be read, where a file of one's own has rows that cannot: the longest stretch without such a row."""
    said: tuple[str, ...]
    """What was guessed, a sentence each."""
    skip: int = 0
    """Rows before the first of these questions."""


@dataclass(frozen=True)
class NewStudy:
    """A study that was written for files."""

    path: Path
    guesses: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([*self.guesses, f"{self.path}: look it through, then `divcon study {self.path} --dry-run`"])


def sniff(path: Path) -> Sniffed:
    """What a file of questions holds. Raises ConfigError when it is none."""
    path = path.resolve()
    if (published := _published(path)) is not None:
        return published
    rows = [row for _, row in islice(tables.rows(path), _LOOKED_AT)]
    if not rows:
        raise ConfigError(f"{path} holds no rows")
    columns = _columns(path, rows)
    skip, questions, bad = _stretch(path, columns)
    grader, why = _grader(questions)
    settings: dict[str, Any] = {"source": "file", "path": str(path)}
    settings |= {"columns": dict(columns)} if columns else {}
    settings |= {"grader": grader} if grader != questions[0].grader else {}
    read = ", ".join(f"{part} from {column!r}" for part, column in columns.items()) or "columns of the usual names"
    said = [f"{path.name}: {read}", f"{path.name}: grader {grader}, {why}"]
    if bad:
        said.append(
            f"{path.name}: {len(bad)} rows have no question or answer and are stepped around; the first: {bad[0]}"
        )
    return Sniffed(path, settings, questions, tuple(said), skip)


def _stretch(path: Path, columns: own.Columns) -> tuple[int, list[Question], list[str]]:
    """The longest stretch of rows that are questions, how many rows stand before it, and what is wrong with others.

    Raises ConfigError when no row is a question.
    """
    best: tuple[int, list[Question]] = (0, [])
    begin, found, bad = 0, list[Question](), list[str]()
    for row, located in enumerate(own.located(path)):
        try:
            found += own.questions(iter([located]), columns)
        except ConfigError as error:
            bad.append(str(error))
            begin, found = row + 1, []
        best = max(best, (begin, found), key=lambda stretch: len(stretch[1]))
    if not best[1]:
        raise ConfigError(bad[0])
    return *best, bad


def _published(path: Path) -> Sniffed | None:
    for name, data_set in registry.DATA_SETS.items():
        try:
            first = next(iter(data_set.rows(path)), None)
            if first is None or (name in _SIGNS and not _SIGNS[name](first[1])):
                continue
            questions = data_set.read(path)
        except ConfigError:
            continue
        return Sniffed(path, {"source": name, "path": str(path)}, questions, (f"{path.name}: {data_set.about}",))
    return None


def _columns(path: Path, rows: Sequence[Row]) -> dict[own.Part, str]:
    """The column of each part that has one, where its name is not the part's."""
    keys = {key.lower(): key for row in rows for key in row}
    usual = {part: [keys[name] for name in names if name in keys] for part, names in _NAMES.items()}
    found = {part: columns[0] for part, columns in usual.items() if columns}
    if "question" not in found:
        raise ConfigError(f"{path}: which column has the question? It has {', '.join(map(repr, keys.values()))}")
    if (column := found.get("answer")) and _are_solutions([row.get(column) for row in rows]):
        del found["answer"]
        found["solution"] = column
    if not {"answer", "solution"} & found.keys():
        raise ConfigError(f"{path}: which column has the answer? It has {', '.join(map(repr, keys.values()))}")
    return {part: column for part, column in found.items() if column != part}


def _are_solutions(values: Sequence[Any]) -> bool:
    """Whether answers are worked solutions, whose last line or box is the answer."""
    texts = [value for value in values if isinstance(value, str)]
    return bool(texts) and sum(last_boxed(text) is not None or "####" in text for text in texts) > len(texts) / 2


def _grader(questions: Sequence[Question]) -> tuple[GraderName, str]:
    """How answers seem to be compared, and why."""
    golds = [question.answer for question in questions]
    if questions[0].grader != "number":
        return questions[
            0
        ].grader, f"for {'the rows have choices' if questions[0].choices else 'answers are true or false'}"
    if all(gold.strip().lower() in ("yes", "no", "true", "false") for gold in golds):
        return "yes-no", "for all answers are yes or no"
    if all(number(gold) is not None for gold in golds):
        return "number", "for all answers are numbers"
    if sum("\\" in gold or "^" in gold or number(gold) is not None for gold in golds) > len(golds) / 2:
        return "math", "for most answers are mathematics"
    return "phrase", "for answers are words"


def write(files: Sequence[Path], out: Path, llm: str, student: str, *, overwrite: bool = False) -> NewStudy:
    """Write a study for files of questions: the one whose name says train is learned from, the others are tests.

    Raises ConfigError when a file holds no questions, or the study is there already.
    """
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} is there already; give another --out, or --force")
    found = [sniff(path) for path in files]
    train, tests, notes = _parts(found)
    text = _TEXT.format(
        files=", ".join(file.path.name for file in found),
        guesses="\n".join(f"#   {said}" for file in found for said in file.said),
        notes="".join(f"#   {note}\n" for note in notes),
        train=_flow(train),
        tests="\n".join(f"  {_name(settings, tests)}: {_flow(settings)}" for settings in tests),
        llm=_model(llm),
        student=_flow({"engine": "transformers", "path": student, "concurrency": 16}),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(out, text)
    return NewStudy(out, (*(said for file in found for said in file.said), *notes))


def _parts(found: Sequence[Sniffed]) -> tuple[dict[str, Any], list[dict[str, Any]], list[str]]:
    """The settings of what is learned from and of the tests, and what is said of them."""
    named = [file for file in found if re.search(r"train", file.path.name, re.IGNORECASE)]
    learned = (named or list(found))[0]
    others = [file for file in found if file is not learned]
    if others:
        train = _taking(learned, 0, min(len(learned.questions), _TRAIN))
        tests = [_taking(file, 0, min(len(file.questions), _TEST)) for file in others]
        return train, tests, [f"{learned.path.name} is learned from, the others are tests"]
    size = max(1, min(round(_SHARE * len(learned.questions)), _TRAIN))
    tested = min(len(learned.questions) - size, _TEST)
    if tested < 1:
        raise ConfigError(f"{learned.path} holds {len(learned.questions)} question; two are the least")
    skip = _first_apart(learned.questions, size, tested)
    note = f"the first {size:,} questions are learned from; {tested:,} behind them are the test"
    return _taking(learned, 0, size), [_taking(learned, skip, tested)], [note]


def _taking(file: Sniffed, skip: int, most: int) -> dict[str, Any]:
    """The settings of some of a file's questions."""
    begin = file.skip + skip
    return file.settings | ({"skip": begin} if begin else {}) | {"max_questions": most}


def _first_apart(questions: Sequence[Question], size: int, tested: int) -> int:
    """Where a stretch of questions begins of which none is learned from too; right behind what is learned from where
    there is none."""
    shared = [overlap == "exact" for overlap in contamination.overlaps(questions[:size], questions[size:])]
    for begin in range(len(shared) - tested + 1):
        if not any(shared[begin : begin + tested]):
            return size + begin
    return size


def _name(settings: Mapping[str, Any], tests: Sequence[Mapping[str, Any]]) -> str:
    stems = [Path(str(each["path"])).name.split(".")[0] for each in tests]
    stem = Path(str(settings["path"])).name.split(".")[0]
    return stem if stems.count(stem) == 1 else f"{stem}-{[id(t) for t in tests].index(id(settings)) + 1}"


def _model(llm: str) -> str:
    if re.match(r"https?://", llm):
        return _flow({"engine": "openai", "base_url": llm, "model": "NAME", "concurrency": 16})
    return _flow({"engine": "transformers", "path": llm, "concurrency": 16})


def _flow(settings: Mapping[str, Any]) -> str:
    """Settings in one line of YAML."""
    import yaml

    line = yaml.safe_dump(dict(settings), default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True)
    return str(line).strip()


_TEXT = """\
# A study for {files}, written by `divcon init`. What was guessed:
{guesses}
{notes}# Look it through; `divcon study FILE --dry-run` says what it would ask. docs/reference.md has every setting.
seed: 0
train: {train}
tests:
{tests}
# The large model: the teacher, and the LLM that is compared with. A server instead:
#   llm: {{engine: openai, base_url: "https://HOST/v1", model: NAME, api_key_env: OPENAI_API_KEY}}
llm: {llm}
# The small base model, which is distilled once for each phase.
student: {student}
# Which prompts the LLM follows best: `divcon prompts try FILE`.
prompts: {{decompose: decompose, solve: solve, single_stage: cot}}
decompose: {{max_subquestions: 3, max_tokens: 160}}
solve: {{max_tokens: 400}}
collect: {{decompositions: 1, solutions: 2, temperature: 0.7}}
distill: # budgets are in training tokens; `divcon distill curve FILE` shows whether more would help
  decomposer: {{data: rejection_sampled, learning_rate: 3.0e-4, micro_batch_size: 4, max_train_tokens: 400_000}}
  solver: {{data: right, learning_rate: 3.0e-4, micro_batch_size: 4, max_train_tokens: 400_000}}
  single: {{data: right, learning_rate: 3.0e-4, micro_batch_size: 4, max_train_tokens: 400_000}}
grid:
  decomposers: [none, llm, distilled]
  solvers: [llm, distilled, distilled-single]
  samples: 0 # greedy alone; 8 samples add self-consistency
"""
