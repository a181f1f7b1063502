"""Published data sets, from files and from the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from divcon.core.errors import ConfigError
from divcon.solve.grading.grade import grade
from divcon.solve.grading.lenient import MEASURES
from divcon.tasks import Question, sources
from divcon.tasks.registry import DATA_SETS, NAMES, Name

from ..paths import SHARED

MAIN = {"question": "How many clips?", "answer": "She sold 48/2 = <<48/2=24>>24 clips.\nIn all 48+24 = 72.\n#### 72"}
SOCRATIC = {
    "question": "How many?",
    "answer": "How many in May? ** 48/2 = <<48/2=24>>24.\nHow many in all? ** 72.\n#### 72",
}
MATH = {"problem": "What?", "solution": "So $\\boxed{\\frac{1}{2}}$.", "level": "Level 2", "type": "Algebra"}
SVAMP = {"Body": "There are 5 pears", "Question": "How many?", "Answer": 5.0, "Type": "Addition"}
ASDIV = {"body": "There are 5 pears.", "question": "How many?", "answer": "5 (pears)", "solution_type": "Addition"}
NO_DATE = {"day": "", "month": "", "year": ""}
DROP = {
    "history_1": {
        "passage": "It rained from 1612 to 1615.",
        "qa_pairs": [
            {
                "query_id": "q1",
                "question": "Until when did it rain?",
                "answer": {"number": "", "date": {**NO_DATE, "year": "1615"}, "spans": []},
                "validated_answers": [
                    {"number": "1615", "date": NO_DATE, "spans": []},
                    {"number": "", "date": NO_DATE, "spans": ["in 1615"]},
                ],
            },
            {
                "query_id": "q2",
                "question": "From when to when?",
                "answer": {"number": "", "date": NO_DATE, "spans": ["1612", "1615"]},
            },
        ],
    }
}
BAMBOOGLE = {
    "Question": "Who was president in the year that Citibank was founded?",
    "Answer": "james madison",
    "Q1": "What year was Citibank founded?",
    "A1": ["1812"],
    "Q2": "Who was president in 1812?",
    "A2": ["james madison", "madison"],
}
STRATEGY = {
    "qid": "e0",
    "question": "Is a pear heavier than a melon?",
    "answer": False,
    "facts": ["A pear weighs 200 g.", "A melon weighs 2 kg."],
    "decomposition": ["How heavy is a pear?", "Is #1 more than a melon weighs?"],
}


def read(name: Name, path: Path, *rows: object) -> list[Question]:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return sources.load(sources.PublishedSource(source=name, path=path))


def test_gsm8k_is_read_as_published(tmp_path: Path) -> None:
    (question,) = read("gsm8k", tmp_path / "test.jsonl", MAIN)
    assert (question.id, question.answer, question.subquestions) == ("test/1", "72", ())
    assert question.solution == "She sold 48/2 = 24 clips.\nIn all 48+24 = 72."
    assert (question.grader, question.measure) == ("math", "any-token")


def test_socratic_lines_are_gold_subquestions(tmp_path: Path) -> None:
    (question,) = read("gsm8k", tmp_path / "test.jsonl", SOCRATIC)
    assert question.subquestions == ("How many in May?", "How many in all?")
    assert question.solution == "48/2 = 24.\n72."


def test_math_has_levels_and_types(tmp_path: Path) -> None:
    (question,) = read("math", tmp_path / "test.jsonl", MATH)
    assert (question.answer, question.grader) == ("\\frac{1}{2}", "math")
    assert question.tags == {"level": "Level 2", "type": "Algebra"}


def test_questions_of_one_level_can_be_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    read("math", path, MATH, {**MATH, "level": "Level 1"}, MATH)
    easy = sources.PublishedSource(source="math", path=path, only={"level": "Level 1"}, max_questions=5)
    assert [question.id for question in sources.load(easy)] == ["test/2"]
    none = sources.PublishedSource(source="math", path=path, only={"level": "1"})
    with pytest.raises(ConfigError, match="no question of math has level: 1; the first has level: Level 2, type"):
        sources.load(none)


def test_word_problems_are_one_text_and_a_number(tmp_path: Path) -> None:
    (svamp,) = read("svamp", tmp_path / "test.jsonl", SVAMP)
    (asdiv,) = read("asdiv", tmp_path / "test.jsonl", ASDIV)
    (multiarith,) = read("multiarith", tmp_path / "test.jsonl", {"input": f"{asdiv.text} ", "target": 5})
    assert svamp.text == "There are 5 pears. How many?" == asdiv.text == multiarith.text
    assert (svamp.answer, asdiv.answer, multiarith.answer) == ("5.0", "5", "5")


def test_drop_has_passages_and_other_peoples_answers(tmp_path: Path) -> None:
    one, two = read("drop", tmp_path / "dev.json", DROP)
    assert one.prompt == "It rained from 1612 to 1615.\n\nUntil when did it rain?"
    assert (one.id, one.answer, one.aliases) == ("q1", "1615", ("in 1615",))
    assert two.answer == "1612; 1615"
    verdicts = grade([("1615.0", one), ("In 1615", one), ("1615 and 1612", two), ("1612", two)])
    assert verdicts == ["right", "right", "right", "wrong"]
    f1 = MEASURES["f1"]
    assert [f1("", answer, two) for answer in ("1612, 1615", "1612", "the year 1612 and 1615", "1700", None)] == [
        1.0,
        0.5,
        0.83,
        0.0,
        0.0,
    ]


def test_bamboogle_has_two_hops(tmp_path: Path) -> None:
    path = tmp_path / "bamboogle.json"
    path.write_text(json.dumps([BAMBOOGLE]), encoding="utf-8")
    (question,) = sources.load(sources.PublishedSource(source="bamboogle", path=path))
    assert question.subquestions == ("What year was Citibank founded?", "Who was president in 1812?")
    assert question.solution == "1. 1812\n2. james madison\nThe answer is james madison."
    assert grade([("James Madison", question), ("Madison", question), ("Monroe", question)]) == [
        "right",
        "right",
        "wrong",
    ]


def test_strategyqa_has_human_decompositions(tmp_path: Path) -> None:
    path = tmp_path / "dev.json"
    path.write_text(json.dumps([STRATEGY]), encoding="utf-8")
    (question,) = sources.load(sources.PublishedSource(source="strategyqa", path=path))
    assert question.subquestions == ("How heavy is a pear?", "Is #1 more than a melon weighs?")
    assert (question.id, question.answer) == ("e0", "no")
    assert grade([("No, it is lighter.", question), ("Yes", question)]) == ["right", "wrong"]


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("gsm8k", {"question": "?", "answer": "72"}, "test.jsonl:1: the answer has no '####'"),
        ("math", {"problem": "?", "solution": "5"}, "test.jsonl:1: the solution has no"),
        ("strategyqa", {"question": "?", "answer": "yes"}, "test.jsonl:1: 'answer' is neither true nor false"),
        ("drop", {"passages": []}, "has not the shape of DROP"),
        ("drop", {"a": {"passage": "P", "qa_pairs": [{"question": "?", "answer": {}}]}}, "test.jsonl:1 has no answer"),
        ("bamboogle", {**BAMBOOGLE, "A1": "1812"}, "test.jsonl:1: 'A1' is not a list of texts"),
    ],
)
def test_a_malformed_row_is_named(tmp_path: Path, name: Name, row: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(name, tmp_path / "test.jsonl", row)
    assert message in str(caught.value)


def test_a_file_that_is_no_list_is_named(tmp_path: Path) -> None:
    path = tmp_path / "dev.json"
    for contents, message in [
        ("{}", "is not a JSON list"),
        ("[1]", "entry 1, is not a JSON object"),
        ("[", "not JSON"),
    ]:
        path.write_text(contents, encoding="utf-8")
        with pytest.raises(ConfigError, match=message):
            sources.load(sources.PublishedSource(source="bamboogle", path=path))
    path.write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(ConfigError, match="nested too deeply"):
        sources.load(sources.PublishedSource(source="bamboogle", path=path))


HUB: dict[Name, dict[str, Any]] = {
    "gsm8k": SOCRATIC,
    "math": MATH,
    "svamp": {**SVAMP, "Answer": "5"},
    "asdiv": ASDIV,
    "multiarith": {"question": " There are 5 pears. How many? ", "final_ans": "5"},
    "drop": {
        "query_id": "q1",
        "passage": "It rained.",
        "question": "What did it do?",
        "answers_spans": {"spans": ["rained", "rained"], "types": ["span", "span"]},
    },
    "bamboogle": {"Question": "Who?", "Answer": "james madison"},
    "strategyqa": STRATEGY,
}


@pytest.mark.parametrize("name", NAMES)
def test_every_data_set_is_read_from_the_hub_at_its_revision(name: Name, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows have the columns of the hub's repositories; the hub itself is played by a function."""
    asked = []

    def load_dataset(repository: str, config: str | None, *, split: str, revision: str) -> datasets.Dataset:
        asked.append((repository, config, split, revision))
        return datasets.Dataset.from_list([HUB[name]])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    split = "train" if name == "strategyqa" else "test"
    source = sources.PublishedSource(source=name, split=split)  # type: ignore[arg-type]  # one of two
    questions = sources.load(source)
    assert len(questions) == len(asked) == len(DATA_SETS[name].hub.configs) and all(q.answer for q in questions)
    assert {revision for *_, revision in asked} == {source.origin()["revision"]}
    assert all(len(revision) == 40 for *_, revision in asked)


def test_a_split_that_the_hub_has_not_is_named() -> None:
    with pytest.raises(ConfigError, match="has no test split; there is train"):
        sources.load(sources.PublishedSource(source="strategyqa"))


def test_a_hub_out_of_reach_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(ConfigError, match=r"cannot load openai/gsm8k from the hub .*give the path of a file"):
        sources.load(sources.PublishedSource(source="gsm8k"))


@pytest.mark.parametrize(
    ("measure", "text", "gold", "score"),
    [
        ("any-token", "He has 18 at first, and 20 in the end.", "18", 1.0),
        ("any-token", "That makes $1,800.", "1800", 1.0),
        ("any-token", "It is 12.5 on average.", "12", 1.0),
        ("any-token", "It is 112.", "12", 0.0),
        ("substring", "The answer is: President James Madison, of Virginia.", "james madison", 1.0),
        ("substring", "James Madison? The answer is: James Monroe.", "james madison", 0.0),
    ],
)
def test_lenient_rules_are_as_lenient_as_the_papers(measure: str, text: str, gold: str, score: float) -> None:
    rule = next(rule for name, rule in MEASURES.items() if name == measure)
    assert rule(text, None, Question("1", "?", gold)) == score


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the published data sets are not in {SHARED}")
@pytest.mark.parametrize(
    ("name", "file", "questions"),
    [
        ("gsm8k", "gsm8k/train.jsonl", 7473),
        ("gsm8k", "gsm8k/test_socratic.jsonl", 1319),
        ("math", "math/test.jsonl", 5000),
        ("svamp", "svamp/test.jsonl", 1000),
        ("asdiv", "asdiv/test.jsonl", 2215),
        ("multiarith", "multiarith/test.jsonl", 600),
        ("drop", "drop/contrast_sets_test.json", 947),
        ("bamboogle", "bamboogle/bamboogle.json", 125),
        ("strategyqa", "strategyqa/train.json", 2061),
        ("strategyqa", "strategyqa/dev.json", 229),
    ],
)
def test_published_files_are_read_whole_and_their_gold_answers_are_right(name: Name, file: str, questions: int) -> None:
    found = sources.load(sources.PublishedSource(source=name, path=SHARED / file))
    assert len(found) == questions
    wrong = [q.answer for q, v in zip(found, grade((q.answer, q) for q in found), strict=True) if v != "right"]
    assert wrong == []
    if name in ("bamboogle", "strategyqa") or "socratic" in file:
        assert all(question.subquestions for question in found)
