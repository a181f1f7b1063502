"""What the engines with weights on this machine refuse before they load anything."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from divcon.eval import study
from divcon.lm.served import ServedVLLM
from divcon.lm.settings import VLLMSettings
from divcon.lm.vllm import VLLM, servable
from divcon.tasks.errors import ConfigError

STUDENT = "student={engine: vllm, path: miniature/base, rank: 64}"


def test_a_nat_student_is_refused_and_the_nce_student_named(tmp_path: Path) -> None:
    (tmp_path / "nat_config.json").write_text("{}", encoding="utf-8")
    for engine in (VLLMSettings(engine="vllm", path="miniature/base").open(), served().open()):
        with pytest.raises(ConfigError, match=r"is a NAT student, and vLLM cannot serve one: .* NCE student"):
            engine.identity(tmp_path)


def served() -> VLLMSettings:
    return VLLMSettings(engine="vllm", path="miniature/base", served="http://127.0.0.1:8000/v1")


def test_an_adapter_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no adapter weights"):
        servable(tmp_path)


def test_vllm_that_is_not_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ConfigError, match=r"vLLM is not installed: pip install 'divcon\[vllm\]'"):
        VLLM("miniature/base").engine  # noqa: B018  # loads


def test_settings_open_the_engine_that_they_name() -> None:
    assert isinstance(VLLMSettings(engine="vllm", path="miniature/base").open(), VLLM)
    assert isinstance(served().open(), ServedVLLM)
    assert served().open().identity(None).host == "127.0.0.1:8000"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["student.rank=32"], r"student.rank is 32, and the decomposer's adapter has 64"),
        (
            ["student.served=http://127.0.0.1:8000/v1", "distill.solver.tuning={kind: full}"],
            r"the solver is to be a whole",
        ),
        (["student.batch=3"], r"unknown key 'batch' under student; did you mean"),
        (["student.served=nowhere"], r"student.served"),
    ],
)
def test_a_student_that_vllm_could_not_load_is_refused_before_it_is_trained(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        study.load("miniature", [STUDENT, *overrides])


def test_a_student_on_vllm_is_a_study() -> None:
    loaded = study.load("miniature", [STUDENT])
    assert isinstance(loaded.student, VLLMSettings)
    assert study.parse(loaded.model_dump(mode="json"), "again") == loaded
