"""Questions from files."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest

from divcon.core import tables
from divcon.core.errors import ConfigError
from divcon.solve import grade
from divcon.solve.grading.grade import refuse_unreadable_gold
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
        ({"question": "?", "answer": {}}, "mine.jsonl:2: 'answer' is not text"),
        ('{"question": "?", "answer": NaN}', "mine.jsonl:2: 'answer' is nan, which is no number"),
        ('{"question": "?", "answer": -Infinity}', "mine.jsonl:2: 'answer' is -inf, which is no number"),
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
    def source(path: Path) -> sources.FileSource:
        return sources.FileSource(source="file", path=path)

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
    (question,) = sources.load(sources.FileSource(source="file", path=path, grader="hendrycks"))
    assert question.grader == "hendrycks"


# -- kinds of files ----------------------------------------------------------------------------------------------------

ROWS: list[dict[str, object]] = [
    {"q": "What is 1 + 1?", "a": "2", "options": ["2", "3"], "level": "easy"},
    {"q": "What is 2 + 2?", "a": "4", "options": ["5", "4"], "level": "hard"},
]


def saved(folder: Path, kind: str) -> Path:
    """The rows in a file, or a folder, of a kind."""
    import pyarrow as pa
    from datasets import Dataset, DatasetDict
    from pyarrow import parquet

    path = folder / f"mine.{kind}"
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    table = pa.Table.from_pylist(ROWS)
    if kind == "jsonl":
        path.write_text("\ufeff" + lines, encoding="utf-8")  # with a byte-order mark, as some editors write it
    elif kind == "jsonl.gz":
        path.write_bytes(gzip.compress(lines.encode()))
    elif kind == "jsonl.zst":
        with pa.output_stream(str(path), compression="zstd") as stream:
            stream.write(lines.encode())
    elif kind == "json":
        path.write_text(json.dumps({"data": ROWS}), encoding="utf-8")
    elif kind in ("csv", "tsv"):
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file, delimiter="," if kind == "csv" else "\t")
            writer.writerow(ROWS[0])
            writer.writerows([row["q"], row["a"], json.dumps(row["options"]), row["level"]] for row in ROWS)
    elif kind == "parquet":
        parquet.write_table(table, path)
    elif kind == "arrow":
        with pa.ipc.new_file(path, table.schema) as out:
            out.write_table(table)
    elif kind == "folder":
        Dataset.from_list(ROWS).save_to_disk(str(path))
    else:
        DatasetDict({"train": Dataset.from_list(ROWS[:1]), "test": Dataset.from_list(ROWS)}).save_to_disk(str(path))
    return path


KINDS = ("jsonl", "jsonl.gz", "jsonl.zst", "json", "csv", "tsv", "parquet", "arrow", "folder", "splits")
COLUMNS = {"question": "q", "answer": "a", "choices": "options"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_questions_come_from_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path, kind)
    split = "test" if kind == "splits" else None
    source = sources.FileSource.model_validate({"source": "file", "path": path, "columns": COLUMNS, "split": split})
    found = sources.load(source)
    assert [(q.text, q.answer, q.choices, dict(q.tags), q.grader) for q in found] == [
        ("What is 1 + 1?", "A", ("2", "3"), {"level": "easy"}, "choice"),
        ("What is 2 + 2?", "B", ("5", "4"), {"level": "hard"}, "choice"),
    ]
    rest = sources.load(source.model_copy(update={"skip": 1}))
    assert [q.text for q in rest] == ["What is 2 + 2?"] and rest[0].id == found[1].id


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("mine.xlsx", b"PK", r"cannot tell what kind of file .*mine\.xlsx is; accepted are \.jsonl"),
        ("mine.parquet", b"no", r"mine\.parquet is not a parquet file"),
        ("mine.arrow", b"no", r"mine\.arrow is not a arrow file|mine\.arrow is not an arrow file"),
        ("mine.csv", b"q,a\n1,2,3\n", r"mine\.csv:2 has 3 cells, and the header 2"),
        ("mine.csv", b"q,q\n1,2\n", r"two columns are named 'q'"),
        ("mine.csv", b'q,a\n"1,2\n', r"is not CSV"),
        ("mine.csv", "q,a\n\xe9,2\n".encode("latin-1"), r"is not UTF-8"),
        ("mine.jsonl.gz", b"no", r"cannot read .*mine\.jsonl\.gz"),
        ("mine.jsonl.zst", b"no", r"cannot read .*mine\.jsonl\.zst"),
        ("mine.json", b"3", r"is not a JSON list of objects"),
    ],
)
def test_an_unreadable_file_says_what_is_wrong(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        own.read(tmp_path / name)


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    path = written(tmp_path / "mine.jsonl", {"q": "?", "answer": "7"})
    with pytest.raises(ConfigError, match=r"mine\.jsonl:1 has no 'question'; name its column.* 'q', 'answer'"):
        own.read(path)
    with pytest.raises(ConfigError, match=r"has no column 'problem' \(columns.question\); it has 'q', 'answer'"):
        own.read(path, {"question": "problem"})


def test_a_selection_that_save_to_disk_wrote_is_read_as_selected(tmp_path: Path) -> None:
    from datasets import Dataset

    Dataset.from_list(ROWS).select([1]).save_to_disk(str(tmp_path / "some"))
    assert [row for _, row in tables.rows(tmp_path / "some")] == ROWS[1:2]


def test_a_folder_of_several_splits_wants_one(tmp_path: Path) -> None:
    path = saved(tmp_path, "splits")
    with pytest.raises(ConfigError, match="give split: test or train"):
        own.read(path, {"question": "q", "answer": "a"})
    with pytest.raises(ConfigError, match="has no split 'dev'; it has test, train"):
        own.read(path, {"question": "q", "answer": "a"}, "dev")


@pytest.mark.parametrize(
    ("row", "answer", "choices"),
    [
        ({"choices": ["pear", "fig"], "answer": "fig"}, "B", ("pear", "fig")),
        ({"choices": ["pear", "fig"], "answer": "(b)"}, "B", ("pear", "fig")),
        ({"choices": ["A) pear", "B) fig"], "answer": "A"}, "A", ("pear", "fig")),
        ({"choices": {"text": ["pear", "fig"], "label": ["1", "2"]}, "answer": "2"}, "B", ("pear", "fig")),
        ({"choices": {"A": "pear", "B": "fig"}, "answer": "B"}, "B", ("pear", "fig")),
    ],
)
def test_the_right_choice_is_a_letter_however_it_is_given(
    tmp_path: Path, row: dict[str, object], answer: str, choices: tuple[str, ...]
) -> None:
    (question,) = own.read(written(tmp_path / "mine.jsonl", {"question": "Which?", **row}))
    assert (question.answer, question.choices, question.grader) == (answer, choices, "choice")
    assert question.prompt == "Which?\n\nA) pear\nB) fig"
    assert question.values("{question} {choices}") == {"question": "Which?", "choices": "A) pear\nB) fig"}
    assert grade([("fig", question), ("(C)", question)]) == ["right" if answer == "B" else "wrong", "unreadable"]


def test_a_choice_that_is_none_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "mine.jsonl", {"question": "Which?", "choices": ["pear", "fig"], "answer": "plum"})
    with pytest.raises(ConfigError, match=r"mine\.jsonl:1: the answer 'plum' is none of the 2 choices"):
        own.read(path)


def test_true_is_an_answer_and_so_are_numbers_as_json_prints_them(tmp_path: Path) -> None:
    rows = [{"question": "Is it?", "answer": True}, {"question": "How many?", "answer": 1e20}]
    yes, many = own.read(written(tmp_path / "mine.jsonl", *rows))
    assert (yes.answer, yes.grader) == ("true", "yes-no")
    assert grade([("Yes, it is.", yes), ("100000000000000000000", many)]) == ["right", "right"]


def test_the_answer_may_stand_in_the_solution(tmp_path: Path) -> None:
    rows = [
        {"question": "?", "worked": "So \\boxed{7}."},
        {"question": "?", "worked": "3 + 4 = 7\n#### 7"},
        {"question": "?", "worked": "The answer is 7."},
    ]
    path = written(tmp_path / "mine.jsonl", *rows)
    assert [q.answer for q in own.read(path, {"solution": "worked"})] == ["7", "7", "7"]


@pytest.mark.parametrize(
    ("row", "grader", "message"),
    [
        ({"answer": "maybe"}, "yes-no", r"mine\.jsonl:2: no answer can match 'maybe': grader 'yes-no' reads yes or no"),
        ({"answer": "NaN"}, "number", r"mine\.jsonl:2: the answer 'NaN' is no number"),
        ({"answer": "-inf"}, "math", r"mine\.jsonl:2: the answer '-inf' is no number"),
        ({"answer": "neither"}, "choice", r"mine\.jsonl:2: no answer can match 'neither'"),
        ({"answer": "9" * 3000}, "math", r"mine\.jsonl:2: no answer can match"),
    ],
)
def test_a_gold_answer_that_nothing_can_match_is_named(
    tmp_path: Path, row: dict[str, object], grader: str, message: str
) -> None:
    fine = {"yes-no": "yes", "choice": "B"}.get(grader, "7")
    path = written(tmp_path / "mine.jsonl", {"question": "a?", "answer": fine}, {"question": "b?", **row})
    source = sources.FileSource.model_validate({"source": "file", "path": path, "grader": grader})
    with pytest.raises(ConfigError, match=message):
        refuse_unreadable_gold(sources.load(source))


def test_two_questions_of_one_id_are_named_with_their_lines(tmp_path: Path) -> None:
    twice = {"id": "x", "question": "?", "answer": "7"}
    with pytest.raises(ConfigError, match=r"the same id 'x': .*twice\.jsonl:1 and .*twice\.jsonl:2"):
        sources.load(sources.FileSource(source="file", path=written(tmp_path / "twice.jsonl", twice, twice)))


def test_a_tag_breaks_a_test_down_into_tests_of_their_own(tmp_path: Path) -> None:
    rows = [{"question": f"{i}?", "answer": i, "level": ("easy", "hard")[i % 2]} for i in range(5)]
    path = written(tmp_path / "mine.jsonl", *rows)
    source = sources.FileSource.model_validate({"source": "file", "path": path, "breakdown": "tags.level"})
    tests = source.tests("mine", sources.load(source))
    assert {name: len(questions) for name, questions in tests.items()} == {
        "mine, level: easy": 3,
        "mine, level: hard": 2,
    }
    with pytest.raises(ConfigError, match=r"breakdown tags\.kind: mine/1 of mine has level: easy"):
        source.model_copy(update={"breakdown": "tags.kind"}).tests("mine", sources.load(source))


def test_a_data_set_of_the_hub_is_asked_for_by_name_split_and_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def load_dataset(name: str, config: str | None, *, split: str, revision: str) -> list[dict[str, object]]:
        asked.append((name, config, split, revision))
        return ROWS

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    settings = {"source": "hub", "name": "o/n", "revision": "abc", "split": "dev", "config": "c", "columns": COLUMNS}
    source = sources.HubSource.model_validate({**settings, "max_questions": 1})
    (question,) = sources.load(source)
    assert asked == [("o/n", "c", "dev", "abc")] and (question.id, question.answer) == ("dev/1", "A")
    assert source.origin() == {"hub": "o/n", "revision": "abc"}

    def refused(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("datasets.load_dataset", refused)
    with pytest.raises(ConfigError, match=r"cannot load o/n from the hub \(no network\); give the path of a file"):
        sources.load(source)
