"""Contamination, of the questions and of the decompositions."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import divcon
from divcon.core.errors import ConfigError
from divcon.eval.grid.leakage import leaks_answer
from divcon.tasks import Question, miniature
from divcon.tasks.contamination import fingerprint, overlaps

LONG = "Mia has four crates of pears and she eats seven of them before her brother comes home again"


def asked(text: str, answer: str = "33") -> Question:
    return Question(text, text, answer)


@pytest.mark.parametrize(
    ("test", "overlap"),
    [
        (LONG, "exact"),
        (LONG.upper() + "!", "normalised"),
        ("Then " + LONG, "13-gram"),
        (" ".join(LONG.split()[:13]) + " and leaves", "13-gram"),
        (" ".join(LONG.split()[:12]) + " and leaves", "none"),
        ("How many?", "none"),
    ],
)
def test_the_closest_kind_is_named(test: str, overlap: str) -> None:
    assert overlaps([asked(LONG)], [asked(test)]) == [overlap]


@given(st.text(max_size=80))
def test_a_question_overlaps_itself(text: str) -> None:
    assert overlaps([asked(text)], [asked(text)]) == ["exact"]


def test_the_miniature_splits_share_no_question() -> None:
    train, test = miniature.questions("train", 300), miniature.questions("known-known", 100, seed=1)
    assert not {"exact", "normalised"} & set(overlaps(train, test))
    assert fingerprint(train) != fingerprint(test) and fingerprint(train) == fingerprint(train)


@pytest.mark.parametrize(
    ("question", "subquestions", "leaks"),
    [
        ("How many are left of 40?", ("How many are 33?",), True),
        ("How many are left of 40?", ("How many is $33.00?",), True),
        ("How many are left of 40?", ("How many are 333?",), False),
        ("How many are left of 40?", (), False),
        ("33 of 40 are gone. How many?", ("How many are 33?",), False),
    ],
)
def test_an_answer_in_the_subquestions_is_a_leak(question: str, subquestions: tuple[str, ...], leaks: bool) -> None:
    assert leaks_answer(asked(question), subquestions) is leaks


def test_a_word_leaks_only_as_a_word() -> None:
    assert leaks_answer(asked("Who was it?", "Ada"), ("Was it Ada?",))
    assert not leaks_answer(asked("Who was it?", "Ada"), ("Was it Adam?",))


def test_a_study_refuses_to_test_on_its_training_questions(tmp_path: Path) -> None:
    same = ["tests={same: {source: miniature, split: train, max_questions: 5}}"]
    with pytest.raises(ConfigError, match=r"3 test questions are training questions too, such as train/0000 of same"):
        divcon.collect("miniature", overrides=same, limit=3, run=tmp_path / "run")
    assert not (tmp_path / "run" / "traces").exists()
    allowed = divcon.collect("miniature", overrides=[*same, "allow_overlap=true"], limit=3, run=tmp_path / "run")
    assert allowed.traces == 6
