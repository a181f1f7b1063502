"""DPO and KTO are TRL's own: stock trainers on the same text make the same adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, set_seed
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer

from divcon.distill.data.examples import Example
from divcon.distill.data.groups import TrainingGroup
from divcon.distill.recipes import Lora, Training
from divcon.distill.training.batch_plan import plan
from divcon.distill.training.preference import PlannedDPO, PlannedKTO
from divcon.distill.training.trainer import _arguments, encoded, fit, tunable
from divcon.lm import Message
from divcon.lm.local.weights import load_model, load_tokenizer, model_directory

pytestmark = pytest.mark.model

BASE = model_directory("miniature/base")
RECIPE = Training(
    tuning=Lora(rank=4, alpha=8, targets=("q_proj", "v_proj")),
    learning_rate=4e-3,
    batch_size=16,
    epochs=3,
    checkpoints=1,
)

STOCK = {"train_sampling_strategy": "sequential", "use_cpu": True, "dataloader_pin_memory": False}


def example(i: int, right: bool) -> Example:
    asked = (Message("user", f"How many apples does Ben have after he buys {i} apples?"),)
    return Example(asked, f"The answer is {i if right else 2 * i}.", right)


def start() -> Any:
    """An adapter that is not the base any more, so that neither the policy nor its reference is."""
    model = tunable(load_model(BASE, "float32", "cpu"), RECIPE, 0)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.05)
    return model


def prompt(tokenizer: PreTrainedTokenizerBase, of: Example) -> str:
    turns = [{"role": m.role, "content": m.content} for m in of.messages]
    return str(tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))


def in_our_order(tokenizer: PreTrainedTokenizerBase, units: list[TrainingGroup]) -> list[TrainingGroup]:
    """All batches in a row, as `fit` draws them."""
    lengths = [sum(len(row["input_ids"]) for row in unit) for unit in encoded(tokenizer, units, 1024)]
    size = RECIPE.batch_size // len(units[0])
    batches = plan(lengths, batch=size, micro_batch=size, seed=0, budget=None, epochs=RECIPE.epochs)
    assert [len(batch) for batch in batches] == [size] * 3
    return [units[i] for batch in batches for i in batch]


def stock(trainer: Any, config: Any, rows: list[dict[str, Any]], batch: int, scratch: Path) -> Any:
    """What TRL's own trainer makes of the same text, three batches of it."""
    model = start()
    set_seed(0)
    arguments = config(**_arguments(RECIPE, 3, 1, batch, 0, scratch), **STOCK)
    data = Dataset.from_list(rows)
    trainer(model, args=arguments, train_dataset=data, processing_class=load_tokenizer(BASE)).train()
    return model


def same(ours: Any, theirs: Any) -> None:
    before = dict(start().named_parameters())
    for name, p in ours.named_parameters():
        if ".default" in name:
            torch.testing.assert_close(p, dict(theirs.named_parameters())[name], rtol=0, atol=1e-5)
    moved = max(float((p - before[n]).detach().abs().max()) for n, p in ours.named_parameters() if ".default" in n)
    assert moved > 1e-3


def test_dpo_is_trls(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(BASE)
    units: list[TrainingGroup] = [(example(i, True), example(i, False)) for i in range(11, 19)]
    ours = start()
    fit(ours, tokenizer, units, RECIPE, seed=0, scratch=tmp_path / "ours", kind=PlannedDPO)
    rows = [
        {"prompt": prompt(tokenizer, good), "chosen": good.reply, "rejected": bad.reply}
        for good, bad in in_our_order(tokenizer, units)
    ]
    same(ours, stock(DPOTrainer, DPOConfig, rows, 8, tmp_path / "stock"))


def test_kto_is_trls(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(BASE)
    units: list[TrainingGroup] = [(example(i, right),) for i in range(11, 19) for right in (True, False)]
    ours = start()
    fit(ours, tokenizer, units, RECIPE, seed=0, scratch=tmp_path / "ours", kind=PlannedKTO)
    rows = [
        {"prompt": prompt(tokenizer, one), "completion": one.reply, "label": one.right}
        for (one,) in in_our_order(tokenizer, units)
    ]
    same(ours, stock(KTOTrainer, KTOConfig, rows, 16, tmp_path / "stock"))
