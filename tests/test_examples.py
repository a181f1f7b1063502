"""The examples run as they are, against real endpoints; one of them stands on the configuration that is shown."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from divcon.serve.http.keys import Caller, add

from .fakes.serving import serving
from .paths import ROOT

EXAMPLES = sorted(ROOT.glob("examples/*.*"))
Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An LLM, an endpoint in front of it, and how the examples are told where they are."""
    keys = tmp_path_factory.mktemp("keys") / "keys.json"
    key = add(keys, Caller("me", None, None))
    config = ("--config", str(ROOT / "deploy" / "serve.yaml"), "--keys", str(keys), "--decomposer", "miniature/llm")
    with (
        serving("--local", "miniature/llm") as llm,
        serving(*config, "--upstream", llm.url, "--model", "llm", sets={"upstream.prompts": "miniature"}) as endpoint,
    ):
        told = {"LLM": llm.url, "DECOMPOSER": "miniature/llm", "ENDPOINT": endpoint.url, "KEY": key, "MODEL": "llm"}
        yield {**os.environ, **told}


@pytest.fixture(scope="module")
def runs(environment: dict[str, str]) -> dict[Path, Done]:
    """What came of every example; they run side by side."""

    def run(example: Path) -> Done:
        program = "sh" if example.suffix == ".sh" else sys.executable
        return subprocess.run([program, example], env=environment, capture_output=True, text=True, timeout=120)

    with ThreadPoolExecutor() as pool:
        return dict(zip(EXAMPLES, pool.map(run, EXAMPLES), strict=True))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_shows_sub_questions_and_an_answer(example: Path, runs: dict[Path, Done]) -> None:
    assert runs[example].returncode == 0, runs[example].stderr
    assert "How many pears are in 4 crates?" in runs[example].stdout
    assert "The answer is" in runs[example].stdout
