"""When two answers are one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divcon.solve import GRADERS, canonical, grade


@pytest.mark.parametrize(
    ("answer", "gold", "verdict"),
    [
        ("18", "18", "right"),
        ("$18.00", "18", "right"),
        ("1,000", "1000", "right"),
        ("1,000,000 dollars", "1000000", "right"),
        ("18 dollars a day", "18", "right"),
        ("-5", "\N{MINUS SIGN}5", "right"),
        ("0.5", "1/2", "right"),
        ("2/4", "1/2", "right"),
        ("25%", "25", "right"),
        ("18\\text{ dollars}", "18", "right"),
        ("1,800$", "1800", "right"),
        ("\\$70{,}000", "70000", "right"),
        ("1,\\!800", "1800", "right"),
        ("540 meters/week", "540", "right"),
        ("$18/day", "18", "right"),
        ("18 (eighteen)", "18", "right"),
        ("\\frac{1}{2}", "0.5", "right"),
        ("\\frac12", "1/2", "right"),
        ("18 (not 19)", "18", "wrong"),
        ("Yes.", "yes", "right"),
        (" New   York ", "new york", "right"),
        ("19", "18", "wrong"),
        ("1/0", "0", "wrong"),
        ("18 or 19", "18", "wrong"),
        ("eighteen", "18", "wrong"),
        ("9" * 5000, "9", "wrong"),
        (None, "18", "unreadable"),
    ],
)
def test_grades(answer: str | None, gold: str, verdict: str) -> None:
    assert grade(answer, gold) == verdict


@given(st.integers(-(10**9), 10**9))
def test_dressing_does_not_change_a_number(value: int) -> None:
    spellings = [f"{value}", f"{value:,}", f"{value}.0", f"{value}.", f" {value} apples", f"{value * 2}/2"]
    assert {canonical(text) for text in spellings} == {str(value)}


@given(st.text(max_size=200))
def test_an_answer_equals_itself(text: str) -> None:
    assert grade(text, text) == "right"


@given(st.text(max_size=40), st.text(max_size=40))
def test_equality_is_symmetric(a: str, b: str) -> None:
    assert grade(a, b) == grade(b, a)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("\\frac12", "\\frac{1}{2}"),
        ("\\dfrac{1}{2}", "\\frac{1}{2}"),
        ("1/2", "\\frac{1}{2}"),
        ("0.5", "\\frac{1}{2}"),
        (".5", "0.5"),
        ("x = 5", "5"),
        ("5\\text{ cm}", "5"),
        ("\\$18", "18"),
        ("25\\%", "25"),
        ("90^\\circ", "90"),
        ("\\sqrt3", "\\sqrt{3}"),
        ("\\left(1, 2\\right)", "(1,2)"),
    ],
)
def test_the_string_rule_for_math(answer: str, gold: str) -> None:
    assert GRADERS["hendrycks"](answer, gold) == "right"


@pytest.mark.parametrize(("answer", "gold"), [("\\frac{2}{4}", "\\frac{1}{2}"), ("1,000", "1000"), ("5 cm", "5")])
def test_the_string_rule_is_blind_to_mathematics(answer: str, gold: str) -> None:
    assert GRADERS["hendrycks"](answer, gold) == "wrong"
