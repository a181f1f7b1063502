"""Every provider's style of the API: a whole small study and a plugged decomposer through each.

The law: a model that thinks comes to what the same replies without its thoughts come to, and nobody is shown a thought.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai
import pytest

import divcon
from divcon import commands
from divcon.core.errors import ConfigError
from divcon.decompose import Decomposition
from divcon.decompose.decomposition import parse
from divcon.decompose.prompted import PromptedDecomposer
from divcon.distill.data.examples import for_decomposer, for_solver
from divcon.distill.traces import trace
from divcon.eval.grid import results
from divcon.eval.grid.rows import ResultRow, Results
from divcon.eval.run_dir import RunDirectory
from divcon.lm import Model, Sampling, Store
from divcon.lm.engines.scripted import Scripted
from divcon.lm.types import Usage
from divcon.prompts import family, load
from divcon.solve.prompted import PromptedSolver

from ..fakes.api_styles import KEY, STYLES, THOUGHT, Server, serving

QUESTIONS = [{"id": str(i), "question": f"There are {i} pears and {i} go. How many?", "answer": "0"} for i in range(3)]
THINKING = [name for name, style in STYLES.items() if style.thinks]


def compared(row: ResultRow) -> tuple[object, ...]:
    """What no style of API decides."""
    decomposition = (row.subquestions, row.decomposition, row.decomposition_kind)
    return row.cell, row.id, decomposition, row.solutions, row.answers, row.classes, row.verdicts, row.credit


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def config(folder: Path, server: Server, **llm: Any) -> Path:
    """A study of an API alone."""
    folder.mkdir(parents=True, exist_ok=True)
    questions = folder / "questions.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS), encoding="utf-8")
    settings = {
        "train": {"source": "jsonl", "path": str(questions)},
        "tests": {"pears": {"source": "jsonl", "path": str(questions)}},
        "llm": {"engine": "openai", "model": "m", "base_url": server.url, **server.style.settings, **llm},
        "student": {"engine": "transformers", "path": "miniature/base"},
        "grid": {
            "decomposers": ["none", "llm", "interactive-llm"],
            "solvers": ["llm"],
            "samples": 2,
            "votes": ["count"],
        },
        "collect": {"temperature": 0.7, "solutions": 2},
        "allow_overlap": True,
    }
    path = folder / "study.yaml"
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path


def studied(folder: Path, style: str) -> tuple[Results, Server]:
    with serving(style) as server:
        commands.evaluate(config(folder, server), run=folder / "run")
    return results.read(RunDirectory(folder / "run").results), server


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Results:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", KEY)
        return studied(tmp_path_factory.mktemp("plain"), "plain")[0]


@pytest.mark.parametrize("style", [name for name in STYLES if name != "plain"])
def test_a_study_comes_to_the_same_through_every_style(tmp_path: Path, style: str, plain: Results) -> None:
    rows, server = studied(tmp_path, style)
    assert list(map(compared, rows)) == list(map(compared, plain))
    assert any(row.decomposition_kind == "asked" for row in rows)
    assert set(server.refused) <= {"n"}  # which is found out by itself, and once a stage
    assert "trap" not in json.dumps(server.bodies)  # nobody was shown a thought
    assert all(set(server.style.thinking) <= body.keys() for body in server.bodies)
    thinks = bool(server.style.thinks)
    assert all((row.reasoning == (THOUGHT,) * len(row.solutions)) is thinks for row in rows)
    thought = sum(row.solve.reasoning_tokens + row.decompose.reasoning_tokens for row in rows)
    assert (thought > 0) is (thinks or server.style.hidden)


@pytest.mark.parametrize("style", THINKING)
def test_traces_and_what_students_are_taught_hold_no_thought_unless_it_is_kept(tmp_path: Path, style: str) -> None:
    with serving(style) as server:
        divcon.collect(config(tmp_path, server), run=tmp_path / "run")
    traces = trace.read(RunDirectory(tmp_path / "run").traces)
    assert all(one.reasoning == one.decomposition_reasoning == THOUGHT for one in traces)
    assert all("trap" not in one.solution + one.decomposition for one in traces)
    with Store() as store:
        model = Model("student", Scripted(), store)
        decomposer = PromptedDecomposer(model, load("decompose"), 3, Sampling())
        solver = PromptedSolver(model, family(), Sampling())
        for keep in ("drop", "keep"):
            taught = [
                *for_decomposer(traces, decomposer, "all", keep),
                *for_solver(traces, solver, "all", "sub-answers", None, keep),
            ]
            assert all(("trap" in example.reply) is (keep == "keep") for example in taught)
            assert not any("trap" in message.content for example in taught for message in example.messages)


class Asking:
    """A decomposer that asks two things."""

    def __call__(self, questions: Any) -> list[Decomposition]:
        return [Decomposition(("How many at first?", "How many go?"), "asked", "", Usage()) for _ in questions]


def client_of(server: Server) -> openai.OpenAI:
    azure = {"default_query": {"api-version": "2025-04-01-preview"}, "default_headers": {"api-key": KEY}}
    return openai.OpenAI(base_url=server.url, api_key=KEY, max_retries=0, **(azure if server.style.azure else {}))  # type: ignore[arg-type]


@pytest.mark.parametrize("style", STYLES)
def test_a_plugged_decomposer_reads_replies_alone(style: str) -> None:
    with serving(style) as server, client_of(server) as client:
        once = divcon.plug(Asking(), client, "m")
        answer = once.answer("There are 3 pears. How many?")
        assert answer.answer not in (None, "999999") and "trap" not in answer.solution
        *heard, last = once.stream("There are 3 pears. How many?")
        if style != "sglang":  # a lone closing mark comes too late for what was heard already
            assert "".join(map(str, heard)) == answer.solution
        assert last == answer or (last.answer, last.solution) == (answer.answer, answer.solution)  # type: ignore[union-attr]
        voted = divcon.plug(Asking(), client, "m", samples=3).answer("There are 3 pears. How many?")
        assert voted.answer not in (None, "999999") and voted.share == 1.0
        assert "trap" not in json.dumps(server.bodies)


def test_a_parameter_that_a_model_refuses_is_named_with_the_setting_that_drops_it(tmp_path: Path) -> None:
    with serving("openai-o") as server:
        for settings, remedy in (
            ({"drop": [], "tokens_key": "max_tokens"}, r"set drop: \[temperature\]"),
            ({"drop": ["temperature", "top_p"], "tokens_key": "max_tokens"}, "set tokens_key: max_completion_tokens"),
        ):
            with pytest.raises(ConfigError, match=remedy):
                commands.evaluate(config(tmp_path, server, **settings), run=tmp_path / str(len(settings["drop"])))


def test_the_reasoning_of_these_servers_would_be_read_as_sub_questions() -> None:
    assert parse(f"{THOUGHT}", 6)[0]  # it would be read, were it not cut off
