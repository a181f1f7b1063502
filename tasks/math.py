"""Word problems and competition problems with one short answer: MATH, SVAMP, ASDiv, MultiArith.

Files are read in the shapes in which the data sets are commonly passed on, a JSON object a line.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from .boxed import last_boxed
from .errors import ConfigError
from .jsonl import objects, text
from .question import Question


def read_math(path: Path) -> list[Question]:
    """MATH (Hendrycks et al., 2021): `problem`, `solution` with the answer in `\\boxed{}`, `level`, `type`."""

    def question(row: dict[str, Any], where: str, name: str) -> Question:
        solution = text(row, "solution", where)
        box = last_boxed(solution)
        if box is None:
            raise ConfigError(f"{where}: the solution has no \\boxed answer")
        tags = {key: str(row[key]) for key in ("level", "type") if row.get(key)}
        asked = text(row, "problem", where)
        return Question(name, asked, solution[slice(*box)], solution=solution, grader="hendrycks", tags=tags)

    return [question(row, f"{path}:{n}", f"{path.stem}/{n}") for n, row in objects(path)]


def read_svamp(path: Path) -> list[Question]:
    """SVAMP (Patel et al., 2021): `Body`, `Question`, `Answer`, `Type`."""

    def question(row: dict[str, Any], where: str, name: str) -> Question:
        body = text(row, "Body", where).strip()
        asked = f"{body if body.endswith(('.', '?', '!', ',')) else f'{body}.'} {text(row, 'Question', where).strip()}"
        return Question(name, asked, text(row, "Answer", where), tags={"type": str(row.get("Type", ""))})

    return [question(row, f"{path}:{n}", f"{path.stem}/{n}") for n, row in objects(path)]


def read_asdiv(path: Path) -> list[Question]:
    """ASDiv (Miao et al., 2020): `body`, `question`, `answer` with its unit in brackets, `solution_type`."""

    def question(row: dict[str, Any], where: str, name: str) -> Question:
        asked = f"{text(row, 'body', where).strip()} {text(row, 'question', where).strip()}"
        answer = re.sub(r"\s*\([^()]*\)\s*$", "", text(row, "answer", where))
        return Question(name, asked, answer, tags={"type": str(row.get("solution_type", ""))})

    return [question(row, f"{path}:{n}", f"{path.stem}/{n}") for n, row in objects(path)]


def read_multiarith(path: Path) -> list[Question]:
    """MultiArith (Roy and Roth, 2015): `input`, `target`."""
    return [
        Question(f"{path.stem}/{n}", text(row, "input", f"{path}:{n}").strip(), text(row, "target", f"{path}:{n}"))
        for n, row in objects(path)
    ]
