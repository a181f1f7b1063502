"""A run's report is made again from a copy of its directory, on a machine without models, to the same bytes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import divcon

SMALL = [
    *(f"distill.{role}.{setting}" for role in ("decomposer", "solver") for setting in ("tokens=3000", "data=all")),
    *(f"prompts.{name}=miniature/{name}" for name in ("direct", "next", "step", "finish")),
    "grid.decomposers=[none, distilled, llm, gold, shuffled, interactive-gold]",
    "grid.samples=2",
    "grid.votes=[sc, prob_sum]",
    "grid.reader=miniature/base",
]
WITHOUT_MODELS = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "peft", "trl", "vllm", "openai"):
            raise ImportError(f"this machine has no {name}")
sys.meta_path.insert(0, Nothing())
from pathlib import Path
from divcon.eval.report import report
report(Path(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "study"
    divcon.study("miniature", overrides=SMALL, limit=3, run=directory)
    return directory


def test_a_copied_run_makes_the_same_report_without_models(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / run.name  # the page is called like its run
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("*.safetensors", "store.sqlite*", "report", "checkpoints"))
    again = subprocess.run([sys.executable, "-c", WITHOUT_MODELS, copy], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    made, first = ({path.name: path.read_bytes() for path in (of / "report").iterdir()} for of in (copy, run))
    assert made.keys() == first.keys() and len(made) > 30
    assert [name for name in made if made[name] != first[name]] == []
