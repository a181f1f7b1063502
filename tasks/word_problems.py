"""Word problems and competition problems with one short answer: a row of each data set as a question."""

from __future__ import annotations

import re

from ..core.errors import ConfigError
from ..core.jsonlines import Row, text
from .boxed import last_boxed
from .question import Question


def gsm8k(row: Row, where: str, name: str) -> Question:
    """GSM8K (Cobbe et al., 2021): `question`, and `answer`: the worked solution and, behind `####`, the number.

    In the Socratic files each line of the solution is "sub-question ** step". Calculator notes (`<<48/2=24>>`) are
    left out.
    """
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
        grader="math",
        measure="any-token",
    )


def competition(row: Row, where: str, name: str) -> Question:
    """MATH (Hendrycks et al., 2021): `problem`, `solution` with the answer in `\\boxed{}`, `level`, `type`."""
    solution = text(row, "solution", where)
    box = last_boxed(solution)
    if box is None:
        raise ConfigError(f"{where}: the solution has no \\boxed answer")
    tags = {key: str(row[key]) for key in ("level", "type") if row.get(key)}
    return Question(
        name, text(row, "problem", where), solution[slice(*box)], solution=solution, grader="math", tags=tags
    )


def svamp(row: Row, where: str, name: str) -> Question:
    """SVAMP (Patel et al., 2021): `Body`, `Question`, `Answer`, `Type`."""
    body = text(row, "Body", where).strip()
    asked = f"{body if body.endswith(('.', '?', '!', ',')) else f'{body}.'} {text(row, 'Question', where).strip()}"
    return Question(name, asked, text(row, "Answer", where), tags={"type": str(row.get("Type", ""))})


def asdiv(row: Row, where: str, name: str) -> Question:
    """ASDiv (Miao et al., 2020): `body`, `question`, `answer` with its unit in brackets, `solution_type`."""
    asked = f"{text(row, 'body', where).strip()} {text(row, 'question', where).strip()}"
    answer = re.sub(r"\s*\([^()]*\)\s*$", "", text(row, "answer", where))
    return Question(name, asked, answer, tags={"type": str(row.get("solution_type", ""))})


def multiarith(row: Row, where: str, name: str) -> Question:
    """MultiArith (Roy and Roth, 2015): `input` and `target`, or `question` and `final_ans`."""
    asked, answer = ("question", "final_ans") if "final_ans" in row else ("input", "target")
    return Question(name, text(row, asked, where).strip(), text(row, answer, where).strip())
