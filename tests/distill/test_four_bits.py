"""An adapter on a base in 4 bits: where bitsandbytes is there, else one sentence."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from divcon.core.errors import ConfigError
from divcon.distill.recipes import DecomposerRecipe, Lora
from divcon.distill.training.flops import work
from divcon.distill.training.trainer import train
from divcon.lm.local.footprint import footprint_of
from divcon.lm.local.weights import load_model, model_directory

from ..fakes.students import BRIEF, EXAMPLES

pytestmark = pytest.mark.model
BASE = model_directory("miniature/base")
RECIPE = DecomposerRecipe(tuning=Lora(rank=4, base_bits=4), **BRIEF)


def test_without_bitsandbytes_it_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "divcon.lm.local.weights.find_spec", lambda name: None if name == "bitsandbytes" else found(name)
    )
    with pytest.raises(ConfigError, match=r"needs bitsandbytes, which is not installed: pip install 'divcon\[qlora\]'"):
        train(EXAMPLES, BASE, tmp_path / "out", RECIPE, seed=0, scratch=tmp_path / "scratch")


def test_hashes_of_adapters_on_a_base_as_it_is_do_not_name_the_setting() -> None:
    assert "base_bits" not in Lora().model_dump() and "base_bits" not in Lora().model_dump_json()
    assert Lora(base_bits=4).model_dump(mode="json")["base_bits"] == 4
    assert Lora.model_validate(Lora().model_dump()) == Lora()


def test_an_adapter_learns_on_it_and_its_work_is_that_of_the_whole_base(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed: pip install 'divcon[qlora]'")
    packed = load_model(BASE, "float32", "cpu", 4)
    assert type(packed.model.layers[0].self_attn.q_proj).__name__ == "Linear4bit"
    assert work(packed).footprint == footprint_of(BASE)
    report = train(EXAMPLES, BASE, tmp_path / "out", RECIPE, seed=0, scratch=tmp_path / "scratch")
    assert report.steps > 0 and (tmp_path / "out" / "adapter_model.safetensors").is_file()
