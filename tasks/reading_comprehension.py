"""Questions about texts and facts: a row of each data set as a question."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..core import packed
from ..core.errors import ConfigError
from ..core.jsonlines import Row, text, texts
from .question import Question

SEPARATOR = "; "
"""Between the spans of an answer that has several."""


def drop(row: Row, where: str, name: str) -> Question:
    """DROP (Dua et al., 2019): `passage`, `question`, and the answer as published or as on the hub.

    As published, `answer` is a number, a date or spans, and `validated_answers` are other people's. On the hub there is
    `answers_spans`, which does not tell several spans from several people's: it is read as one answer, repeats once.
    """
    if "answers_spans" in row:
        answers = [SEPARATOR.join(dict.fromkeys(row["answers_spans"]["spans"]))]
    else:
        answers = [_spans(answer, where) for answer in (row.get("answer"), *(row.get("validated_answers") or []))]
    answers = [answer for answer in dict.fromkeys(answers) if answer]
    if not answers:
        raise ConfigError(f"{where} has no answer")
    return Question(
        id=str(row.get("query_id") or name),
        text=text(row, "question", where),
        answer=answers[0],
        context=text(row, "passage", where),
        aliases=tuple(answers[1:]),
        grader="drop",
        measure="f1",
    )


def drop_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """The rows of a published file: passages, each with its questions."""
    try:
        passages = json.loads(packed.text(path))
        rows = [{**pair, "passage": of["passage"]} for of in passages.values() for pair in of["qa_pairs"]]
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"{path} has not the shape of DROP: passages with their qa_pairs") from error
    yield from enumerate(rows, 1)


def bamboogle(row: Row, where: str, name: str) -> Question:
    """Bamboogle (Press et al., 2023): `Question`, `Answer`; some files have `Q1`, `A1`, `Q2`, `A2`, the two hops."""
    answer = text(row, "Answer", where).strip()
    hops = [(text(row, f"Q{n}", where), texts(row, f"A{n}", where)) for n in (1, 2) if f"Q{n}" in row]
    steps = [f"{n}. {found[0]}" for n, (_, found) in enumerate(hops, 1) if found]
    return Question(
        id=name,
        text=text(row, "Question", where),
        answer=answer,
        subquestions=tuple(asked for asked, _ in hops),
        solution="\n".join([*steps, f"The answer is {answer}."]) if steps else "",
        aliases=tuple(other for other in (hops[-1][1] if hops else ()) if other != answer),
        grader="phrase",
        measure="substring",
    )


def strategyqa(row: Row, where: str, name: str) -> Question:
    """StrategyQA (Geva et al., 2021): `question`, `answer` true or false, human `decomposition` and `facts`.

    A step may refer to an earlier one's answer as `#1`.
    """
    if not isinstance(row.get("answer"), bool):
        raise ConfigError(f"{where}: 'answer' is neither true nor false")
    answer = "yes" if row["answer"] else "no"
    return Question(
        id=str(row.get("qid") or name),
        text=text(row, "question", where),
        answer=answer,
        subquestions=texts(row, "decomposition", where),
        solution="\n".join([*texts(row, "facts", where), f"The answer is {answer}."]),
        grader="yes-no",
    )


def _spans(answer: Any, where: str) -> str:
    """One answer as published: a number, a date, or spans."""
    if not isinstance(answer, dict):
        raise ConfigError(f"{where}: 'answer' is not a number, a date or spans")
    date = answer.get("date") or {}
    dated = " ".join(str(date.get(part) or "") for part in ("day", "month", "year")).split()
    spans = [str(span) for span in answer.get("spans") or []]
    return str(answer.get("number") or "") or SEPARATOR.join(spans) or " ".join(dated)
