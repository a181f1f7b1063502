"""Requests that can never succeed: unknown, counted with the bounds that they allow, and never the end of a study."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import divcon
from divcon import commands
from divcon.core.errors import ConfigError
from divcon.eval.analysis.summary import unknowns
from divcon.eval.grid import results
from divcon.eval.grid.rows import Results
from divcon.eval.run_dir import RunDirectory

from ..lm.api.test_engine import Answer, reply, serving

QUESTIONS = [{"id": str(i), "question": f"Pear {i}: how many?", "answer": "18"} for i in range(40)]
TOO_LONG = {"error": {"message": "This model's maximum context length is 9 tokens.", "code": "context_length_exceeded"}}


def refusing(numbers: set[int], phase: str = "") -> Answer:
    """A server that refuses the questions of these numbers, in one phase alone if one is given."""

    def answer(body: dict[str, Any], number: int) -> tuple[int, Any]:
        text = body["messages"][0]["content"]
        if any(f"Pear {n}:" in text for n in numbers) and phase in text:
            return 400, TOO_LONG
        return 200, reply("1. How many?" if "Do not answer them" in text else "The answer is 18.")

    return answer


def config(folder: Path, url: str, **llm: Any) -> Path:
    questions = folder / "questions.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS), encoding="utf-8")
    source = {"source": "jsonl", "path": str(questions)}
    settings = {
        "train": source,
        "tests": {"pears": source},
        "llm": {"engine": "openai", "model": "m", "base_url": url, **llm},
        "student": {"engine": "transformers", "path": "miniature/base"},
        "grid": {"decomposers": ["none", "llm", "interactive-llm"], "solvers": ["llm"], "samples": 0},
        "collect": {"solutions": 1},
        "allow_overlap": True,
    }
    path = folder / "study.yaml"
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path


def evaluated(folder: Path, answer: Answer, **llm: Any) -> Results:
    with serving(answer) as (_, url):
        commands.evaluate(config(folder, url, **llm), run=folder / "run")
    return results.read(RunDirectory(folder / "run").results, unknown=True)


def test_what_nobody_knows_is_counted_and_left_out(tmp_path: Path) -> None:
    rows = evaluated(tmp_path, refusing({3}, "Think step by step"))  # the single stage
    whole = {row.cell.names[0]: [other for other in rows if other.cell.names[0] == row.cell.names[0]] for row in rows}
    assert {name: sum(row.credit is None for row in of) for name, of in whole.items()} == {
        "none": 1,
        "llm": 0,
        "interactive-llm": 0,
    }
    (unknown,) = (row for row in rows if row.credit is None)
    assert (unknown.verdict, unknown.answer, unknown.id) == ("unknown", None, "3")
    assert len(results.read(RunDirectory(tmp_path / "run").results)) == len(rows) - 1
    (found,) = unknowns(rows)
    assert (found.questions, found.failed, found.known.value) == (40, 1, 1.0)
    assert (found.low, found.high) == (39 / 40, 1.0)
    commands.report(tmp_path / "run")
    table = (tmp_path / "run" / "report" / "table.md").read_text(encoding="utf-8")
    assert "| none | llm | greedy | pears | 40 | 1 | 100.0 [91.0, 100.0] | 97.5 | 100.0 |" in table
    page = (tmp_path / "run" / "report" / "index.html").read_text(encoding="utf-8")
    assert "Requests that failed permanently" in page


def test_a_later_run_asks_for_what_is_unknown_alone_and_comes_to_the_same(tmp_path: Path) -> None:
    with serving(refusing({3})) as (upstream, url):
        path = config(tmp_path, url)
        commands.evaluate(path, run=tmp_path / "run")
        first, asked = results.read(RunDirectory(tmp_path / "run").results, unknown=True), len(upstream.bodies)
        RunDirectory(tmp_path / "run").results.unlink()
        commands.evaluate(path, run=tmp_path / "run")
        again = upstream.bodies[asked:]
    assert all("Pear 3:" in body["messages"][0]["content"] for body in again) and again
    assert results.read(RunDirectory(tmp_path / "run").results, unknown=True) == first


def test_a_decomposition_that_nobody_knows_leaves_its_question_unknown_and_no_solver_is_asked(tmp_path: Path) -> None:
    rows = evaluated(tmp_path, refusing({3}, "Do not answer them"))
    unknown = [row for row in rows if row.credit is None]
    assert {(row.cell.names[0], row.id) for row in unknown} == {("llm", "3"), ("interactive-llm", "3")}
    assert all(row.decomposition_kind == "failed" and row.solve.prompt_tokens == 0 for row in unknown)


def test_more_than_the_share_that_is_allowed_end_the_run_and_say_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"maximum context length is 9 tokens.*more than max_failures allows"):
        evaluated(tmp_path, refusing({3, 4}, "Think step by step"))
    rows = evaluated(tmp_path, refusing({3, 4}, "Think step by step"), max_failures=0.05)
    assert sum(row.credit is None for row in rows) == 2


def test_none_is_allowed_where_nobody_wants_any(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="refused the request: status 400"):
        evaluated(tmp_path, refusing({3}), max_failures=0)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_is_wrong_with_every_request_is_no_matter_of_one(tmp_path: Path, status: int) -> None:
    with pytest.raises(ConfigError, match=f"status {status}"):
        evaluated(tmp_path, lambda body, number: (status, {"error": {"message": "no"}}), max_failures=0.5)


def test_traces_are_of_what_came(tmp_path: Path) -> None:
    with serving(refusing({3})) as (_, url):
        divcon.collect(config(tmp_path, url), run=tmp_path / "run")
    lines = RunDirectory(tmp_path / "run").traces.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == [str(i) for i in range(40) if i != 3]
