"""Bad input gets one sentence on standard error and exit code 2."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import divcon
from divcon import commands, configs
from divcon.cli import main
from divcon.core.errors import ConfigError
from divcon.eval.config import load
from divcon.studies.opening import open_study


def fails(*words: str) -> str:
    outcome = CliRunner().invoke(main, list(words))
    assert outcome.exit_code == 2, outcome.output
    assert outcome.stderr.startswith("divcon: ") and outcome.stderr.count("\n") == 1
    assert outcome.stdout == ""
    return outcome.stderr


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The default study over a file of one's own."""
    questions = tmp_path / "mine.jsonl"
    questions.write_text('{"question": "How many?", "answer": "7"}\n', encoding="utf-8")
    path = tmp_path / "study.yaml"
    path.write_text(
        "allow_overlap: true\n"
        f"train: {{source: jsonl, path: {questions}}}\n"
        f"tests: {{mine: {{source: jsonl, path: {questions}}}}}\n"
        "llm: {engine: transformers, path: miniature/llm}\n"
        "student: {engine: transformers, path: miniature/base}\n"
        "solve: {max_tokens: 256}\n",
        encoding="utf-8",
    )
    return path


def test_no_such_config() -> None:
    assert "no config nonsense.yaml" in fails("study", "nonsense.yaml")


def test_an_unknown_key(config: Path) -> None:
    assert "did you mean 'seed'" in fails("study", str(config), "--set", "sed=1")


def test_a_missing_file(config: Path, tmp_path: Path) -> None:
    assert "no file" in fails("collect", str(config), "--set", "train.path=gone.jsonl", "--run", str(tmp_path / "r"))


def test_a_malformed_line(config: Path, tmp_path: Path) -> None:
    with (tmp_path / "mine.jsonl").open("a", encoding="utf-8") as out:
        out.write('{"question": ')
    assert "mine.jsonl:2 is not JSON" in fails("collect", str(config), "--run", str(tmp_path / "r"))


def test_an_empty_data_set(config: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text("", encoding="utf-8")
    assert "no questions in" in fails("collect", str(config), "--run", str(tmp_path / "r"))


def test_a_model_directory_without_weights(config: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}", encoding="utf-8")
    options = ["--set", f"llm.path={tmp_path / 'model'}", "--run", str(tmp_path / "r")]
    assert "no weights in" in fails("collect", str(config), *options)


def test_a_run_directory_that_cannot_be_written(config: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    assert "cannot write to" in fails("collect", str(config), "--run", str(tmp_path / "file" / "run"))


def test_a_log_that_cannot_be_written(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "r"
    with open_study(load(str(config)), run):
        (run / "log.jsonl").mkdir()
    assert "log.jsonl" in fails("collect", str(config), "--run", str(run))


def test_an_unknown_data_set_and_one_without_its_file() -> None:
    assert "no data set 'gsm9k'; there are miniature, gsm8k" in fails("data", "show", "gsm9k")
    assert "need the path of a file" in fails("data", "show", "jsonl")
    assert "cannot load" in fails("data", "show", "math")
    assert "no split" in fails("data", "show", "miniature", "nonsense")


def test_data_sets_are_listed_and_shown(tmp_path: Path) -> None:
    listed = CliRunner().invoke(main, ["data", "list"])
    assert "asdiv" in listed.output and listed.exit_code == 0
    shown = CliRunner().invoke(main, ["data", "show", "miniature", "known-new", "--n", "2"])
    assert "known-new/0001" in shown.output and "  1. How many" in shown.output and "structure: new" in shown.output


def test_a_report_of_nothing(tmp_path: Path) -> None:
    assert "not a run directory" in fails("report", str(tmp_path))


def test_an_evaluation_before_its_students(config: Path, tmp_path: Path) -> None:
    assert "distil it first" in fails("eval", str(config), "--run", str(tmp_path / "r"))


def test_a_prompt_that_is_not_there(config: Path, tmp_path: Path) -> None:
    options = ["--set", "prompts.solve=nonsense", "--run", str(tmp_path / "r")]
    assert "no prompt 'nonsense'" in fails("collect", str(config), *options)


def test_an_empty_question(tmp_path: Path) -> None:
    assert "the question is empty" in fails("ask", " ", "--run", str(tmp_path))


def test_paths_are_strings_too_and_settings_need_no_file(tmp_path: Path) -> None:
    values = yaml.safe_load(Path(configs.path("miniature") or "").read_text(encoding="utf-8"))
    run = str(tmp_path / "run")
    collected = divcon.collect(values, overrides=["collect.solutions=1"], limit=2, run=run)
    assert collected.path == tmp_path / "run" / "traces" / "traces.jsonl" and collected.traces == 2
    assert values["collect"]["solutions"] == 2, "what was given was changed"
    assert commands.status(run) and commands.stats_of_traces(f"{run}/traces")
    with pytest.raises(ConfigError, match="give run"):
        divcon.collect(values, limit=2)
    with pytest.raises(ConfigError, match="no split 'nowhere'"):
        divcon.plan({**values, "tests": {"new": {"source": "miniature", "split": "nowhere", "max_questions": 3}}})


def test_it_knows_its_version() -> None:
    assert divcon.__version__ == importlib.metadata.version("divcon") and "study" in dir(divcon)
