"""What decides a local computation's bytes: set before torch is loaded, kept with the results, reported on a change."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from divcon.core.errors import ConfigError
from divcon.eval import environments
from divcon.eval.report import provenance
from divcon.eval.run_dir import RunDirectory
from divcon.lm.local import environment
from divcon.lm.local.environment import REPRODUCIBLE, Environment
from divcon.studies.progress import Progress

from ...paths import ROOT

ONE = Environment("Some processor", "AVX2", "auto", 2, "3.11.7", {"torch": "2.13.0"})
ELSEWHERE = replace(ONE, processor="Another processor", capability="AVX512")
FIXED = replace(ONE, capability="DEFAULT", mkl="COMPATIBLE")


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As in a process that has not loaded torch and whose user has set nothing."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    for name in (*REPRODUCIBLE, *environment.COURTEOUS):
        monkeypatch.setenv(name, "")  # so that the patch takes back what the code sets
        monkeypatch.delenv(name)
    return monkeypatch


def test_waiting_threads_sleep_unless_the_user_says_otherwise(no_torch: pytest.MonkeyPatch) -> None:
    environment.prepare()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    no_torch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    environment.prepare()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


def test_kernels_are_left_alone_unless_bytes_are_to_be_the_same_everywhere(no_torch: pytest.MonkeyPatch) -> None:
    environment.prepare()
    assert not REPRODUCIBLE.keys() & os.environ.keys()
    environment.prepare(reproducible=True)
    assert {name: os.environ[name] for name in REPRODUCIBLE} == REPRODUCIBLE


def test_reproducible_is_refused_once_torch_is_loaded(no_torch: pytest.MonkeyPatch) -> None:
    no_torch.setitem(sys.modules, "torch", sys)
    environment.prepare()
    with pytest.raises(ConfigError, match=r"comes too late.*MKL_CBWR=COMPATIBLE"):
        environment.prepare(reproducible=True)
    assert not REPRODUCIBLE.keys() & os.environ.keys()


def test_reproducible_is_refused_where_the_user_has_set_another_kernel(no_torch: pytest.MonkeyPatch) -> None:
    no_torch.setenv("MKL_CBWR", "AVX2")
    with pytest.raises(ConfigError, match="MKL_CBWR=COMPATIBLE, and the environment says 'AVX2'"):
        environment.prepare(reproducible=True)


def test_a_process_that_began_reproducible_stays_so(no_torch: pytest.MonkeyPatch) -> None:
    environment.prepare(reproducible=True)
    no_torch.setitem(sys.modules, "torch", sys)
    environment.prepare(reproducible=True)


@pytest.mark.parametrize("flag", ["--reproducible", "--no-reproducible"])
def test_the_flag_is_a_setting_like_another(flag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from divcon import commands
    from divcon.cli import main

    given: list[tuple[str, ...]] = []
    monkeypatch.setattr(commands, "evaluate", lambda config, overrides, limit, run: given.append(overrides))
    CliRunner().invoke(main, ["eval", "miniature", flag, "--set", "seed=1"], catch_exceptions=False)
    assert given == [("seed=1", f"reproducible={'no' not in flag}".lower())]


@pytest.mark.parametrize(
    "setting", ["llm.engine=vllm", "student.device=cuda"], ids=["another engine", "another device"]
)
def test_what_reproducible_cannot_promise_is_refused(setting: str) -> None:
    from divcon.eval.config import load

    batch = ["llm={engine: vllm, path: miniature/llm}"] if "vllm" in setting else [setting]
    with pytest.raises(ConfigError, match="reproducible: true needs"):
        load("miniature", ["reproducible=true", *batch])


def test_processor_and_threads_differ_only_where_they_decide_bytes() -> None:
    assert ONE.differences(ELSEWHERE) == [
        "processor Some processor, not Another processor",
        "capability AVX2, not AVX512",
    ]
    assert FIXED.differences(replace(FIXED, processor="Another processor", threads=1)) == []
    assert FIXED.differences(replace(FIXED, packages={"torch": "2.14.0"})) == ["torch 2.13.0, not 2.14.0"]
    assert ONE.differences(FIXED) == ["capability AVX2, not DEFAULT", "mkl auto, not COMPATIBLE"]


def test_a_run_keeps_each_environment_once_with_its_stages(tmp_path: Path) -> None:
    assert environments.read(tmp_path) == ()
    for stage in ("collect", "distil: solver", "collect"):
        assert environments.remember(tmp_path, stage, ONE) == []
    assert environments.remember(tmp_path, "solve: llm", ELSEWHERE) == ELSEWHERE.differences(ONE)
    used = environments.read(tmp_path)
    assert [(each.environment, each.stages) for each in used] == [
        (ONE, ("collect", "distil: solver")),
        (ELSEWHERE, ("solve: llm",)),
    ]


def test_the_report_names_them_and_warns_when_they_compute_different_bytes(tmp_path: Path) -> None:
    environments.remember(tmp_path, "collect", ONE)
    assert "no single machine" not in "".join(provenance.sections(tmp_path))
    environments.remember(tmp_path, "solve: llm", ELSEWHERE)
    text = "".join(provenance.sections(tmp_path))
    assert "no single machine reproduces" in text and "Another processor" in text and "AVX512" in text


@pytest.mark.parametrize("content", ["", "[]]", "{}", '[{"environment": 1, "stages": []}]', "[[[]]]", "\x00"])
def test_a_damaged_record_is_one_sentence(tmp_path: Path, content: str) -> None:
    (RunDirectory(tmp_path).environments).write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match="; remove it"):
        environments.read(tmp_path)


def test_a_stage_begins_once_and_only_when_something_is_missing() -> None:
    begun: list[str] = []
    progress = Progress(out=io.StringIO())
    with progress.stage("all there", begin=lambda: begun.append("all there")) as advance:
        advance(10, 10)
    with progress.stage("some missing", begin=lambda: begun.append("some missing")) as advance:
        advance(3, 10)
        advance(9, 10)
        advance(10, 10)
    assert begun == ["some missing"]


@pytest.mark.long
def test_equal_bytes_with_one_thread_and_two(tmp_path: Path) -> None:
    """Where the kernels of this machine are not the common ones, they need not be equal; with them they must."""
    training = [sys.executable, "-m", "bench.training.short", "1000", "--reproducible"]
    free = {name: value for name, value in os.environ.items() if name not in REPRODUCIBLE}
    free["PYTHONPATH"] = os.pathsep.join([str(ROOT), *sys.path])
    printed = [
        subprocess.run(
            training, cwd=ROOT, env=free | {"OMP_NUM_THREADS": threads}, capture_output=True, text=True, check=True
        ).stdout.split()
        for threads in ("1", "2")
    ]
    assert printed[0][0] == printed[1][0]
    assert [line[3:] for line in printed] == [["DEFAULT", "COMPATIBLE", "1"], ["DEFAULT", "COMPATIBLE", "2"]]
    assert json.loads(json.dumps(printed[0][0])).isalnum()


TINY = (
    "grid.decomposers=[none]",
    "grid.solvers=[llm]",
    "grid.samples=0",
    "solve.max_tokens=4",
    "collect.solutions=1",
    "reproducible=false",
)


def test_what_finds_everything_there_adds_no_environment_and_another_processor_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from divcon.eval.config import load
    from divcon.eval.report import report
    from divcon.studies import context
    from divcon.studies.collect import collect
    from divcon.studies.evaluate import evaluate
    from divcon.studies.opening import open_study

    study = load("miniature", TINY).limited(1)
    monkeypatch.setattr(context, "current", lambda: ONE)
    with open_study(study, tmp_path) as opened:
        evaluate(opened)
    monkeypatch.setattr(context, "current", lambda: ELSEWHERE)
    kept = environments.read(tmp_path)
    assert [used.environment for used in kept] == [ONE] and "solve: llm, greedy" in kept[0].stages
    with open_study(study, tmp_path) as opened:
        evaluate(opened)
    report.report(tmp_path)
    assert environments.read(tmp_path) == kept

    out = io.StringIO()
    with open_study(study, tmp_path, progress=Progress(tmp_path / "log.jsonl", out)) as opened:
        collect(opened)
    assert [used.environment for used in environments.read(tmp_path)] == [ONE, ELSEWHERE]
    assert "capability AVX512, not AVX2" in out.getvalue()
    events = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [event["event"] for event in events].count("environment changed") == 1
    report.report(tmp_path)
    assert "no single machine reproduces" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
