"""Prompts tried on questions that neither teach nor test; and decomposers that mostly decline are said to."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from divcon import commands
from divcon.core.errors import ConfigError
from divcon.eval.analysis.declined import declined, warnings
from divcon.eval.grid.rows import Results
from divcon.lm import Model, Sampling, Store
from divcon.lm.engines.scripted import Scripted
from divcon.prompts import family, load
from divcon.solve.prompted import PromptedSolver
from divcon.studies.try_prompts import SINGLE_STAGE, TWO_STAGES, _validation
from divcon.tasks import Question
from divcon.tasks.sources import MiniatureSource
from tests.fakes.rows import row

from ..lm.api.test_engine import reply, serving
from ..paths import ROOT

FROZEN = ROOT / "tests" / "frozen" / "miniature" / "results.parquet"
QUESTIONS = [{"id": str(i), "question": f"Pear {i}: how many?", "answer": "18"} for i in range(12)]


def config(folder: Path, url: str, **more: Any) -> Path:
    questions, tests = folder / "questions.jsonl", folder / "tests.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS), encoding="utf-8")
    tests.write_text(json.dumps({"id": "t", "question": "A test?", "answer": "1"}) + "\n", encoding="utf-8")
    settings = {
        "train": {"source": "jsonl", "path": str(questions), "max_questions": 4},
        "tests": {"t": {"source": "jsonl", "path": str(tests)}},
        "llm": {"engine": "openai", "model": "m", "base_url": url},
        "student": {"engine": "transformers", "path": "miniature/base"},
        **more,
    }
    path = folder / "study.yaml"
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path


def answer(body: dict[str, Any], number: int) -> tuple[int, Any]:
    """Declines wherever it may; answers well only where it is to write everything down."""
    text = body["messages"][-1]["content"]
    if "Do not answer them" in text:
        return 200, reply("No decomposition." if "No decomposition" in text else "1. How many pears?")
    right = "write down every step" in text or "think each through in full" in text
    stated = r"\boxed{18}" if r"\boxed" in text else "The answer is: 18"
    return 200, reply(stated if right else "The answer is: 1")


def test_as_many_prompts_are_tried_for_one_stage_as_for_two() -> None:
    assert len(SINGLE_STAGE) == len(TWO_STAGES)
    for name in (*SINGLE_STAGE, *(name for pair in TWO_STAGES for name in pair)):
        assert load(name).text


def test_trials_are_measured_on_questions_that_teach_nothing(tmp_path: Path) -> None:
    with serving(answer) as (upstream, url):
        found = commands.try_prompts(config(tmp_path, url), n=6, run=tmp_path / "run")
        asked = len(upstream.bodies)
        again = commands.try_prompts(config(tmp_path, url), n=6, run=tmp_path / "run")
        assert len(upstream.bodies) == asked  # all of it is kept
    texts = " ".join(body["messages"][-1]["content"] for body in upstream.bodies)
    assert all((f"Pear {i}:" in texts) is (4 <= i < 10) for i in range(12)) and "A test?" not in texts
    assert str(found) == str(again)
    assert len(found.trials) == 8
    by_prompts = {trial.choice.prompts: trial for trial in found.trials}
    assert by_prompts["decompose", "solve"].declined == 6 and by_prompts["decompose-always", "solve"].declined == 0
    assert by_prompts["decompose-always", "solve-full"].accuracy.value == 1.0
    assert by_prompts[("cot-full-boxed",)].accuracy.value == 1.0 and by_prompts[("cot",)].accuracy.value == 0.0
    assert found.best["two stages"].choice.settings == "prompts: {decompose: decompose-always, solve: solve-full}"
    assert "100 %" in str(found) and "(best)" in str(found)
    assert (tmp_path / "run" / "prompts.md").read_text(encoding="utf-8") == f"{found}\n"


def test_the_chosen_prompts_are_measured_on_tests_that_did_not_choose_them(tmp_path: Path) -> None:
    with serving(answer) as (upstream, url):
        path = config(tmp_path, url)
        tests = [{"id": f"t{i}", "question": f"Test {i}?", "answer": "18" if i else "1"} for i in range(5)]
        (tmp_path / "tests.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tests), encoding="utf-8")
        found = commands.try_prompts(path, n=6, test=4, run=tmp_path / "run")
    texts = [body["messages"][-1]["content"] for body in upstream.bodies if "Test " in body["messages"][-1]["content"]]
    assert all(any(f"Test {i}?" in text for text in texts) is (i < 4) for i in range(5))
    assert len(texts) == 4 * 3  # a single stage, and two
    assert [(name, trial.choice) for name, trial in found.tested] == [
        ("t", trial.choice) for trial in found.best.values()
    ]
    assert {trial.accuracy.value for _, trial in found.tested} == {0.75}
    assert "t: two stages less a single stage +0.0" in str(found)


def test_more_questions_than_there_are_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the training source has 8 questions to try prompts on, and --n asks for 13"):
        commands.try_prompts(config(tmp_path, "http://127.0.0.1:9/v1"), n=13, run=tmp_path / "run")


def test_no_question_of_a_test_is_tried_however_it_is_spelled(tmp_path: Path) -> None:
    path = config(tmp_path, "")
    (tmp_path / "tests.jsonl").write_text(
        json.dumps(QUESTIONS[5] | {"question": "pear 5, HOW many?"}), encoding="utf-8"
    )
    with serving(answer) as (upstream, url):
        commands.try_prompts(path, n=6, run=tmp_path / "run", overrides=[f"llm.base_url={url}"])
    texts = " ".join(body["messages"][-1]["content"] for body in upstream.bodies)
    assert [i for i in range(12) if f"Pear {i}:" in texts] == [4, 6, 7, 8, 9, 10]


def test_questions_that_are_learned_from_are_said_to_be_where_there_are_no_others(tmp_path: Path) -> None:
    with serving(answer) as (_, url):
        path = config(tmp_path, url, train={"source": "jsonl", "path": str(tmp_path / "questions.jsonl")})
        found = commands.try_prompts(path, n=6, run=tmp_path / "run")
    assert found.are_of_training and "questions that the study learns from" in str(found)


def test_a_source_without_end_is_read_as_far_as_it_is_needed() -> None:
    source = MiniatureSource(source="miniature", split="train", max_questions=30)
    run = SimpleNamespace(study=SimpleNamespace(train=source), questions=SimpleNamespace(tests={}))
    chosen, are_of_training = _validation(run, 20)  # type: ignore[arg-type]
    assert len(chosen) == 20 and not are_of_training
    assert not {question.prompt for question in chosen} & {question.prompt for question in source.load()}


def test_requests_that_fail_for_good_are_unknown_and_not_wrong(tmp_path: Path) -> None:
    def refusing(body: dict[str, Any], number: int) -> tuple[int, Any]:
        text = body["messages"][-1]["content"]
        return (400, {"error": {"message": "too long"}}) if "Pear 5:" in text else answer(body, number)

    with serving(refusing) as (upstream, url):
        path = config(tmp_path, url)
        found = commands.try_prompts(path, n=6, run=tmp_path / "run", overrides=["llm.max_failures=0.2"])
    assert all((trial.questions, trial.unknown) == (5, 1) for trial in found.trials)
    assert {trial.accuracy.value for trial in found.trials if trial.choice.prompts == ("cot-full",)} == {1.0}
    assert "unknown" in str(found)
    solved = [body for body in upstream.bodies if "Pear 5:" in body["messages"][-1]["content"]]
    assert len(solved) == len(SINGLE_STAGE) + len(
        {decompose for decompose, _ in TWO_STAGES}
    )  # no solver is asked to follow a plan that failed


def test_worked_examples_state_their_answers_as_the_prompt_wants_them() -> None:
    example = Question("e", "How many?", "75", solution="60 + 15 = 75\nThe answer is: 75", subquestions=("Why?",))
    with Store() as store:
        model = Model("m", Scripted(), store)
        for name, ending in (("cot", "The answer is: 75"), ("cot-boxed", r"\boxed{75}")):
            solver = PromptedSolver(model, family(single_stage=name), Sampling(), examples=(example,))
            assert solver.request(Question("q", "And now?", ""), ()).messages[1].content == f"60 + 15 = 75\n{ending}"


def rows(kinds: dict[str, int]) -> Results:
    every = [kind for kind, count in kinds.items() for _ in range(count)]
    return Results(row(id=str(i), decomposition_kind=kind) for i, kind in enumerate(every))


@pytest.mark.parametrize(
    ("kinds", "warned"),
    [
        ({"asked": 5, "not needed": 5}, []),
        ({"asked": 4, "not needed": 6}, ["declined 6 of 10"]),
        ({"asked": 8, "unreadable": 2}, []),
        ({"asked": 7, "unreadable": 3}, ["3 of 10 decompositions of llm could not be read"]),
        ({"not needed": 6, "unreadable": 4}, ["declined 6 of 10", "4 of 10 decompositions of llm could not be read"]),
        ({"not tried": 10}, []),
    ],
)
def test_a_decomposer_that_mostly_does_not_decompose_is_warned_of(kinds: dict[str, int], warned: list[str]) -> None:
    found = warnings(rows(kinds))
    assert len(found) == len(warned) and all(part in one for part, one in zip(warned, found, strict=True))
    assert declined(rows(kinds)) == [] or declined(rows(kinds))[0].asked == 10
