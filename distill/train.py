"""Training one student: TRL's SFTTrainer over examples that are encoded exactly as they will be asked.

The loss is on the reply and its end-of-turn token only. Order, initial adapter and learning rate follow from the seed,
and a training that was interrupted goes on from its last checkpoint with the same steps.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from torch.utils.data import DataLoader
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments, set_seed
from trl import SFTConfig, SFTTrainer

from ..lm.chat import encode
from ..lm.model import Advance
from ..lm.weights import load_model, load_tokenizer
from ..tasks.errors import ConfigError
from .batches import plan
from .examples import Example
from .recipes import Lora, Training
from .student import Trained

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def train(
    examples: Sequence[Example],
    base: Path,
    out: Path,
    recipe: Training,
    *,
    seed: int,
    scratch: Path,
    advance: Advance,
    device: str = "auto",
) -> Trained:
    """Train a student on `base` and leave its weights and tokenizer in `out`.

    `scratch` holds checkpoints, so that the same call after an interruption goes on. Raises ConfigError when no
    example is short enough, when the base has no such layers, and when the loss is not a number.
    """
    started = time.perf_counter()
    tokenizer = load_tokenizer(base)
    encoded = [_encode(tokenizer, example) for example in examples]
    rows = [row for row in encoded if len(row["input_ids"]) <= recipe.max_length]
    if not rows:
        raise ConfigError(f"all {len(examples)} examples are longer than max_length {recipe.max_length}")
    lengths = [len(row["input_ids"]) for row in rows]
    micro = recipe.micro_batch or recipe.batch
    batches = plan(
        lengths, batch=recipe.batch, micro_batch=micro, seed=seed, tokens=recipe.tokens, epochs=recipe.epochs
    )
    steps = ceil(len(batches) * micro / recipe.batch)
    trainer = _Planned(
        plan=batches,
        model=_tunable(load_model(base, "float32", device), recipe, seed),
        args=_arguments(recipe, steps, seed, scratch),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[_Watch(advance)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=last_checkpoint(scratch))
    trainer.model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return Trained(
        examples=len(rows),
        dropped=len(encoded) - len(rows),
        steps=steps,
        tokens=sum(lengths[i] for batch in batches for i in batch),
        parameters=sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        seconds=time.perf_counter() - started,
        loss=losses[-1] if losses else float("nan"),
    )


def last_checkpoint(scratch: Path) -> str | None:
    """The newest checkpoint that was written to its end; one cut short by a crash is removed.

    The trainer's state is the last file of a checkpoint to be written.
    """
    found = sorted(scratch.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    for path in found:
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(path)
        else:
            return str(path)
    return None


def _encode(tokenizer: PreTrainedTokenizerBase, example: Example) -> dict[str, list[int]]:
    """Token ids, and labels that are -100 on the prompt; the reply ends with the end-of-turn token."""
    prompt = encode(tokenizer, example.messages)
    reply = [*tokenizer(example.reply, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return {"input_ids": prompt + reply, "labels": [-100] * len(prompt) + reply}


def _tunable(model: PreTrainedModel, recipe: Training, seed: int) -> PreTrainedModel | PeftModel:
    """The base with the adapter that the recipe asks for, its initial values drawn from the seed."""
    tuning = recipe.tuning
    if not isinstance(tuning, Lora):
        return model
    set_seed(seed)
    config = LoraConfig(
        r=tuning.rank,
        lora_alpha=tuning.alpha,
        lora_dropout=tuning.dropout,
        target_modules=tuning.targets if isinstance(tuning.targets, str) else list(tuning.targets),
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise ConfigError(f"no adapter fits on the base: {' '.join(str(error).split())[:200]}") from error


def _arguments(recipe: Training, steps: int, seed: int, scratch: Path) -> SFTConfig:
    micro = recipe.micro_batch or recipe.batch
    return SFTConfig(
        output_dir=str(scratch),
        max_steps=steps,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=recipe.batch // micro,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": 0.1},
        warmup_steps=ceil(recipe.warmup * steps),
        logging_steps=max(1, steps // 50),
        save_steps=ceil(steps / recipe.checkpoints),
        save_total_limit=2,
        bf16=recipe.bf16,
        gradient_checkpointing=recipe.gradient_checkpointing,
        max_length=None,  # over-long examples were dropped; TRL would cut them
        dataset_kwargs={"skip_prepare_dataset": True},
        seed=seed,
        report_to="none",
        disable_tqdm=True,
    )


class _Planned(SFTTrainer):  # type: ignore[misc]  # TRL leaves it untyped
    """Takes its batches from a list instead of drawing them."""

    def __init__(self, plan: list[list[int]], **options: Any) -> None:
        self._plan = plan
        super().__init__(**options)

    def get_train_dataloader(self) -> DataLoader[Any]:
        loader = DataLoader(self.train_dataset, batch_sampler=self._plan, collate_fn=self.data_collator)
        return self.accelerator.prepare(loader)  # type: ignore[no-any-return]

    def training_step(self, *args: Any, **options: Any) -> torch.Tensor:
        """Stops before a loss that is no number reaches a checkpoint; the library would log it as 0 and go on."""
        loss: torch.Tensor = super().training_step(*args, **options)
        if not torch.isfinite(loss):
            raise ConfigError(f"the loss is not a number at step {self.state.global_step + 1}; lower the learning rate")
        return loss


class _Watch(TrainerCallback):  # type: ignore[misc]  # transformers leaves it untyped
    """Reports progress."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        self._advance(state.global_step, state.max_steps)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        self._advance(state.global_step, state.max_steps)
