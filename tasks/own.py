"""Questions of one's own: rows of any kind of file, or of the hub, with a question and its answer in some columns."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Literal, get_args

from ..core import tables
from ..core.errors import ConfigError
from ..core.jsonlines import Row, text, texts
from .boxed import last_boxed
from .question import GraderName, Question

Part = Literal["id", "question", "answer", "aliases", "context", "choices", "subquestions", "solution"]
"""What a column may hold."""
PARTS: tuple[Part, ...] = get_args(Part)
Columns = Mapping[Part, str]
"""The column of each part, where it has another name: `{question: problem, answer: target.value}`."""

_STATED = re.compile(r"(?:####|^A:|[Tt]he (?:final )?answer is:?)\s*(.+)", re.MULTILINE)
_LONGEST_TAG = 80
"""Characters of a value by which people break results down."""


def read(
    path: Path, columns: Columns | None = None, split: str | None = None, skip: int = 0, most: int | None = None
) -> list[Question]:
    """The questions of a file: all, or at `most` so many behind those skipped, and no other row is looked at.

    Raises ConfigError naming the file, and the row where one is malformed.
    """
    return list(questions(located(path, skip, most, split), columns or {}))


def located(
    path: Path, skip: int = 0, most: int | None = None, split: str | None = None
) -> Iterator[tuple[str, str, Row]]:
    """Where each row of a file stands, an id for it, and its values."""
    stem = path.name.split(".")[0] if path.is_file() else path.name
    as_read = _cells if tables.is_text(path) else dict
    rows = ((f"{path}:{n}", f"{stem}/{n}", as_read(row)) for n, row in tables.rows(path, split))
    return islice(rows, skip, None if most is None else skip + most)


def questions(rows: Iterator[tuple[str, str, Row]], columns: Columns) -> Iterator[Question]:
    """A question for each place, id and row."""
    for where, name, row in rows:
        yield _question(row, where, name, columns)


def _cells(row: Row) -> Row:
    """A row of a CSV file, in which a list is a text."""
    return {name: _Cell(value) if isinstance(value, str) else value for name, value in row.items()}


class _Cell(str):
    """A text that may be written for a list."""

    __slots__ = ()


def _question(row: Row, where: str, default_id: str, columns: Columns) -> Question:
    found = _Parts(row, where, columns)
    choices = found.choices()
    answers = found.answers()
    solution, context = found.optional("solution"), found.optional("context")
    return Question(
        id=found.optional("id") or default_id,
        text=found.text("question"),
        answer=_chosen(answers[0], choices, found.labels(), where) if choices else answers[0],
        aliases=(*answers[1:], *found.texts("aliases")),
        context=context,
        subquestions=found.texts("subquestions"),
        solution=solution,
        choices=choices,
        grader=_grader(choices, found.get("answer")),
        tags=found.tags(),
        place=where,
    )


def _grader(choices: Sequence[str], answer: object) -> GraderName:
    """How answers to a question are compared, where nobody says it."""
    return "choice" if choices else "yes-no" if isinstance(answer, bool) else "number"


def _chosen(answer: str, choices: Sequence[str], labels: Sequence[str], where: str) -> str:
    """The letter of the right choice, which a row gives by its letter, its label or its text."""
    letters = ascii_uppercase[: len(choices)]
    for names in (labels, choices, letters):
        same = [letter for letter, name in zip(letters, names, strict=False) if name.strip() == answer.strip()]
        if len(same) == 1:
            return same[0]
    bare = re.sub(r"[().:\s]", "", answer).upper()
    if len(bare) == 1 and bare in letters:
        return bare
    raise ConfigError(
        f"{where}: the answer {answer!r} is none of the {len(choices)} choices; write its letter, {letters[0]} to "
        f"{letters[-1]}, or its text"
    )


class _Parts:
    """The parts of a question in a row."""

    def __init__(self, row: Row, where: str, columns: Columns) -> None:
        self._row, self._where, self._columns = row, where, columns
        for part, column in columns.items():
            if column.split(".")[0] not in row:
                known = ", ".join(map(repr, list(row)[:12]))
                raise ConfigError(f"{where} has no column {column!r} (columns.{part}); it has {known}")

    def get(self, part: Part) -> Any:
        """The value of a part; None where there is none. A column that another part is in is not this one's too."""
        if part not in self._columns and part in self._columns.values():
            return None
        value: Any = self._row
        for key in self._column(part):
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def text(self, part: Part) -> str:
        """A part that must be there. The error names the columns that there are."""
        if self.get(part) is None and part not in self._columns:
            known = ", ".join(map(repr, list(self._row)[:12]))
            raise ConfigError(f"{self._where} has no {part!r}; name its column, columns: {{{part}: NAME}}, of {known}")
        return text({part: self.get(part)}, part, self._where)

    def optional(self, part: Part) -> str:
        return self.text(part) if self.get(part) not in (None, "") else ""

    def answers(self) -> list[str]:
        """The gold answer and others that are as good."""
        value = self.get("answer")
        if isinstance(value, dict) and isinstance(value.get("value"), str):
            value = [value["value"], *(value.get("aliases") or [])]
        if isinstance(value, dict) and isinstance(value.get("text"), list):
            value = value["text"]
        if isinstance(value, list):
            if not value:
                raise ConfigError(f"{self._where}: 'answer' is an empty list")
            return [text({"answer": each}, "answer", self._where) for each in value]
        if value in (None, "") and "answer" not in self._columns and self.get("solution"):
            return [self._stated()]
        return [self.text("answer")]

    def _stated(self) -> str:
        """The answer that a worked solution ends in."""
        solution = self.text("solution")
        if (box := last_boxed(solution)) and (boxed := solution[slice(*box)].strip()):
            return boxed
        if stated := _STATED.findall(solution):
            return str(stated[-1]).strip().rstrip(".")
        raise ConfigError(f"{self._where} has no 'answer', and its solution states none (\\boxed, ####, The answer is)")

    def texts(self, part: Part) -> tuple[str, ...]:
        return texts({part: _list(self.get(part))}, part, self._where)

    def choices(self) -> tuple[str, ...]:
        """The texts of the choices: a list, or an object of texts with labels, or one of letters with texts."""
        value = _list(self.get("choices"))
        if isinstance(value, dict):
            value = value["text"] if isinstance(value.get("text"), list) else list(value.values())
        if isinstance(value, list):
            value = [
                str(each) if isinstance(each, int | float) and not isinstance(each, bool) else each for each in value
            ]
        found = texts({"choices": value}, "choices", self._where)
        if len(found) == 1 or len(found) > len(ascii_uppercase):
            raise ConfigError(
                f"{self._where}: 'choices' holds {len(found)}; 2 to {len(ascii_uppercase)} can be told apart"
            )
        if len({each.strip() for each in found}) < len(found):
            raise ConfigError(f"{self._where}: two of the choices are the same")
        return tuple(
            re.sub(rf"^\s*\(?{letter}[).:]\s+", "", each) for letter, each in zip(ascii_uppercase, found, strict=False)
        )

    def labels(self) -> tuple[str, ...]:
        value = self.get("choices")
        if not isinstance(value, dict):
            return ()
        labels = value.get("label") if isinstance(value.get("text"), list) else list(value)
        return tuple(map(str, labels or ()))

    def tags(self) -> dict[str, str]:
        """The short values in the other columns."""
        used = {self._column(part)[0] for part in PARTS}
        return {name: said for name, value in self._row.items() if name not in used and (said := _tag(value))}

    def _column(self, part: Part) -> list[str]:
        return self._columns.get(part, part).split(".")


def _tag(value: object) -> str:
    if isinstance(value, dict | list) or value is None:
        return ""
    said = ("true" if value else "false") if isinstance(value, bool) else str(value).strip()
    return said if len(said) <= _LONGEST_TAG and "\n" not in said else ""


def _list(value: Any) -> Any:
    """A list that a cell of a CSV file holds: as JSON or Python writes it, or a line each."""
    if not isinstance(value, _Cell):
        return value
    text = value.strip()
    if not text:
        return None
    if text[:1] in "[{(":
        for read in (json.loads, ast.literal_eval):
            try:
                found = read(text)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
            return list(found) if isinstance(found, tuple) else found
    separator = next((mark for mark in ("\n", "|", ";") if mark in text), "\n")
    return [part.strip() for part in text.split(separator) if part.strip()]
