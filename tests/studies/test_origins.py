"""A run is tied to the contents of its inputs, and not to where they lie; a server moves only when somebody says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import divcon
from divcon import prompts
from divcon.cli import main
from divcon.core.errors import ConfigError
from divcon.eval.config import Study, differences, dump, parse
from divcon.eval.run_dir import RunDirectory
from divcon.lm.local.weights import weights_hash
from divcon.studies.origins import Origins
from divcon.tasks import miniature

from ..lm.api.test_engine import reply, serving

QUESTIONS = [{"question": f"There are {i} pears. How many?", "answer": str(i)} for i in range(3)]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")


def study_of(settings: dict[str, Any]) -> Study:
    return parse(settings, "the test")


def answer(body: dict[str, Any], number: int) -> tuple[int, Any]:
    asked = body["messages"][-1]["content"]
    return 200, reply("1. How many pears?" if "Do not answer them" in asked else "The answer is: 1")


def config(folder: Path, url: str, **more: Any) -> dict[str, Any]:
    questions = folder / "mine.jsonl"
    if not questions.exists():
        questions.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS), encoding="utf-8")
    return {
        "train": {"source": "file", "path": str(questions)},
        "tests": {"mine": {"source": "file", "path": str(questions)}},
        "llm": {"engine": "openai", "model": "m", "base_url": url},
        "student": {"engine": "transformers", "path": "miniature/base"},
        "allow_overlap": True,
        **more,
    }


def moved(settings: dict[str, Any], path: Path) -> dict[str, Any]:
    source = {"source": "file", "path": str(path)}
    return {**settings, "train": source, "tests": {"mine": source}}


def test_a_moved_or_renamed_data_file_goes_on_by_its_contents(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with serving(answer) as (server, url):
        settings = config(tmp_path, url)
        first = divcon.collect(settings, run=run)
        asked = len(server.bodies)
        (tmp_path / "elsewhere").mkdir()
        renamed = tmp_path / "elsewhere" / "others.jsonl"
        shutil.move(tmp_path / "mine.jsonl", renamed)
        again = divcon.collect(moved(settings, renamed), run=run)
        assert len(server.bodies) == asked and again.traces == first.traces
        RunDirectory(run).traces_facts.unlink()  # to collect again: from the store, under the ids of before
        divcon.collect(moved(settings, renamed), run=run)
        assert len(server.bodies) == asked
        assert '"id": "mine/1"' in RunDirectory(run).traces.read_text(encoding="utf-8")


def test_a_file_of_other_contents_is_another_study(tmp_path: Path) -> None:
    with serving(answer) as (_, url):
        settings = config(tmp_path, url)
        divcon.collect(settings, run=tmp_path / "run")
        other = tmp_path / "other.jsonl"
        other.write_text(json.dumps(QUESTIONS[0]) + "\n", encoding="utf-8")
        with pytest.raises(ConfigError, match=r"begun under another config \(it differs in .*train\.path"):
            divcon.collect(moved(settings, other), run=tmp_path / "run")


def test_a_relocated_server_keeps_its_samples(tmp_path: Path) -> None:
    run, study = tmp_path / "run", tmp_path / "study.yaml"
    with serving(answer) as (_, old):
        study.write_text(json.dumps(config(tmp_path, old)), encoding="utf-8")
        assert CliRunner().invoke(main, ["collect", str(study), "--run", str(run)]).exit_code == 0
    with serving(answer) as (server, new):
        there = ["collect", str(study), "--run", str(run), "--set", f"llm.base_url={new}"]
        refused = CliRunner().invoke(main, there)
        assert refused.exit_code == 2 and "differs in llm.base_url" in refused.output
        relocated = CliRunner().invoke(main, [*there, "--relocate", f"{old}={new}"])
        assert relocated.exit_code == 0, relocated.output
        for more in ([], ["--relocate", f"{old}={new}"]):  # it is remembered
            RunDirectory(run).traces_facts.unlink()
            outcome = CliRunner().invoke(main, [*there, *more])
            assert outcome.exit_code == 0, outcome.output
        assert server.bodies == []
    with serving(answer) as (server, third):  # from where it is now, or from where it was first
        for old_place, place in ((new, third), (old, new), (old, third)):
            at = ["collect", str(study), "--run", str(run), "--set", f"llm.base_url={place}"]
            outcome = CliRunner().invoke(main, [*at, "--relocate", f"{old_place}={place}"])
            assert outcome.exit_code == 0, outcome.output
        assert server.bodies == []
    wrong = CliRunner().invoke(main, ["collect", str(study), "--relocate", "there"])
    assert wrong.exit_code == 2 and "is not of the form" in wrong.output


def test_a_model_that_takes_anothers_place_before_anything_is_made_has_a_name_of_its_own(tmp_path: Path) -> None:
    files = RunDirectory(tmp_path / "run")
    files.path.mkdir()
    first, second = (study_of(config(tmp_path, f"http://127.0.0.1:{port}/v1")) for port in (1, 2))
    for study in (first, second):
        Origins(files).keep(study)
        files.config.write_text(dump(study), encoding="utf-8")
    assert Origins(files).model_name("llm", second) is None
    moved_on = study_of(
        config(tmp_path, "http://127.0.0.1:3/v1", relocate={"http://127.0.0.1:2/v1": "http://127.0.0.1:3/v1"})
    )
    assert Origins(files).model_name("llm", moved_on) == "http://127.0.0.1:2/v1"


def test_every_setting_that_names_a_place_moves_by_contents(tmp_path: Path) -> None:
    text = (Path(prompts.__file__).parent / "solve.md").read_text(encoding="utf-8")
    for folder in ("old", "new"):
        shutil.copytree(Path(miniature.__file__).parent / "base", tmp_path / folder / "model")
        (tmp_path / folder / f"{folder}.md").write_text(text, encoding="utf-8")
        (tmp_path / folder / "data" / "inner").mkdir(parents=True)
        for file in ("examples.jsonl", "data/traces.jsonl", "data/inner/more.txt"):
            (tmp_path / folder / file).write_text("{}\n", encoding="utf-8")

    def at(folder: str) -> Study:
        here = tmp_path / folder
        local = {"engine": "transformers", "path": str(here / "model")}
        return study_of(
            {
                "train": {"source": "traces", "path": str(here / "data")},
                "tests": {"t": {"source": "file", "path": str(here / "data" / "traces.jsonl")}},
                "llm": local,
                "student": {**local, "engine": "vllm", "served": "http://127.0.0.1:1/v1"},
                "models": {"more": local},
                "prompts": {"solve": str(here / f"{folder}.md"), "examples": str(here / "examples.jsonl")},
                "distill": {"ranker": {"backbone": {"kind": "model", "path": str(here / "model")}}},
            }
        )

    old, new = at("old"), at("new")
    files = RunDirectory(tmp_path / "run")
    files.path.mkdir()
    Origins(files).keep(old)
    files.config.write_text(dump(old), encoding="utf-8")
    differing = differences(old, new)
    assert len(differing) == 8 and all(Origins(files).moved(setting, new) for setting in differing)
    for name in ("new.md", "examples.jsonl", "data/traces.jsonl", "data/inner/more.txt", "model/config.json"):
        (tmp_path / "new" / name).write_text('{"other": 1}\n{question}{subquestions}', encoding="utf-8")
    weights_hash.cache_clear()
    assert not any(Origins(files).moved(setting, new) for setting in differing)


@pytest.mark.model
def test_a_renamed_model_directory_keeps_its_samples(tmp_path: Path) -> None:
    shipped = Path(miniature.__file__).parent / "llm"
    shutil.copytree(shipped, tmp_path / "teacher")
    source = {"source": "miniature", "split": "train", "max_questions": 2}
    test = {"source": "miniature", "split": "new-new", "max_questions": 1}

    def settings(name: str) -> dict[str, Any]:
        return {
            "train": source,
            "tests": {"t": test},
            "llm": {"engine": "transformers", "path": str(tmp_path / name), "dtype": "float32"},
            "student": {"engine": "transformers", "path": "miniature/base", "dtype": "float32"},
            "prompts": {
                "decompose": "miniature/decompose",
                "solve": "miniature/solve",
                "single_stage": "miniature/cot",
            },
            "solve": {"max_tokens": 8},
            "decompose": {"max_tokens": 8},
            "collect": {"solutions": 1, "temperature": 1.0},
        }

    run = tmp_path / "run"
    divcon.collect(settings("teacher"), run=run)
    log = RunDirectory(run).log.read_text(encoding="utf-8")
    shutil.move(tmp_path / "teacher", tmp_path / "renamed")
    RunDirectory(run).traces_facts.unlink()
    divcon.collect(settings("renamed"), run=run)
    ended = [json.loads(line) for line in RunDirectory(run).log.read_text(encoding="utf-8")[len(log) :].splitlines()]
    last = [line for line in ended if line["event"] == "end"][-1]
    assert last["kept"] == last["wanted"] > 0
