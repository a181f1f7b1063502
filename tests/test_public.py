"""What `import divcon` offers: nouns and the calls that return them, each imported when it is used."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from matplotlib.figure import Figure

import divcon
from divcon import Decomposition, Question, Solution, Usage
from divcon.core.errors import ConfigError
from divcon.distill.student import FACTS
from divcon.lm.cost.prices import Price
from divcon.tasks.miniature import questions

from .paths import ROOT

FROZEN = ROOT / "tests" / "frozen" / "miniature"


def test_every_exported_name_is_there_and_no_other() -> None:
    for name in divcon.__all__:
        found = getattr(divcon, name)
        assert found is not None and not isinstance(found, ModuleType), f"a module hides {name}"
    assert dir(divcon) == sorted(divcon.__all__) and len(divcon.__all__) <= 22
    with pytest.raises(AttributeError, match="no attribute 'list_methods'"):
        divcon.list_methods  # noqa: B018


@pytest.mark.parametrize(
    "name", ["collect", "decomposer", "distill_student", "evaluate", "plan", "plug", "study", "wrap"]
)
def test_every_call_says_what_it_raises(name: str) -> None:
    assert "Raises ConfigError" in " ".join(getattr(divcon, name).__doc__.split())


@pytest.mark.parametrize("name", ["decomposer", "plug", "Question", "methods", "evaluate"])
def test_a_name_loads_what_it_needs_and_no_more(name: str) -> None:
    code = f"import sys, divcon; divcon.{name}; print(*{{m.partition('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True)
    heavy = {"matplotlib", "pyarrow", "openai", "torch"}
    assert not heavy & set(done.stdout.split())


QUESTIONS = [Question("a", "2 pears and 2 pears. How many?", "4"), Question("b", "1 pear and 4 pears. How many?", "5")]


def sentences(questions: Sequence[Question]) -> list[Decomposition]:
    return [Decomposition(("How many at first?", "How many in all?"), "asked") for _ in questions]


def last_number(questions: Sequence[Question], decompositions: Sequence[Decomposition]) -> list[list[Solution]]:
    return [[Solution.read(f"With {len(d.subquestions)} steps: the answer is 4.")] for d in decompositions]


def test_functions_of_ones_own_are_evaluated_and_compared() -> None:
    found = divcon.evaluate(QUESTIONS, {"none": None, "mine": sentences}, {"last number": last_number})
    accuracies = {cell.pair: sum(rows.credits) / len(rows) for cell, rows in found.by_cell.items()}
    assert accuracies == {"none → last number": 0.5, "mine → last number": 0.5}
    assert (
        found[0].solutions == ("With 0 steps: the answer is 4.",) and found[2].subquestions[0] == "How many at first?"
    )
    assert {row.solve.flops for row in found} == {None}  # nobody said how large anything is


def test_what_models_cost_can_be_told() -> None:
    def asks(questions: Sequence[Question]) -> list[Decomposition]:
        return [Decomposition(("How many?",), "asked", "1. How many?", Usage(10, 5)) for _ in questions]

    price = Price(prompt=1.0, completion=2.0)
    told = {"parameters": {"mine": 100.0}, "prices": {"mine": price}}
    found = divcon.evaluate({"pears": QUESTIONS}, {"mine": asks}, {"last number": last_number}, **told)  # type: ignore[arg-type]
    assert found.tests == ["pears"] and found[0].decompose.dollars == pytest.approx(20e-6)
    assert found[0].decompose.flops == 2 * 100 * 15
    mean = divcon.summarize(found)[0]
    assert mean.accuracy.value == 0.5 and mean.decompose.dollars == pytest.approx(20e-6) and mean.dollars is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"vote": "best"}, "no vote"),
        ({"vote": "sc@5"}, "returned 1 samples, and the vote is over 5"),
        ({"tests": ["How many?"]}, "tests are questions"),
        ({"tests": {"pears": [*QUESTIONS, QUESTIONS[0]]}}, "two questions of 'pears' have the id 'a'"),
        ({"decomposers": {"gold": sentences}}, "cannot be called 'gold'"),
        ({"decomposers": {"mine": lambda questions: ["How?"]}}, "must return a divcon.Decomposition for each question"),
        ({"solvers": {"mine": lambda questions, made: ["4"] * 2}}, "must return a list of divcon.Solution"),
    ],
)
def test_what_cannot_be_evaluated_is_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    usual = {"tests": QUESTIONS, "decomposers": {"mine": sentences}, "solvers": {"last number": last_number}}
    with pytest.raises(ConfigError, match=sentence):
        divcon.evaluate(**(usual | changes))


def test_questions_may_be_drawn_from_an_iterator_and_sub_questions_be_a_list() -> None:
    def asks(questions: Sequence[Question]) -> list[Decomposition]:
        return [Decomposition(["How many?"], "asked") for _ in questions]  # type: ignore[arg-type]  # as people write it

    found = divcon.evaluate(iter(QUESTIONS), {"mine": asks}, {"last number": last_number})
    assert len({*found}) == 2 and found[0].subquestions == ("How many?",)


def test_a_run_is_values(tmp_path: Path) -> None:
    run = divcon.Run(FROZEN)
    assert run.study.seed == 0 and len(run.results) == sum(map(len, run.results.by_cell.values()))
    line = run.summary()[0]
    assert 0 <= line.accuracy.low <= line.accuracy.value <= line.accuracy.high <= 1
    found = run.compare("none:llm:greedy", "llm:llm:greedy")
    assert found.questions == line.questions and found.difference.low <= found.difference.value
    assert isinstance(run.figure("accuracy_cost"), Figure)
    with pytest.raises(ConfigError, match="no figure 'pie'"):
        run.figure("pie")
    with pytest.raises(ConfigError, match="is not a run directory"):
        divcon.Run(tmp_path)
    assert all((student.path / FACTS).is_file() for student in run.students.values())


@pytest.mark.model
def test_a_decomposer_alone_gives_sub_questions_a_prompt_and_its_cost() -> None:
    decomposer = divcon.decomposer("miniature/llm", options={"prompt": "miniature/decompose"})
    priced = {"price": {"second": 2.0, "exaflop": 1e6}, "prompt": "miniature/decompose"}
    paid = divcon.decomposer("miniature/llm", options=priced)("Mia has 4 crates of pears. How many pears are there?")
    assert paid.flops and paid.dollars == pytest.approx(2 * paid.usage.seconds + paid.flops / 1e12)
    asked = questions("known-known", 3, seed=1)
    first, *_ = decomposer.many([question.text for question in asked])
    assert first.kind == "asked" and first.subquestions == asked[0].subquestions
    assert first.question in first.prompt and all(subquestion in first.prompt for subquestion in first.subquestions)
    assert first.usage.completion_tokens > 0 and first.flops and first.flops > 1e6 and first.dollars is None
    again = decomposer(asked[0].text)
    assert (again.subquestions, again.usage, again.flops) == (first.subquestions, Usage(), 0.0)
    with pytest.raises(ConfigError, match="the question is empty"):
        decomposer(" ")
    with pytest.raises(ConfigError, match="more than 100 characters"):
        divcon.decomposer("miniature/llm", options={"max_question_chars": 100})("pear " * 50)


def test_methods_are_values_by_name() -> None:
    assert divcon.methods["nat"].output == "nat" and divcon.methods["nat-positive"].control_of == "nat"
