"""What is counted, and that nothing is invented."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config, GPT2LMHeadModel

from divcon.core.errors import ConfigError
from divcon.distill import methods
from divcon.distill.methods import Distillation, distil
from divcon.distill.recipes import Full, Lora, NceSettings, Training
from divcon.distill.traces.collect import operations
from divcon.distill.traces.trace import Trace
from divcon.distill.training import trainer
from divcon.distill.training.trainer import tunable
from divcon.eval.config import load
from divcon.lm import Usage
from divcon.lm.cost.flops import ModelSize, total
from divcon.lm.cost.prices import AnyPrice, MachinePrice, Price, prorated
from divcon.lm.local.footprint import footprint_of
from divcon.lm.local.weights import load_model, model_directory
from divcon.lm.settings import TransformersSettings
from divcon.lm.types import shared_prompt
from divcon.tasks import Question

from ...distill.test_methods import MATERIAL, reply


def test_k_samples_cost_the_prompt_once_and_k_completions() -> None:
    samples = [Usage(100, 10, 20, 1.0), Usage(100, 30, 20, 1.0)]
    assert shared_prompt(samples) == Usage(100, 40, 20, 2.0)
    footprint = ModelSize(1000)
    assert footprint.flops(samples) == 2 * 1000 * (100 + 10 + 30)


def test_no_sample_costs_nothing() -> None:
    assert ModelSize(1000).flops([]) == 0.0
    assert shared_prompt([]) == Usage()


def test_a_sample_attends_to_its_own_tokens_only() -> None:
    footprint = ModelSize(0, layers=2, width=8)
    alone = footprint.flops([Usage(10, 5)])
    assert alone == 2 * 2 * 8 * 15**2
    assert footprint.flops([Usage(10, 5), Usage(10, 5)]) == 2 * alone - 2 * 2 * 8 * 10**2


def test_the_count_agrees_with_torch() -> None:
    """Causal attention does half of what torch counts for the full square; all else is counted alike."""
    directory = model_directory("miniature/base")
    model, footprint, tokens = load_model(directory, "float32", "cpu"), footprint_of(directory), 64
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.ones(1, tokens, dtype=torch.long))
    square = 2 * footprint.layers * footprint.width * tokens**2
    ours = footprint.flops([Usage(tokens, 0)]) + square
    assert ours == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_sizes_are_found_under_the_names_of_older_families(tmp_path: Path) -> None:
    """GPT-2's `n_embd`, `n_layer` and `n_head`; torch counts the whole square of attention, of which half is needed."""
    model = GPT2LMHeadModel(GPT2Config(vocab_size=300, n_positions=64, n_embd=64, n_layer=2, n_head=4)).eval()
    model.set_attn_implementation("eager")
    model.save_pretrained(tmp_path)
    size = footprint_of(tmp_path)
    assert (size.layers, size.width) == (2, 64)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.full((1, 48), 5), use_cache=False)
    ours = size.forward([48]) + 2 * size.layers * size.width * 48**2
    assert ours == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_the_count_of_a_prompt_and_its_samples_agrees_with_torch() -> None:
    """Two completions go on from the cache of one prompt; of the prompt alone torch counts the full square."""
    directory = model_directory("miniature/base")
    model, footprint = load_model(directory, "float32", "cpu"), footprint_of(directory)
    model.set_attn_implementation("eager")
    prompt, written = 48, (20, 12)
    one = torch.ones(1, 1, dtype=torch.long)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        read = model(one.expand(1, prompt), use_cache=True).past_key_values
        for tokens in written:
            cache = deepcopy(read)
            for _ in range(tokens):
                model(one, past_key_values=cache, use_cache=True)
    square = 2 * footprint.layers * footprint.width * prompt**2
    ours = footprint.flops([Usage(prompt, tokens) for tokens in written]) + square
    assert ours == pytest.approx(counter.get_total_flops(), rel=0.01)


@pytest.mark.parametrize(
    ("tuning", "rel"),
    [(Full(kind="full"), 0.005), (Lora(rank=16, alpha=32), 0.04), (Lora(rank=8, targets=("q_proj", "v_proj")), 0.04)],
)
def test_the_count_of_a_training_step_agrees_with_torch(tuning: Full | Lora, rel: float) -> None:
    """With adapters the first layer of the frozen base needs no gradient of its input, which we count: 2 to 4 %."""
    directory = model_directory("miniature/base")
    base = load_model(directory, "float32", "cpu")
    base.set_attn_implementation("eager")
    model: Any = tunable(base, Training(tuning=tuning), 0).train()
    learns = sum(p.numel() for p in model.parameters() if p.requires_grad)
    footprint = footprint_of(directory).with_adapter(learns if isinstance(tuning, Lora) else 0)
    tokens = torch.randint(5, 100, (1, 96))
    with FlopCounterMode(display=False) as counter:
        model(input_ids=tokens, labels=tokens).loss.backward()
    square = 6 * footprint.layers * footprint.width * 96**2  # causal attention does half of what torch counts
    ours = footprint.training([96], learns) + square
    assert ours == pytest.approx(counter.get_total_flops(), rel=rel) and ours >= counter.get_total_flops()


@pytest.mark.model
@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("kd", {}),
        ("kd", {"tuning": Full(kind="full")}),
        ("cl", {}),
        ("nat", {}),
        ("nce", {}),
        ("nce", {"nce": NceSettings(cache="online")}),
        ("nce", {"nce": NceSettings(cache="weights", data="teacher")}),
        ("dpo", {}),
        ("kto", {}),
        ("redi", {"gradient_checkpointing": True}),
    ],
)
def test_what_a_card_says_of_a_method_agrees_with_torch(
    method: str, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole trainings, frozen models and all, within 5 %: torch counts padding too, and misses what nobody needs."""

    def eager(*where: Any) -> Any:
        model = load_model(*where)
        model.set_attn_implementation("eager")
        return model

    for module in (methods, trainer):
        monkeypatch.setattr(module, "load_model", eager)
    monkeypatch.setattr("divcon.lm.local.probe.write", lambda *_: None)  # passes that are no part of the training
    recipe = Training(
        method=method, tuning=Lora(rank=8, alpha=16), learning_rate=1e-3, max_train_tokens=700, batch_size=4
    )
    recipe = recipe.model_copy(update=changes)
    base = model_directory("miniature/base")
    course = Distillation(MATERIAL, base, recipe, seed=0, scratch=tmp_path / "scratch", own=lambda _: [reply(40, True)])
    with FlopCounterMode(display=False) as counter:
        trained = distil(method, course, tmp_path / "out")
    assert trained.flops == pytest.approx(counter.get_total_flops(), rel=0.05) and trained.device == "cpu"


def test_full_tuning_takes_six_operations_a_weight_and_adapters_four() -> None:
    assert ModelSize(1000).training([7], 1000) == 6 * 1000 * 7
    assert ModelSize(1000).with_adapter(10).training([7], 10) == (4 * 1000 + 6 * 10) * 7
    assert ModelSize(1000).training([7], 1000, again=True) == 8 * 1000 * 7
    assert ModelSize(0, layers=2, width=8).training([5, 3], 0) == 3 * 2 * 2 * 8 * (25 + 9)
    assert ModelSize(1000).training([7], 2000) == ModelSize(1000).training([7], 1000)  # embeddings are looked up


def trace(attempt: int, decomposition: Usage, solution: Usage) -> Trace:
    return Trace(Question("1", "?", "1"), (), "", "", None, "wrong", attempt, solution, decomposition)


def test_traces_cost_each_attempts_decomposition_and_its_solutions_prompt_once() -> None:
    asked, solved = Usage(10, 5), Usage(20, 7)
    traces = [trace(0, asked, solved), trace(0, asked, solved), trace(1, asked, solved)]
    both = operations(traces, ModelSize(100), ModelSize(1000))
    assert both == 200 * (2 * 15) + 2000 * (20 + 14 + 20 + 7)
    assert operations(traces, ModelSize(0), ModelSize(1000)) == 2000 * (20 + 14 + 20 + 7)
    assert operations(traces, None, ModelSize(1000)) is None
    assert total([1.0, None]) is None and total([]) == 0


def test_cached_tokens_have_their_own_price() -> None:
    usage = Usage(prompt_tokens=1_000_000, completion_tokens=500_000, cached_tokens=400_000)
    assert Price(prompt=1.0, completion=2.0).dollars(usage) == pytest.approx(2.0)
    assert Price(prompt=1.0, completion=2.0, cached=0.5).dollars(usage) == pytest.approx(1.8)


def test_a_machine_is_paid_by_its_time_or_by_its_operations() -> None:
    usage = Usage(10, 5, seconds=4.0)
    assert MachinePrice(second=0.001).dollars(usage) == pytest.approx(0.004)
    assert MachinePrice(exaflop=0.5).dollars(usage, 2e18) == pytest.approx(1.0)
    assert MachinePrice(second=1.0, exaflop=0.5).dollars(usage, None) is None


@pytest.mark.parametrize(
    ("price", "rates"),
    [
        ({"prompt": 1, "completion": 2, "cached": 0.5, "scale": 0.5}, Price(prompt=0.5, completion=1.0, cached=0.25)),
        ({"second": 0.001}, MachinePrice(second=0.001)),
        ({"exaflop": 2}, MachinePrice(exaflop=2.0)),
    ],
)
def test_a_price_is_told_by_its_keys(price: dict[str, float], rates: AnyPrice) -> None:
    settings = TransformersSettings.model_validate({"engine": "transformers", "path": "miniature/llm", "price": price})
    again = TransformersSettings.model_validate(settings.model_dump())
    for read in (settings.rates(), again.rates()):
        assert isinstance(read, type(rates)) and read.rates() == rates.rates()
        assert read.dollars(Usage(2, 1, seconds=1.0), 1e18) == rates.dollars(Usage(2, 1, seconds=1.0), 1e18)


def test_a_share_of_the_parameters_is_a_share_of_the_price() -> None:
    """Divide-or-Conquer's 13B student of a 175B LLM at $1 and $2 a million tokens: 7.4e-5 and 1.5e-4 a thousand."""
    student = prorated(Price(prompt=1.0, completion=2.0, cached=0.5, source="table"), ModelSize(13), ModelSize(175))
    assert student == Price(
        prompt=13 / 175, completion=26 / 175, cached=6.5 / 175, source="table; 0.07429 of it, by parameters"
    )
    assert student.prompt / 1000 == pytest.approx(7.42e-5, rel=0.002)
    for unknown in (
        (None, ModelSize(13), ModelSize(175)),
        (Price(prompt=1, completion=2), None, ModelSize(1)),
        (Price(prompt=1, completion=2), ModelSize(1), None),
    ):
        assert prorated(*unknown) is None
    assert prorated(MachinePrice(second=1.0), ModelSize(13), ModelSize(175)) is None


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["llm.price={like: llm}"], "llm.price cannot be like the LLM's own"),
        (["student.price={like: llm}", "llm.price={second: 1}"], "a share of a price by tokens"),
        (["student.price={like: base}"], "student.price.like"),
    ],
)
def test_a_share_of_nothing_is_refused(overrides: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load("miniature", overrides)
