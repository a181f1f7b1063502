"""When two answers are one."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divcon.core.errors import ConfigError
from divcon.solve import GRADERS
from divcon.solve.grading.extract import extract
from divcon.solve.grading.grade import MATH, classify, grade, grader_of
from divcon.solve.grading.numbers import canonical
from divcon.solve.grading.values import differ
from divcon.tasks import Question

from ...paths import ROOT

TESTS = ROOT / "tests"


def rows(name: str) -> list[list[str]]:
    """Grader, verdict, gold answer, and an answer or a whole reply."""
    lines = (TESTS / name).read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


ANSWERS, REPLIES = rows("answers.tsv"), rows("replies.tsv")

numbers = st.fractions(max_denominator=60).filter(lambda value: abs(value) < 10**6)
letters = st.sampled_from("abxyn")
closed_forms = st.recursive(
    st.integers(0, 20).map(str) | letters | st.just("\\pi"),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda ab: f"\\frac{{{ab[0]}}}{{{ab[1]}}}"),
        st.tuples(inner, inner).map(lambda ab: f"({ab[0]} + {ab[1]})"),
        st.tuples(inner, inner).map(lambda ab: f"{ab[0]} \\cdot {ab[1]}"),
        inner.map(lambda a: f"\\sqrt{{{a}}}"),
    ),
    max_leaves=4,
)


def question(gold: str, grader: str) -> Question:
    return Question("1", "?", gold, grader=next(name for name in GRADERS if name == grader))


def test_every_answer_of_the_table_gets_its_verdict() -> None:
    asked = [(answer or None, question(gold, grader)) for grader, _, gold, answer in ANSWERS]
    got = [[a[0], verdict, *a[2:]] for a, verdict in zip(ANSWERS, grade(asked), strict=True)]
    assert got == ANSWERS and len(ANSWERS) >= 900


def test_every_reply_of_the_table_gets_its_verdict() -> None:
    questions = [question(gold, grader) for grader, _, gold, _ in REPLIES]
    asked = [
        (extract(reply.replace("\\n", "\n"), pattern=grader_of(of).pattern), of)
        for (*_, reply), of in zip(REPLIES, questions, strict=True)
    ]
    got = [[r[0], verdict, *r[2:]] for r, verdict in zip(REPLIES, grade(asked), strict=True)]
    assert got == REPLIES


@pytest.mark.parametrize("name", ["answers.tsv", "replies.tsv"])
def test_a_kind_has_right_and_wrong_answers(name: str) -> None:
    found: dict[str, Counter[bool]] = {}
    for line in (TESTS / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("# kind: "):
            counted = found.setdefault(line.removeprefix("# kind: "), Counter())
        elif found:
            counted[line.split("\t")[1] == "right"] += 1
    assert len(found) >= 5
    assert {kind for kind, of in found.items() if min(of[True], of[False]) < 6} == set()


def test_equality_is_symmetric_on_every_answer_of_the_table() -> None:
    for name, grader in GRADERS.items():
        pairs = [(gold, answer) for of, _, gold, answer in ANSWERS if of == name and answer]
        assert grader.same(pairs) == grader.same([(b, a) for a, b in pairs])


@pytest.mark.parametrize("grader", GRADERS.values(), ids=GRADERS)
def test_no_answer_is_unreadable_and_no_text_too_strange(grader: object) -> None:
    rule = next(rule for rule in GRADERS.values() if rule is grader)
    for answer in (None, "", "9" * 5000, "x" * 10**6, "(" * 40, "a\x00b", "\ud800", "\x1b[31m"):
        assert rule(answer, "18") == "unreadable"
        assert rule(answer, answer or "") == "unreadable"


@given(st.integers(-(10**9), 10**9))
def test_dressing_does_not_change_a_number(value: int) -> None:
    spellings = [f"{value}", f"{value:,}", f"{value}.0", f"{value}.", f" {value} apples", f"{value * 2}/2"]
    assert {canonical(text) for text in spellings} == {str(value)}
    assert {MATH.normalise(text) for text in spellings} == {str(value)}


@given(numbers)
def test_a_number_is_itself_in_every_dress(value: Fraction) -> None:
    above, _, below = str(value).lstrip("-").partition("/")
    latex = f"{'-' if value < 0 else ''}\\frac{{{above}}}{{{below or 1}}}"
    for dressed in (latex, latex.replace("frac", "dfrac"), f" {latex} .", f"\\displaystyle {latex}", f"${latex}$"):
        assert MATH.normalise(dressed) == str(value)
    for dressed in (f"{latex}\\text{{ cm}}", f"{latex}^\\circ", f"\\${latex}", f"{latex}\\%"):
        assert MATH(dressed, str(value)) == "right"


@given(st.text(max_size=200))
def test_a_readable_answer_equals_itself(text: str) -> None:
    for grader in GRADERS.values():
        assert grader(text, text) == ("right" if grader.spelling(text) else "unreadable")


@settings(max_examples=40)
@given(st.lists(closed_forms, min_size=2, max_size=5))
def test_equality_is_symmetric_and_blind_to_spaces(forms: list[str]) -> None:
    pairs = [(a, b) for a in forms for b in forms]
    same = MATH.same(pairs)
    assert same == MATH.same([(b, a) for a, b in pairs])
    spaced = [(a.replace("{", " { ").replace("+", "  +  "), b.replace("\\cdot", " \\cdot\\, ")) for a, b in pairs]
    assert same == MATH.same(spaced)


@given(st.text(max_size=40), st.text(max_size=40))
def test_spelled_equality_is_symmetric(a: str, b: str) -> None:
    for name in ("number", "hendrycks", "choice", "yes-no", "phrase", "drop"):
        assert GRADERS[name].same([(a, b)]) == GRADERS[name].same([(b, a)])


@given(closed_forms, st.integers(2, 9))
def test_values_never_tell_equal_expressions_apart(form: str, factor: int) -> None:
    for equal in (f"({form})", f"\\frac{{{factor} \\cdot ({form})}}{{{factor}}}", f"({form} + {factor}) - {factor}"):
        assert not differ(MATH.normalise(form), MATH.normalise(equal))


def test_a_question_may_have_several_right_answers() -> None:
    question = Question("1", "Who?", "Mark Twain", aliases=("Samuel Clemens",), grader="phrase")
    assert grade([("Samuel Clemens", question), ("mark twain", question), ("Twain", question)]) == [
        "right",
        "right",
        "wrong",
    ]


def test_a_gold_answer_that_says_nothing_leaves_it_open_and_a_wrong_grader_is_named() -> None:
    mute, fine = Question("1", "?", "7", grader="choice"), Question("2", "?", "C", grader="choice")
    assert grade([("C", mute), ("C", fine), ("B", fine)]) == ["unreadable", "right", "wrong"]
    with pytest.raises(ConfigError, match=r"no gold answer says anything to grader 'choice': that of 1 is '7'"):
        grade([("C", mute)])


def test_answers_vote_by_what_they_mean_whatever_the_order() -> None:
    answers = ["\\frac{1}{2}", "0.5", None, "\\frac{3}{4}", "\\frac{\\sqrt{4}}{4}", "3/4", "", "x"]
    for seed in range(5):
        order = random.Random(seed).sample(range(len(answers)), len(answers))
        (classes,) = classify([[answers[i] for i in order]], [MATH])
        of = dict(zip(order, classes, strict=True))
        assert of[0] == of[1] == of[4] != of[3] == of[5]
        assert of[2] is None and of[6] is None and of[7] not in (of[0], of[3], None)
