"""What is said to a `vllm serve`, without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from divcon.lm.api.limits import Limits
from divcon.lm.engines.vllm_server import VLLMServer
from divcon.lm.local.weights import load_tokenizer, model_directory

from ...fakes.families import make

pytestmark = pytest.mark.model


@pytest.mark.parametrize("marks", [[], ["[THINK]", "[/THINK]"]])
def test_marks_of_reasoning_that_are_special_tokens_are_asked_for(marks: list[str], tmp_path: Path) -> None:
    """Else a server without a parser of reasoning keeps a thought and leaves out what says that it is one."""
    directory = make("Llama 3", tmp_path / "model")
    tokenizer = load_tokenizer(model_directory(str(directory)))
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    tokenizer.save_pretrained(directory)
    server = VLLMServer(str(directory), "http://127.0.0.1:1/v1", api_key_env="VLLM_API_KEY", limits=Limits())
    extra = server._engine("model").spec.extra
    assert extra.get("skip_special_tokens") is (False if marks else None)
