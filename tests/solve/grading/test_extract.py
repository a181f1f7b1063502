"""What is read out of real model outputs."""

from __future__ import annotations

import pytest

from divcon.solve import GRADERS
from divcon.solve.grading.extract import extract, splice


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("So he pays \\boxed{18} dollars.", "18"),
        ("First \\boxed{3}, but then \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("Thus, the answer is \\(\\boxed{72}\\).", "72"),
        ("The answer is: 18", "18"),
        ("The answer is 18.", "18"),
        ("**The answer is: $18.00**", "$18.00"),
        ("The answer is: \\[ 42 \\]", "42"),
        ("The answer is: The answer is: $60.", "$60"),
        ("The answer is 5.\nWait. The final answer is 7.", "7"),
        ("The answer is 2.5.", "2.5"),
        ("The answer is 18 dollars a day.", "18 dollars a day"),
        ("The answer is that Janet makes 18 dollars every day.", "18"),
        ("The answer is: yes", "yes"),
        ("She makes 9 * 2 = $<<9*2=18>>18 every day.\n#### 18", "18"),
        ("She makes 13 * 2 = $<<13*2=26>>26\nA: 26", "26"),
        ("it costs 2,74 $", "2,74"),
        ("He ran 1,200 metres.", "1,200"),
        ("That leaves -5 degrees", "-5"),
        ("so 3/4 of it", "3/4"),
        ("a total of 25% of them", "25%"),
        ("1. 4 * 10 = 40.\n2. 40 - 7 = 33.\nThe answer is 33.", "33"),
        ("The answer is: She has 5 apples", "5"),
        ("The answer is: x = 5", "5"),
        ("The answer is 3+4=7.", "7"),
        ("The answer is as follows: 18", "18"),
        ("The answer is: John has 12.", "12"),
        ("The answer is about $18", "$18"),
        ("The answer is: **18** apples", "18 apples"),
        ("**Final Answer:** 18", "18"),
        ("The answer is: $1,800$", "1,800"),
        ("The answer is\n18", "18"),
        ("In all she earned $1,000, which is a lot.", "$1,000"),
        ("The answer is \\frac{3}{4}.", "\\frac{3}{4}"),
        ("The answer is $x = \\frac{3}{4}$.", "x = \\frac{3}{4}"),
        ("The answer is $3\\sqrt{2}\\text{ cm}$.", "3\\sqrt{2}\\text{ cm}"),
        ("The answer is $2\\sqrt{2}$ units.", "2\\sqrt{2}"),
        ("The answer is:\n\\[\n5\n\\]", "5"),
        ("The answer is $\\$40$.", "\\$40"),
        ("The answer is \\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}.", "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}"),
        ("The answer is y = 2x + 3.", "y = 2x + 3"),
        ("The answer is x = 5 or x = 6.", "x = 5 or x = 6"),
        ("The answer is negative 5.", "negative 5"),
        ("The answer is: she paid $5 and got $3 back, so $2.", "$2"),
        ("The correct answer is 18.", "18"),
        ("Answer: 18", "18"),
        ("I cannot tell.", None),
        ("", None),
        ("The answer is", None),
        ("\\boxed{", None),
        ("\\boxed{}", None),
    ],
)
def test_reads(text: str, answer: str | None) -> None:
    assert extract(text) == answer


def test_a_spliced_solution_ends_in_the_new_answer() -> None:
    assert splice("1. 4 * 10 = 41.\nThe answer is 41.", "40") == "1. 4 * 10 = 41.\nThe answer is 40."


def test_a_text_that_was_cut_off_has_no_last_word() -> None:
    assert extract("1. 4 * 10 = 40.\n2. 40 -", cut=True) is None
    assert extract("The answer is 33. Then she", cut=True) == "33"


def test_splicing_changes_the_answer_and_no_other_number() -> None:
    assert splice("So \\boxed{4}. That is all in 24 hours.", "6") == "So \\boxed{6}. That is all in 24 hours."
    assert splice("18 at first. The answer is $18. She had 18.", "20") == "18 at first. The answer is 20. She had 18."


def test_splicing_the_same_answer_changes_nothing() -> None:
    assert splice("The answer is 40.", "40") == "The answer is 40."


@pytest.mark.parametrize(
    ("grader", "text", "verdict"),
    [
        ("choice", "So the correct answer is B.", "right"),
        ("choice", "Option 2 fits: (B)", "right"),
        ("choice", "The answer is (B), not (A).", "right"),
        ("choice", "The answer is not (B).", "unreadable"),
        ("choice", "The answer is A or B", "unreadable"),
        ("choice", "There are 2 of them.", "unreadable"),
        ("yes-no", "\\boxed{\\text{Yes}}", "right"),
        ("yes-no", "The answer is likely yes.", "right"),
        ("yes-no", "A pear weighs 200 g. So yes.", "right"),
        ("yes-no", "There is no doubt.", "unreadable"),
        ("yes-no", "No, it is lighter.", "wrong"),
        ("phrase", "The answer is J. R. R. Tolkien. He was born in 1892.", "wrong"),
        ("phrase", "The answer is yes. It was so.", "right"),
    ],
)
def test_from_a_whole_solution_to_a_verdict(grader: str, text: str, verdict: str) -> None:
    rule = next(rule for name, rule in GRADERS.items() if name == grader)
    gold = {"choice": "B", "yes-no": "yes", "phrase": "Yes"}[grader]
    assert rule(extract(text, pattern=rule.pattern), gold) == verdict
