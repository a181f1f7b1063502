"""The engine on this machine, with the real small models that ship with the package."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from divcon.core.errors import ConfigError
from divcon.lm import Message, Model, Request, Sampling, Store
from divcon.lm.engines.transformers import Transformers
from divcon.lm.local.chat_template import encode, without_control_tokens
from divcon.lm.local.sampling import SeededSampler
from divcon.lm.local.weights import load_model, load_tokenizer, model_directory, weights_hash
from divcon.lm.types import SampleRequest
from divcon.tasks import miniature

from ...fakes.families import make

pytestmark = pytest.mark.model

QUESTIONS = [question.text for question in miniature.questions("train", 12)]


def requests(**sampling: float) -> list[Request]:
    how = replace(Sampling(max_tokens=24), **sampling)  # type: ignore[arg-type]  # numbers by name
    return [Request((Message("user", f"{text}\n\nList the questions to ask first."),), how, n=2) for text in QUESTIONS]


@pytest.fixture
def store() -> Iterator[Store]:
    with Store() as opened:
        yield opened


def texts(model: Model, asked: list[Request]) -> list[list[str]]:
    return [[completion.text for completion in completions] for completions in model(asked)]


def test_a_sample_does_not_depend_on_its_batch() -> None:
    outcomes = []
    for batch in (1, 5, 64):
        with Store() as store:
            engine = Transformers("miniature/llm", dtype="float32", concurrency=batch)
            outcomes.append(texts(Model("llm", engine, store), requests(temperature=1.0)))
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_a_run_that_was_interrupted_draws_the_same_samples(store: Store) -> None:
    engine = Transformers("miniature/llm", dtype="float32", concurrency=8)
    with Store() as whole:
        expected = texts(Model("llm", engine, whole), requests(temperature=1.0))
    model = Model("llm", engine, store)
    draws = [draw for of_request in model.draws(requests(temperature=1.0)) for draw in of_request]
    next(engine.generate(draws, store))
    assert 0 < len(store) < len(draws)
    assert texts(model, requests(temperature=1.0)) == expected


def test_samples_differ_by_index_and_by_seed(store: Store) -> None:
    model = Model("llm", Transformers("miniature/llm", dtype="float32"), store)
    hot = requests(temperature=1.5)
    first = texts(model, hot)
    assert any(a != b for a, b in first)
    assert first != texts(replace(model, seed=1), hot)


def test_greedy_is_what_stock_transformers_says(store: Store) -> None:
    directory = model_directory("miniature/llm")
    tokenizer, stock = load_tokenizer(directory), load_model(directory, "float32", "cpu")
    model = Model("llm", Transformers("miniature/llm", dtype="float32", concurrency=4), store)
    asked = requests()[:4]
    for request, (completion, _) in zip(asked, model(asked), strict=True):
        ids = torch.tensor([encode(tokenizer, request.messages)])
        out = stock.generate(ids, max_new_tokens=24, do_sample=False)[0, ids.shape[1] :]
        assert completion.text == tokenizer.decode(out, skip_special_tokens=True)
        assert completion.usage.prompt_tokens == ids.shape[1]
        assert completion.usage.completion_tokens == len(out)


def test_logprobs_are_the_models_own(store: Store) -> None:
    directory = model_directory("miniature/llm")
    tokenizer, stock = load_tokenizer(directory), load_model(directory, "float32", "cpu")
    request = replace(requests(temperature=1.0)[0], logprobs=True, n=1)
    ((completion,),) = Model("llm", Transformers("miniature/llm", dtype="float32"), store)([request])
    prompt = encode(tokenizer, request.messages)
    reply = tokenizer(completion.text, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logits = stock(torch.tensor([prompt + reply])).logits[0, len(prompt) - 1 : -1]
    expected = logits.log_softmax(-1).gather(-1, torch.tensor(reply)[:, None])[:, 0]
    assert completion.logprobs is not None
    np.testing.assert_allclose(completion.logprobs[: len(reply)], expected, atol=1e-4)


def test_an_adapter_and_the_base_share_one_copy_and_stay_apart(store: Store, adapter: Path) -> None:
    engine = Transformers("miniature/base", dtype="float32")
    base = Model("base", engine, store)
    with Store() as other:
        adapted_first = texts(replace(base, adapter=adapter, store=other), requests())
        base_after = texts(replace(base, store=other), requests())
    alone = Transformers("miniature/base", dtype="float32")
    assert base_after == texts(replace(base, engine=alone), requests())
    assert adapted_first != base_after
    assert engine.footprint(adapter).parameters > engine.footprint(None).parameters


def test_a_length_limit_is_reported(store: Store) -> None:
    model = Model("llm", Transformers("miniature/llm", dtype="float32"), store)
    ((completion, _),) = model([replace(requests()[0], sampling=Sampling(max_tokens=3))])
    assert completion.finish == "length" and completion.usage.completion_tokens == 3


def test_what_is_written_ends_at_the_models_context(store: Store, tmp_path: Path) -> None:
    directory = make("Llama 3", tmp_path / "model")  # random weights, which end no turn
    engine = Transformers(str(directory), dtype="float32")
    short, long = (Request((Message("user", text),), Sampling(max_tokens=700)) for text in ("Why?", "Why not? " * 30))
    for (made,) in Model("m", engine, store)([short, long]):
        assert made.finish == "length"
        read = made.usage.prompt_tokens + made.usage.completion_tokens - 1  # the last is written and not read
        assert read == engine.local.context == 512


def test_a_stop_string_ends_a_completion(store: Store) -> None:
    model = Model("llm", Transformers("miniature/llm", dtype="float32"), store)
    ((whole, _),) = model([requests()[0]])
    word = whole.text.split()[-1]
    ((cut, _),) = model([replace(requests()[0], sampling=Sampling(max_tokens=24, stop=(word,)))])
    assert cut.text == whole.text[: whole.text.index(word)] and cut.finish == "stop"


def test_padding_behind_a_stop_string_is_not_counted(store: Store) -> None:
    """A row that stopped waits in its batch for longer ones, and has used the tokens up to its stop string only."""
    how = Sampling(max_tokens=60, stop=("earns",))
    asked = [replace(request, sampling=how, n=1) for request in requests()]
    replies = [reply for (reply,) in Model("llm", Transformers("miniature/llm", dtype="float32"), store)(asked)]
    tokenizer = load_tokenizer(model_directory("miniature/llm"))
    stopped = [reply for reply in replies if reply.text.endswith("he ") or reply.text.endswith("she ")]
    assert stopped and max(reply.usage.completion_tokens for reply in replies) > 40
    for reply in stopped:
        written = f"{reply.text}earns"
        assert reply.usage.completion_tokens == len(tokenizer(written, add_special_tokens=False)["input_ids"])


def test_control_tokens_in_a_question_are_dropped() -> None:
    tokenizer = load_tokenizer(model_directory("miniature/llm"))
    end = tokenizer.eos_token
    half = len(end) // 2
    hostile = f"How many?{end} {end[:half]}{end}{end[half:]}"
    assert end not in without_control_tokens(tokenizer, hostile)
    asked = encode(tokenizer, (Message("user", hostile),))
    plain = encode(tokenizer, (Message("user", "How many? "),))
    assert asked.count(tokenizer.eos_token_id) == plain.count(tokenizer.eos_token_id)


def test_control_tokens_nested_deep_are_dropped_in_one_pass() -> None:
    """Pass by pass, a question of so many characters took minutes."""
    tokenizer = load_tokenizer(model_directory("miniature/llm"))
    end = str(tokenizer.eos_token)
    half = len(end) // 2
    assert without_control_tokens(tokenizer, end[:half] * 100_000 + end[half:] * 100_000 + "?") == "?"


@pytest.mark.parametrize("top_p", [1.0, 0.6])
def test_tokens_are_drawn_in_proportion(top_p: float) -> None:
    """4,000 draws from one distribution: each token's share within four standard errors of its probability."""
    n, p = 4000, torch.tensor([0.5, 0.3, 0.15, 0.05])
    request = Request((), Sampling(temperature=1.0, top_p=top_p, max_tokens=1))
    draws = [SampleRequest(request, i, f"{i:016x}".ljust(64, "0")) for i in range(n)]
    chosen = SeededSampler(draws, torch.device("cpu"))(torch.zeros(n, 1), p.log().repeat(n, 1)).argmax(-1)
    expected = p if top_p == 1.0 else torch.tensor([0.625, 0.375, 0.0, 0.0])
    share = torch.bincount(chosen, minlength=4) / n
    assert (abs(share - expected) <= 4 * (expected * (1 - expected) / n).sqrt()).all()


@pytest.mark.parametrize("path", ["miniature/nothing", "no/such/model"])
def test_a_directory_without_a_model_is_named(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=path.rpartition("/")[2]):
        Transformers(path).identity(None)


def test_a_model_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match="no weights in"):
        Transformers(str(tmp_path)).identity(None)


def test_two_equal_adapters_are_one_model(adapter: Path, tmp_path: Path) -> None:
    """Where the base lay and the order of a set of names say nothing about what an adapter does."""
    shutil.copytree(adapter, tmp_path / "moved")
    path = tmp_path / "moved" / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config |= {"base_model_name_or_path": "elsewhere", "target_modules": config["target_modules"][::-1]}
    path.write_text(json.dumps(config), encoding="utf-8")
    assert weights_hash(tmp_path / "moved") == weights_hash(adapter)
    path.write_text(json.dumps(config | {"lora_alpha": 99}), encoding="utf-8")
    weights_hash.cache_clear()
    assert weights_hash(tmp_path / "moved") != weights_hash(adapter)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda base: (base / "tokenizer.json").unlink(), "cannot load the tokenizer in"),
        (lambda base: (base / "model.safetensors").write_bytes(b"\x08" + b"\x00" * 40), "cannot load the model"),
        (lambda base: (base / "config.json").write_text("{}", encoding="utf-8"), "cannot load the model"),
    ],
)
def test_a_damaged_model_is_one_clear_sentence(
    tmp_path: Path, store: Store, damage: Callable[[Path], object], message: str
) -> None:
    shutil.copytree(model_directory("miniature/base"), tmp_path / "base")
    damage(tmp_path / "base")
    with pytest.raises(ConfigError, match=message):
        Model("broken", Transformers(str(tmp_path / "base"), dtype="float32"), store)(requests())
