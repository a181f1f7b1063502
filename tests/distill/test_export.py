"""A student in other forms answers as it did, and what is no such student is refused."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from divcon import commands
from divcon.cli import main
from divcon.core.errors import ConfigError
from divcon.distill.export import CONVERTER, _dtype
from divcon.distill.recipes import DecomposerRecipe, Full
from divcon.lm import Model, Request, Sampling, Store
from divcon.lm.engines.transformers import Transformers
from divcon.lm.local import probe
from divcon.lm.local.adapters import adapter_config, load_adapter
from divcon.lm.local.weights import load_model, load_tokenizer, model_directory

from ..fakes.families import make
from ..fakes.students import BRIEF, MESSAGES, taught

pytestmark = pytest.mark.model

BASE = "miniature/base"


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return taught(tmp_path_factory.mktemp("student") / "decomposer")


def says(path: str, adapter: Path | None = None) -> str:
    with Store() as store:
        model = Model("m", Transformers(path, dtype="float32"), store, adapter=adapter)
        ((made,),) = model([Request(MESSAGES, Sampling(max_tokens=20))])
    return made.text


def test_merged_it_answers_as_the_adapter_does_and_stock_transformers_loads_it(student: Path, tmp_path: Path) -> None:
    exported = commands.export(student, "merged", out=tmp_path / "whole")
    assert str(exported).startswith(f"wrote {tmp_path / 'whole'}; serve it with: vllm serve {tmp_path / 'whole'}")
    tokens = torch.tensor([load_tokenizer(student)("How many pears are there in 4 boxes?")["input_ids"]])
    adapted = load_adapter(load_model(model_directory(BASE), "float32", "cpu"), student, "s").eval()
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "whole", dtype="float32")
    base = load_model(model_directory(BASE), "float32", "cpu")
    with torch.no_grad():
        torch.testing.assert_close(whole(tokens).logits, adapted(tokens).logits, atol=0.1, rtol=0.02)
        assert not torch.allclose(whole(tokens).logits, base(tokens).logits, atol=1)
    assert says(str(tmp_path / "whole")) == says(BASE, student) != says(BASE)


def test_for_vllm_an_adapter_stays_as_it_is_on_a_plain_base(student: Path, tmp_path: Path) -> None:
    exported = commands.export(student, "vllm", out=tmp_path / "out")
    before, after = (load_file(folder / "adapter_model.safetensors") for folder in (student, exported.path))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert f"--max-lora-rank 8 --lora-modules decomposer={tmp_path / 'out'}" in exported.command
    assert says(BASE, exported.path) == says(BASE, student)


def test_vllm_is_told_the_largest_rank_of_any_layer(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = adapter_config(student) | {"rank_pattern": {"q_proj": 40}}
    monkeypatch.setattr("divcon.distill.export.adapter_config", lambda directory: config)
    assert "--max-lora-rank 64 " in commands.export(student, "vllm", out=tmp_path / "out").command


def test_for_vllm_layers_are_named_as_in_the_published_class(tmp_path: Path) -> None:
    base = make("Qwen 3.5", tmp_path / "base")
    student = taught(tmp_path / "decomposer", str(base))
    exported = commands.export(student, "vllm")
    names = load_file(exported.path / "adapter_model.safetensors").keys()
    assert exported.path == tmp_path / "decomposer-vllm"
    assert names and all(name.startswith("base_model.model.model.language_model.layers.") for name in names)


def test_a_whole_student_is_a_whole_model_already(tmp_path: Path) -> None:
    student = taught(tmp_path / "decomposer", recipe=DecomposerRecipe(tuning=Full(kind="full"), **BRIEF))
    for form in ("merged", "vllm"):
        exported = commands.export(student, form)
        assert says(str(exported.path)) == says(str(student))
        assert not (exported.path / "divcon.json").exists()


def converter(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    program = folder / CONVERTER
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_gguf_is_written_by_llama_cpps_converter(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "student.gguf"
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=f"{CONVERTER}, which is not on the PATH"):
        commands.export(student, "gguf", out=out)
    converter(tmp_path / "bad", "echo NotImplementedError >&2; exit 1", monkeypatch)
    with pytest.raises(ConfigError, match="it says: NotImplementedError"):
        commands.export(student, "gguf", out=out)
    converter(tmp_path / "good", 'test -f "$1/model.safetensors" && echo GGUF > "$3"', monkeypatch)
    assert commands.export(student, "gguf", out=out).command == f"llama-server -m {out}"
    assert [path.name for path in tmp_path.iterdir() if "student" in path.name] == ["student.gguf"]


def test_where_nothing_can_be_written_is_one_sentence_and_nothing_changes(student: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    before = sorted(student.iterdir())
    for out, said in [
        (tmp_path / "dangling", "is in the way"),
        (tmp_path / "file" / "out", "there is no directory"),
        (tmp_path / "no" / "such" / "out", "there is no directory"),
        (student / "out", "lies within the student"),
    ]:
        with pytest.raises(ConfigError, match=said):
            commands.export(student, "merged", out=out)
    assert sorted(student.iterdir()) == before


def test_a_student_is_found_by_any_path_and_the_command_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = taught(tmp_path / "a decomposer")
    monkeypatch.chdir(student)
    exported = commands.export(Path(), "vllm")
    assert exported.path == tmp_path / "a decomposer-vllm"
    assert f"--lora-modules 'a decomposer'='{exported.path}'" in exported.command


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_a_whole_model_keeps_the_number_format_of_its_base(tmp_path: Path, key: str, dtype: str) -> None:
    for config in ({key: dtype}, {"text_config": {key: dtype}}):
        (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
        assert _dtype(tmp_path) == getattr(torch, dtype)


def test_what_has_no_other_form_is_refused(student: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no student in .*: it has no divcon\.json"):
        commands.export(tmp_path, "merged")
    with pytest.raises(ConfigError, match="no form 'onnx'; there are merged, vllm, gguf"):
        commands.export(student, "onnx")
    with pytest.raises(ConfigError, match="is a ranker, which scores solutions"):
        commands.export(taught(tmp_path / "ranker", role="ranker"), "merged")
    (tmp_path / "there").mkdir()
    with pytest.raises(ConfigError, match="is in the way"):
        commands.export(student, "merged", out=tmp_path / "there")
    with pytest.raises(ConfigError, match="was distilled on other base weights"):
        commands.export(student, "merged", out=tmp_path / "out", base="miniature/llm")
    nat = taught(tmp_path / "nat")
    (nat / "nat_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match="is a NAT student"):
        commands.export(nat, "merged")
    outcome = CliRunner().invoke(main, ["export", str(tmp_path)])
    assert outcome.exit_code == 2 and "has no divcon.json" in outcome.stderr
    outcome = CliRunner().invoke(main, ["export", str(student), "--out", str(tmp_path / "by-default")])
    assert outcome.exit_code == 0 and (tmp_path / "by-default" / "model.safetensors").is_file()


# -- the probe ---------------------------------------------------------------------------------------------------------


def scores(student: Path | None) -> list[float]:
    model = load_model(model_directory(BASE), "float32", "cpu")
    tokens = load_tokenizer(model_directory(BASE))(probe._TEXT, add_special_tokens=False)["input_ids"]
    return probe.logprobs(load_adapter(model, student, "s").eval() if student else model, tokens)


def server(base: list[float], adapted: list[float]) -> probe.Logprobs:
    return lambda _, with_it: adapted if with_it else base


def test_a_server_of_the_bare_base_is_found_out(student: Path) -> None:
    tokenizer, base, adapted = load_tokenizer(student), scores(None), scores(student)
    half = [b + (a - b) * 0.8 for a, b in zip(adapted, base, strict=True)]
    for served in (adapted, half):
        probe.check_served(student, tokenizer, server(base, served), "It")
    for served in (base, [b - (a - b) for a, b in zip(adapted, base, strict=True)]):
        with pytest.raises(ConfigError, match=rf"^It does not serve the adapter in .*export {student} --vllm"):
            probe.check_served(student, tokenizer, server(base, served), "It")


def test_an_adapter_of_others_must_change_anything_at_all(student: Path, tmp_path: Path) -> None:
    tokenizer, base, adapted = load_tokenizer(student), scores(None), scores(student)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (theirs / name).write_bytes((student / name).read_bytes())
    probe.check_served(theirs, tokenizer, server(base, adapted), "It")
    with pytest.raises(ConfigError, match="should change at all"):
        probe.check_served(theirs, tokenizer, server(base, base), "It")


def test_a_damaged_probe_is_named(student: Path, tmp_path: Path) -> None:
    (tmp_path / "probe.json").write_text('{"tokens": [1, 2, 3], "change": [0.1]}', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"probe\.json is damaged: .*remove the file"):
        probe.check_served(tmp_path, load_tokenizer(student), server([0.0], [0.0]), "It")
