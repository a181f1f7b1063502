"""Today's families of models in small: each is loaded, counted, trained, kept, asked and served.

What a test records goes into docs/reference/models.md (`bench/models.py`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode
from transformers import GenerationMixin, PreTrainedModel

from divcon.core.errors import ConfigError
from divcon.distill.data.examples import Example
from divcon.distill.recipes import DecomposerRecipe, Full, Lora
from divcon.distill.training.flops import work
from divcon.distill.training.trainer import encode_example, train, tunable
from divcon.lm import Message, Model, Request, Sampling, Store
from divcon.lm.engines.transformers import Transformers
from divcon.lm.local.footprint import footprint_of, is_non_text_module
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
THINKERS = (
    "Qwen 3",
    "Qwen 3, mixture",
    "Qwen 3.5",
    "Qwen 3.5, mixture",
    "GLM 4.5",
    "Nemotron-H",
    "gpt-oss",
    "Gemma 4",
    "DeepSeek V3",
)
"""Families whose templates have a switch."""
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


class _SentError(Exception):
    """The token ids that a model was about to be asked with."""


def ids_sent(directory: Path, thinking: Thinking | None, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the engine hands to the model's own `generate`."""

    def stopped(*_: object, input_ids: torch.Tensor, **__: object) -> None:
        raise _SentError(input_ids[0].tolist())

    monkeypatch.setattr(GenerationMixin, "generate", stopped)
    with Store() as store, pytest.raises(_SentError) as sent:
        Model("m", Transformers(str(directory), dtype="float32"), store, thinking=thinking)([Request(MESSAGES)])
    ids: list[int] = sent.value.args[0]
    return ids


def test_a_student_is_trained_in_the_context_in_which_it_is_asked(
    family: tuple[str, Path], record_property: Callable[[str, object], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, directory = family
    tokenizer = load_tokenizer(directory)
    followed = []
    for kind, thinking in {"unset": None, **THINKING}.items():
        try:
            row = encode_example(tokenizer, EXAMPLES[0], thinking)
        except ConfigError as error:
            assert "`thinking`" in str(error) or "say on, off or a budget" in str(error)
            continue
        followed.append(kind)
        context = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label == -100]
        assert ids_sent(directory, thinking, monkeypatch) == context
        assert row["input_ids"][: len(context)] == context
    assert "unset" in followed
    assert ("on" in followed) is (name in THINKERS)
    record_property("thinking", ", ".join(followed[1:]) or "no switch")


def test_its_size_is_what_a_token_of_text_passes(
    family: tuple[str, Path], record_property: Callable[[str, object], None]
) -> None:
    """Torch counts the full square of attention, of which half is needed. A scan is counted token by token."""
    name, directory = family
    model, size = load_model(directory, "float32", "cpu"), footprint_of(directory)
    model.set_attn_implementation("eager")
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")
    counted = next_token(model) if FAMILIES[name].has_recurrent_layers else prompt(model)
    ours = size.forward([TOKENS]) + 2 * size.layers * size.width * TOKENS**2
    if FAMILIES[name].has_recurrent_layers:
        ours = 2 * size.parameters + 4 * size.layers * size.width * TOKENS
    assert size.layers > 0 and size.width > 0
    record_property("flops", f"{ours / counted:.3f}")
    if FAMILIES[name].dense:
        assert ours < counted
    else:
        assert ours == pytest.approx(counted, rel=0.05 if FAMILIES[name].has_recurrent_layers else 0.02)


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
    """On no tower of another modality, no router of experts, no convolution or output of a state-space layer; and on
    attention and feed-forward layers, but for gpt-oss's experts, which PEFT knows no names for."""
    name, directory = family
    model = tunable(load_model(directory, "float32", "cpu"), DecomposerRecipe(tuning=Lora(rank=4)), 0)
    adapted = {at.partition(".lora_A")[0] for at, _ in model.named_parameters() if ".lora_A" in at}
    mixers = {at for at, module in model.named_modules() if "mamba" in type(module).__name__.lower()}
    for at in adapted:
        assert not re.search(r"vision|audio|tower|multi_modal|router|\.gate(\.|$)|shared_expert_gate|conv1d", at), at
        assert not (at.endswith("out_proj") and at.rpartition(".")[0] in mixers), at
    assert any(re.search(r"q_proj|qkv_proj|q_a_proj|q_b_proj", at) for at in adapted)
    feeds_forward = any(re.search(r"up_proj|gate_up|experts|w1|input_linear", at) for at in adapted)
    assert feeds_forward is (name != "gpt-oss")


def test_all_of_it_learns_and_the_whole_model_loads_again(family: tuple[str, Path], tmp_path: Path) -> None:
    _, directory = family
    recipe = DecomposerRecipe(tuning=Full(kind="full"), learning_rate=1e-3, **BRIEF)
    train(EXAMPLES, directory, tmp_path / "out", recipe, seed=0, scratch=tmp_path / "scratch")
    assert len(asked(tmp_path / "out")) == 2
    assert footprint_of(tmp_path / "out") == footprint_of(directory)
    before, after = (
        dict(load_model(path, "float32", "cpu").named_parameters()) for path in (directory, tmp_path / "out")
    )
    assert before.keys() == after.keys()
    learned = {name for name in before if not torch.equal(before[name], after[name])}
    text = {name for name in before if not is_non_text_module(name)}
    assert len(learned) > 0.8 * len(text) and not learned - text


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
