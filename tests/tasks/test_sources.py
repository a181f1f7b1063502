"""Questions from files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from divcon.core.errors import ConfigError
from divcon.tasks import Question, own, sources


def written(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_your_own_questions(tmp_path: Path) -> None:
    row = {"question": "How many?", "answer": 7, "context": "There are 7.", "subquestions": ["What is there?"]}
    (question,) = own.read(written(tmp_path / "mine.jsonl", row, "", "  "))
    assert question == Question("mine/1", "How many?", "7", "There are 7.", ("What is there?",))
    assert question.prompt == "There are 7.\n\nHow many?"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"question": "How many?", "answer": "7"', "mine.jsonl:2 is not JSON"),
        ("[1]", "mine.jsonl:2 is not a JSON object"),
        ({"answer": "7"}, "mine.jsonl:2 has no 'question'"),
        ({"question": "?", "answer": None}, "mine.jsonl:2 has no 'answer'"),
        ({"question": "?", "answer": True}, "mine.jsonl:2: 'answer' is not text"),
        ('{"question": "?", "answer": "\\ud800"}', "mine.jsonl:2: 'answer' holds half a character"),
        ({"question": "?", "answer": "7", "subquestions": "How?"}, "mine.jsonl:2: 'subquestions' is not a list"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, row: object, message: str) -> None:
    path = written(tmp_path / "mine.jsonl", {"question": "?", "answer": "7"}, row)
    with pytest.raises(ConfigError) as caught:
        own.read(path)
    assert message in str(caught.value)


def test_a_missing_file_an_empty_one_and_repeated_ids_are_named(tmp_path: Path) -> None:
    def source(path: Path) -> sources.JsonlSource:
        return sources.JsonlSource(source="jsonl", path=path)

    with pytest.raises(ConfigError, match=r"no file .*nowhere"):
        sources.load(source(tmp_path / "nowhere.jsonl"))
    with pytest.raises(ConfigError, match=r"no questions in .*empty"):
        sources.load(source(written(tmp_path / "empty.jsonl")))
    twice = {"id": "x", "question": "?", "answer": "7"}
    with pytest.raises(ConfigError, match="same id"):
        sources.load(source(written(tmp_path / "twice.jsonl", twice, twice)))
    with pytest.raises(ConfigError, match="cannot read"):
        sources.load(source(tmp_path))


def test_a_source_takes_the_first_questions() -> None:
    some = sources.MiniatureSource(source="miniature", split="train", max_questions=3)
    more = sources.MiniatureSource(source="miniature", split="train", max_questions=5)
    assert sources.load(more)[:3] == sources.load(some)


def test_a_null_is_an_absent_value_and_any_character_may_stand_in_a_text(tmp_path: Path) -> None:
    row = {
        "id": None,
        "question": "a\u2028b\x85c?",
        "answer": "7",
        "context": None,
        "subquestions": None,
        "solution": None,
    }
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(row, ensure_ascii=False), encoding="utf-8")
    assert own.read(path) == [Question("mine/1", "a\u2028b\x85c?", "7")]


def test_a_study_may_choose_the_grader(tmp_path: Path) -> None:
    path = written(tmp_path / "mine.jsonl", {"question": "?", "answer": "7"})
    (question,) = sources.load(sources.JsonlSource(source="jsonl", path=path, grader="hendrycks"))
    assert question.grader == "hendrycks"
