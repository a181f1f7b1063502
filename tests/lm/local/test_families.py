"""Today's families of models in small: each is loaded, counted, trained, kept, asked and served.

What a test records goes into docs/reference/models.md (`bench/models.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from divcon.core.errors import ConfigError
from divcon.distill.data.examples import Example
from divcon.distill.recipes import DecomposerRecipe, Full, Lora
from divcon.distill.training.flops import work
from divcon.distill.training.trainer import encode_example, train, tunable
from divcon.lm import Message, Model, Request, Sampling, Store
from divcon.lm.engines.transformers import Transformers
from divcon.lm.local.adapters import unfit_layers
from divcon.lm.local.chat_template import encode
from divcon.lm.local.footprint import footprint_of
from divcon.lm.local.weights import load_model, load_tokenizer
from divcon.lm.types import Thinking
from divcon.serve.backends.local import LocalModel

from ...fakes.families import FAMILIES, make

pytestmark = pytest.mark.model
QUICK = ("Llama 3", "Qwen 3.5", "Qwen 3, mixture", "Nemotron-H", "Mistral 3")
TOKENS = 48
MESSAGES = (Message("user", "How many pears are there?"),)
EXAMPLES = [Example(MESSAGES, f"There are {n} pears.") for n in range(4)]
THINKING = {
    "off": Thinking(False),
    "on": Thinking(True),
    "budget": Thinking(True, budget=9),
    "effort": Thinking(True, effort="low"),
}
BRIEF: dict[str, Any] = {"max_train_tokens": 300, "batch_size": 2, "checkpoints": 1}


@pytest.fixture(scope="module", params=[n if n in QUICK else pytest.param(n, marks=pytest.mark.long) for n in FAMILIES])
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, make(request.param, tmp_path_factory.mktemp("family") / "model")


def asked(directory: Path, adapter: Path | None = None) -> list[tuple[str, str | None]]:
    with Store() as store:
        model = Model("m", Transformers(str(directory), dtype="float32"), store, adapter=adapter)
        replies = model([Request(MESSAGES, Sampling(max_tokens=6)), Request((*MESSAGES, *MESSAGES), n=1)])
    return [(completion.text, completion.reasoning) for completions in replies for completion in completions]


def prompt(model: PreTrainedModel) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.full((1, TOKENS), 5), use_cache=False)
    return int(counter.get_total_flops())


def next_token(model: PreTrainedModel) -> int:
    """Behind a prompt that was read before."""
    with torch.no_grad():
        read = model(torch.full((1, TOKENS - 1), 5), use_cache=True).past_key_values
        with FlopCounterMode(display=False) as counter:
            model(torch.full((1, 1), 5), past_key_values=read, use_cache=True)
    return int(counter.get_total_flops())


def test_a_student_is_trained_in_the_context_in_which_it_is_asked(
    family: tuple[str, Path], record_property: Callable[[str, object], None]
) -> None:
    _, directory = family
    tokenizer = load_tokenizer(directory)
    followed = []
    for name, thinking in THINKING.items():
        try:
            context = encode(tokenizer, MESSAGES, thinking)
        except ConfigError as error:
            assert "`thinking`" in str(error) or "say on, off or a budget" in str(error)
            continue
        followed.append(name)
        assert encode_example(tokenizer, EXAMPLES[0], thinking)["input_ids"][: len(context)] == context
    plain = encode(tokenizer, MESSAGES)
    assert encode_example(tokenizer, EXAMPLES[0])["input_ids"][: len(plain)] == plain
    record_property("thinking", ", ".join(followed) or "none of its own")


def test_its_size_is_what_a_token_of_text_passes(
    family: tuple[str, Path], record_property: Callable[[str, object], None]
) -> None:
    """Torch counts the full square of attention, of which half is needed. A scan is counted token by token."""
    name, directory = family
    model, size = load_model(directory, "float32", "cpu"), footprint_of(directory)
    model.set_attn_implementation("eager")
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")
    counted = next_token(model) if FAMILIES[name].scans else prompt(model)
    ours = size.forward([TOKENS]) + 2 * size.layers * size.width * TOKENS**2
    if FAMILIES[name].scans:
        ours = 2 * size.parameters + 4 * size.layers * size.width * TOKENS
    assert size.layers > 0 and size.width > 0
    record_property("flops", f"{ours / counted:.3f}")
    if FAMILIES[name].dense:
        assert ours < counted
    else:
        assert ours == pytest.approx(counted, rel=0.05 if FAMILIES[name].scans else 0.02)


def test_a_pass_in_training_is_as_much_work_as_one_in_use(family: tuple[str, Path]) -> None:
    _, directory = family
    model, size = load_model(directory, "float32", "cpu"), footprint_of(directory)
    assert work(model).footprint.parameters == pytest.approx(size.parameters, rel=1e-3)  # files hold buffers too
    assert (work(model).footprint.layers, work(model).footprint.width) == (size.layers, size.width)
    adapted = work(tunable(model, DecomposerRecipe(tuning=Lora(rank=4)), 0))
    assert 0 < adapted.trained < size.parameters
    assert adapted.footprint.parameters == pytest.approx(size.parameters + adapted.trained, rel=1e-3)


def test_an_adapter_learns_on_it_and_is_asked(family: tuple[str, Path], tmp_path: Path) -> None:
    _, directory = family
    recipe = DecomposerRecipe(tuning=Lora(rank=4, alpha=64), learning_rate=0.05, **BRIEF)
    report = train(EXAMPLES, directory, tmp_path / "out", recipe, seed=0, scratch=tmp_path / "scratch")
    assert report.steps > 0 and report.parameters > 0
    weights = load_file(tmp_path / "out" / "adapter_model.safetensors")
    learned = [name for name, tensor in weights.items() if "lora_B" in name and bool(tensor.any())]
    assert learned and len(asked(directory, tmp_path / "out")) == 2


def test_no_adapter_lies_where_none_belongs(family: tuple[str, Path]) -> None:
    name, directory = family
    pattern = unfit_layers(load_model(directory, "float32", "cpu")) or ""
    if name in ("Gemma 3", "Gemma 4", "Mistral 3"):
        assert "vision" in pattern
    if name in ("Nemotron-H", "Falcon-H1", "Granite 4"):
        assert "out_proj" in pattern and "conv1d" in pattern
    if name in ("Qwen 3, mixture", "Llama 4", "DeepSeek V3", "Granite 4"):
        assert "gate" in pattern or "router" in pattern
    if name in ("Llama 3", "Qwen 2.5", "Qwen 3", "SmolLM 3", "OLMo 3", "Phi 3"):
        assert not pattern


def test_all_of_it_learns_and_the_whole_model_loads_again(family: tuple[str, Path], tmp_path: Path) -> None:
    _, directory = family
    recipe = DecomposerRecipe(tuning=Full(kind="full"), learning_rate=1e-3, **BRIEF)
    train(EXAMPLES, directory, tmp_path / "out", recipe, seed=0, scratch=tmp_path / "scratch")
    assert len(asked(tmp_path / "out")) == 2
    assert footprint_of(tmp_path / "out") == footprint_of(directory)


def test_it_is_served_whole_and_as_a_stream(family: tuple[str, Path]) -> None:
    _, directory = family
    body = {"messages": [{"role": "user", "content": "How many?"}], "max_tokens": 6, "temperature": 0}

    async def scene() -> tuple[dict[str, Any], str]:
        model = LocalModel(Transformers(str(directory), dtype="float32"), None, "m", most=2, max_queue=2)
        try:
            whole = await model.complete(body)
            chunks = [chunk async for chunk in model.stream(body)]
        finally:
            await model.close()
        return whole, "".join(c["delta"].get("content") or "" for chunk in chunks for c in chunk["choices"])

    whole, heard = asyncio.run(scene())
    assert whole["choices"][0]["message"]["content"] == heard
    assert whole["usage"]["completion_tokens"] > 0
