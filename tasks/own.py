"""Questions of one's own: a JSON Lines file with `question` and `answer`."""

from __future__ import annotations

from pathlib import Path

from ..core.jsonlines import Row, objects, text, texts
from .question import Question


def read(path: Path) -> list[Question]:
    """Every question of a file. Raises ConfigError naming the file, and the line where one is malformed."""
    return [_question(row, f"{path}:{number}", f"{path.stem}/{number}") for number, row in objects(path)]


def _question(row: Row, where: str, default_id: str) -> Question:
    return Question(
        id=default_id if row.get("id") is None else text(row, "id", where),
        text=text(row, "question", where),
        answer=text(row, "answer", where),
        aliases=texts(row, "aliases", where),
        context=text(row, "context", where) if row.get("context") else "",
        subquestions=texts(row, "subquestions", where),
        solution=text(row, "solution", where) if row.get("solution") else "",
    )
