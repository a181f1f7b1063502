"""`divcon init` and `divcon runs`."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from divcon.cli import main
from divcon.core.errors import ConfigError
from divcon.eval.config import load
from divcon.eval.run_dir import RunDirectory
from divcon.studies import new_study
from divcon.studies.runs import list_runs, prunable, prune

from ..paths import ROOT, SHARED


def written(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def many(n: int, **more: object) -> list[dict[str, object]]:
    return [{"question": f"What is {i} + {i}?", "answer": 2 * i, **more} for i in range(n)]


def shaped(**columns: str) -> list[dict[str, object]]:
    """Twenty rows, with their number in the place of `{}`."""
    return [{name: text.replace("{}", str(i)) for name, text in columns.items()} for i in range(20)]


@pytest.mark.parametrize(
    ("rows", "settings"),
    [
        (many(20), {"source": "file"}),
        (
            [{"Problem": f"{i}?", "Label": str(i)} for i in range(20)],
            {"columns": {"question": "Problem", "answer": "Label"}},
        ),
        ([{"question": f"{i}?", "answer": ["no", "yes"][i % 2]} for i in range(20)], {"grader": "yes-no"}),
        ([{"question": f"{i}?", "answer": f"the town {i}"} for i in range(20)], {"grader": "phrase"}),
        ([{"question": f"{i}?", "answer": f"\\frac{{{i}}}{{7}}x"} for i in range(20)], {"grader": "math"}),
        (
            [{"question": f"{i}?", "options": ["a", "b"], "answer": "A"} for i in range(20)],
            {"columns": {"choices": "options"}},
        ),
        (
            [{"question": f"{i}?", "answer": f"So \\boxed{{{i}}}."} for i in range(20)],
            {"columns": {"solution": "answer"}},
        ),
        ([{"question": f"{i}?", "answer": f"{i} + 0 = {i}\n#### {i}"} for i in range(20)], {"source": "gsm8k"}),
    ],
)
def test_a_study_is_written_for_what_is_in_a_file(
    tmp_path: Path, rows: list[dict[str, object]], settings: dict[str, object]
) -> None:
    path, out = written(tmp_path / "mine.jsonl", *rows), tmp_path / "study.yaml"
    made = new_study.write([path], out, "miniature/llm", "miniature/base")
    found = yaml.safe_load(out.read_text(encoding="utf-8"))
    assert settings.items() <= found["train"].items()
    assert found["train"]["max_questions"] == 14 and found["tests"]["mine"]["skip"] == 14
    assert all(f"#   {guess}" in out.read_text(encoding="utf-8") for guess in made.guesses)
    load(out)
    with pytest.raises(ConfigError, match="is there already"):
        new_study.write([path], out, "miniature/llm", "miniature/base")


def test_a_study_that_was_written_passes_its_dry_run(tmp_path: Path) -> None:
    with (tmp_path / "mine.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["Question", "Answer"], *([f"What is {i} + {i}?", 2 * i] for i in range(12))])
    out = tmp_path / "study.yaml"
    models = ["--llm", "miniature/llm", "--student", "miniature/base"]
    made = CliRunner().invoke(main, ["init", str(tmp_path / "mine.csv"), "--out", str(out), *models])
    assert made.exit_code == 0 and "question from 'Question'" in made.output, made.output
    planned = CliRunner().invoke(main, ["study", str(out), "--dry-run"])
    assert planned.exit_code == 0 and "samples in all at most" in planned.output, planned.output


def test_the_file_named_train_is_the_training_data(tmp_path: Path) -> None:
    test, train = written(tmp_path / "test.jsonl", *many(5)), written(tmp_path / "train.jsonl", *many(9))
    new_study.write([test, train], tmp_path / "study.yaml", "http://127.0.0.1:1/v1", "miniature/base")
    found = yaml.safe_load((tmp_path / "study.yaml").read_text(encoding="utf-8"))
    assert found["train"]["path"] == str(train) and found["tests"]["test"]["max_questions"] == 5
    assert found["llm"]["base_url"] == "http://127.0.0.1:1/v1"


def test_rows_that_are_no_questions_are_stepped_around(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [*many(3), {"question": "?", "answer": None}, *many(30)[10:]]
    made = new_study.sniff(written(tmp_path / "mine.jsonl", *rows))
    assert made.skip == 4 and len(made.questions) == 20
    assert any("mine.jsonl:4 has no 'answer'" in said for said in made.said)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"a": 1}], "which column has the question"),
        ([{"question": "?", "b": 1}], "which column has the answer"),
        ([], "holds no rows"),
        (many(1), "two are the least"),
    ],
)
def test_a_file_that_no_study_can_be_written_for_is_named(
    tmp_path: Path, rows: list[dict[str, object]], message: str
) -> None:
    path = written(tmp_path / "mine.jsonl", *rows)
    with pytest.raises(ConfigError, match=message):
        new_study.write([path], tmp_path / "study.yaml", "m", "m")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared data sets")
def test_every_shared_data_file_gets_a_study_that_passes_its_dry_run(tmp_path: Path) -> None:
    models = ["--llm", "miniature/llm", "--student", "miniature/base"]
    for path in sorted(SHARED.rglob("*.json*")):
        if "traces_math" in str(path) and path.name != "number_theory.jsonl.gz":
            continue  # alike, and large
        out = str(tmp_path / "study.yaml")
        made = CliRunner().invoke(main, ["init", str(path), "--out", out, "--force", *models])
        assert made.exit_code == 0, f"{path}: {made.output}"
        short = [
            "--set",
            "llm.engine=openai",
            "--set",
            "llm={engine: openai, model: m, base_url: http://127.0.0.1:1/v1}",
        ]
        planned = CliRunner().invoke(main, ["study", out, "--dry-run", "--limit", "6", *short[2:]])
        assert planned.exit_code == 0 or "context" in planned.output, f"{path}: {planned.output}"


def test_runs_are_listed_and_a_finished_one_is_pruned(tmp_path: Path) -> None:
    import shutil

    shutil.copytree(ROOT / "tests" / "frozen" / "miniature", tmp_path / "done")
    shutil.copytree(ROOT / "tests" / "frozen" / "miniature", tmp_path / "begun")
    (tmp_path / "begun" / "results.parquet").unlink()
    (tmp_path / "done" / "evaluated.json").write_text("{}", encoding="utf-8")
    (tmp_path / "done" / "store.sqlite").write_bytes(b"x" * 1000)
    found = {run.path.name: run for run in list_runs(tmp_path).runs}
    assert found.keys() == {"done", "begun"} and found["done"].store >= 1000
    assert found["done"].state in ("finished", "evaluated") and found["begun"].state not in ("finished", "evaluated")
    shown = CliRunner().invoke(main, ["runs", str(tmp_path)])
    assert shown.exit_code == 0 and "| done |" in shown.output and "| all |" in shown.output
    with pytest.raises(ConfigError, match="is not finished"):
        prunable(tmp_path / "begun")
    results = RunDirectory(tmp_path / "done").results.read_bytes()
    refused = CliRunner().invoke(main, ["runs", str(tmp_path), "--prune", str(tmp_path / "done")], input="n\n")
    assert refused.exit_code == 1 and (tmp_path / "done" / "store.sqlite").is_file()
    assert "store.sqlite" in str(prune(tmp_path / "done"))
    assert not (tmp_path / "done" / "store.sqlite").exists()
    assert RunDirectory(tmp_path / "done").results.read_bytes() == results
    assert CliRunner().invoke(main, ["runs", str(tmp_path / "nowhere")]).exit_code == 2
