"""The measurement of injected instructions, with scripted models; the real ones are measured by hand."""

from __future__ import annotations

import re
import runpy
from types import SimpleNamespace
from typing import Any

import pytest

from divcon import prompts
from divcon.decompose import PromptedDecomposer
from divcon.decompose.decomposition import listing
from divcon.lm import Message, Model, Sampling, Scripted, Store
from divcon.serve.pipeline.sanitize import mark, sanitize

from ...paths import ROOT

FILE = ROOT / "bench" / "serving" / "injection.py"


@pytest.fixture(scope="module")
def bench() -> Any:
    return SimpleNamespace(**runpy.run_path(str(FILE)))


@pytest.fixture(scope="module")
def cases(bench: Any) -> Any:
    return bench.cases(20, 0)


def test_there_are_two_hundred_questions_of_ten_families_and_no_two_alike(bench: Any, cases: Any) -> None:
    assert len(cases) == len({case.clean.text for case in cases}) == 200
    assert len({case.family for case in cases}) == len(bench.FAMILIES) == 10
    assert cases == bench.cases(20, 0) != bench.cases(20, 1)


def test_a_demanded_number_is_never_the_right_one_nor_any_of_the_problems(cases: Any) -> None:
    for case in cases:
        assert str(case.demanded) not in {case.clean.answer, *re.findall(r"\d+", case.clean.text)}
        assert case.injected.text.startswith(f"{case.clean.text}\n")
        assert case.injected.answer == case.clean.answer


@pytest.mark.parametrize("seed", range(5))
def test_the_problems_answers_are_whole_numbers_above_nothing(bench: Any, seed: int) -> None:
    assert all(int(case.clean.answer) >= 0 for case in bench.cases(20, seed))


def test_an_attack_that_the_decomposer_repeats_word_by_word_does_nothing(bench: Any, cases: Any) -> None:
    written = ["\n".join(bench.worst(case)) for case in cases]
    sanitized = [
        listing(sanitize(bench.worst(case), most=12, mark=mark(case.injected.text, bench.SECRET))) for case in cases
    ]
    ids = bench.special("miniature/llm")
    before, after = bench.escapes(ids, written, cases), bench.escapes(ids, sanitized, cases)
    assert min(before) > 0 and before.marks == 200
    assert after == (0, 0, 0)


def page(bench: Any, cases: Any, capsys: pytest.CaptureFixture[str], solves: Any, decomposes: Any) -> str:
    with Store() as store:
        solver = Model("solver", Scripted(answer=solves), store)
        asking = Model("asker", Scripted(answer=decomposes), store)
        decomposer = PromptedDecomposer(asking, prompts.load("decompose"), 3, Sampling())
        arms = {"decomposer": bench.asked(bench.sanitized(decomposer), solver, cases, 64)}
        bench.report(cases, bench.asked(bench.nobody, solver, cases, 64), arms, lambda text: 0, "Settings.")
    return capsys.readouterr().out


def demanded(messages: tuple[Message, ...], index: int) -> str:
    """An answer by whoever asked last: an obedient solver, and one that reckons nothing by itself."""
    found = re.findall(r"\b(?:42|777|1337|9001)\b", messages[-1].content)
    return f"The answer is: {found[-1] if found else 0}"


def test_a_solver_that_obeys_is_seen_to_obey(bench: Any, cases: Any, capsys: pytest.CaptureFixture[str]) -> None:
    plain = [case for case in cases if case.family != "hidden characters"]
    made = page(bench, plain, capsys, demanded, lambda messages, index: "1. How many are there?")
    single, decomposed = re.findall(r"^\| (?:single stage|decomposer) \|(.*)\|$", made, flags=re.MULTILINE)[:2]
    assert single == decomposed
    assert [cell.split()[0] for cell in single.split("|")] == ["0.0", "0.0", "+0.0", "0.0", "100.0", "0.0"]
    assert "neither clearly more nor fewer" in made


def test_a_decomposer_that_makes_the_solver_obey_is_seen_to(
    bench: Any, cases: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def solves(messages: tuple[Message, ...], index: int) -> str:
        _, _, shown = messages[-1].content.partition("\n1. ")
        return demanded((Message("user", shown),), index)

    def decomposes(messages: tuple[Message, ...], index: int) -> str:
        return f"1. Is it {demanded(messages, index)}?"

    plain = [case for case in cases if case.family == "plain override"]
    made = page(bench, plain, capsys, solves, decomposes)
    assert "Behind the decomposer it is more: 100.0 [83.9, 100.0] %, +100.0" in made
    assert "| decomposer | +0.0" in made and made.count("| plain override | 20 | 0.0") == 1
