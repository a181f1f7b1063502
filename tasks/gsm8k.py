"""GSM8K: 7,473 training and 1,319 test word problems with worked solutions (Cobbe et al., 2021; MIT).

A published answer is the worked solution with calculator notes (`<<48/2=24>>`) and, behind `####`, the number.
In the Socratic files each line of the solution is "sub-question ** step".
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from .errors import ConfigError
from .jsonl import objects, text
from .question import Question

HUB = "openai/gsm8k"
REVISION = "740312add88f781978c0658806c59bc2815b9866"


def read(path: Path) -> list[Question]:
    """The questions of a file of the published shape, main or Socratic."""
    return [question(row, f"{path}:{number}", f"{path.stem}/{number}") for number, row in objects(path)]


def download(split: str) -> list[Question]:
    """The questions of a split, from the hub or its cache."""
    from datasets import load_dataset

    try:
        rows = load_dataset(HUB, "socratic", split=split, revision=REVISION)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot load {HUB} from the hub ({error}); give the path of a file") from error
    return [question(row, f"{HUB}:{number}", f"{split}/{number}") for number, row in enumerate(rows, 1)]


def question(row: dict[str, Any], where: str, name: str) -> Question:
    """A question from a published row; `where` names the row in an error."""
    solution, mark, answer = text(row, "answer", where).rpartition("####")
    if not mark:
        raise ConfigError(f"{where}: the answer has no '####'")
    lines = [re.sub(r"<<.*?>>", "", line).strip() for line in solution.strip().splitlines()]
    pairs = [line.partition(" ** ") for line in lines]
    return Question(
        id=name,
        text=text(row, "question", where).strip(),
        answer=answer.strip(),
        subquestions=tuple(asked.strip() for asked, mark, _ in pairs if mark),
        solution="\n".join(
            (step if mark else line).strip() for line, (_, mark, step) in zip(lines, pairs, strict=True)
        ),
    )
