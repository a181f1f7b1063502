"""Prompts that do not fit are found before anything is asked, and the longest are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import divcon
from divcon.core.errors import ConfigError
from divcon.eval.run_dir import RunDirectory

from ..fakes.families import make

LONG = " ".join(f"Box {i} holds {i} pears." for i in range(120))
QUESTIONS = [
    {"id": "short", "question": "A box holds 3 pears. How many pears are there?", "answer": "3"},
    {"id": "long", "question": f"{LONG} How many pears are there?", "answer": "7"},
    {"id": "longer", "question": f"{LONG} {LONG} How many pears are there?", "answer": "7"},
]


@pytest.fixture
def overrides(tmp_path: Path) -> list[str]:
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS), encoding="utf-8")
    return [f"tests={{boxes: {{source: jsonl, path: {path}}}}}"]


REFUSAL = (
    r"2 of 1203 questions do not fit into the context of llm \(512 tokens\): longer of boxes takes \d+ tokens, "
    r"long of boxes takes \d+ tokens to be decomposed"
)


def test_a_run_and_a_dry_run_refuse_what_would_not_fit(tmp_path: Path, overrides: list[str]) -> None:
    with pytest.raises(ConfigError, match=REFUSAL + "; take a model with a longer context"):
        divcon.plan("miniature", overrides=overrides)
    with pytest.raises(ConfigError, match=REFUSAL):
        divcon.collect("miniature", overrides=overrides, run=tmp_path / "run")
    assert not RunDirectory(tmp_path / "run").traces.exists()


def test_vllm_wants_room_for_all_that_may_be_written(overrides: list[str]) -> None:
    vllm = ["llm={engine: vllm, path: miniature/llm}"]
    room = ", with 96 more for what is written; lower decompose.max_tokens, take a model"
    with pytest.raises(ConfigError, match=REFUSAL + room):
        divcon.plan("miniature", overrides=[*overrides, *vllm])
    with pytest.raises(ConfigError, match=r"with 500 more for what is written; lower solve\.max_tokens"):
        divcon.plan("miniature", overrides=[*vllm, "solve.max_tokens=500"])


@pytest.mark.model
def test_room_for_reasoning_counts_too(tmp_path: Path) -> None:
    """Of a server that keeps to a budget: 400 tokens of reasoning and 96 of a reply leave 16 of 512 for the prompt."""
    path = make("Qwen 3", tmp_path / "model")
    served = f"llm={{engine: vllm, path: {path}, served: 'http://127.0.0.1:9/v1', thinking: {{budget: 400}}}}"
    with pytest.raises(ConfigError, match=r"with 496 more for what is written; lower decompose\.max_tokens"):
        divcon.plan("miniature", overrides=[served])
    divcon.plan("miniature", overrides=[served.replace("400", "40")])


def test_what_fits_is_planned_as_ever() -> None:
    assert "samples in all" in str(divcon.plan("miniature"))
