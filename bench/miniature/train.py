"""Trains the miniature models from scratch: `python -m bench.miniature.train llm --out DIR`."""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch.utils.data import Dataset, SequentialSampler
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Trainer, TrainingArguments

from divcon.tasks.miniature.chains import KNOWN, NEW
from divcon.tasks.miniature.exercises import exercise, first_exercise
from divcon.tasks.miniature.formats import FORMATS, ChatExample
from divcon.tasks.miniature.problem import draw
from divcon.tasks.miniature.splits import for_test, pick_chain
from divcon.tasks.miniature.tokenizer import build, prompt, vocabulary

Batch = list[dict[str, list[int]]]

BATCH = 32
BUCKETS = 16
"""Batches that are drawn together and sorted by length, so that little of a batch is padding."""


@dataclass(frozen=True)
class Recipe:
    """What one model is and how it is trained."""

    hidden: int
    feed_forward: int
    layers: int
    heads: int
    steps: int
    rate: float
    chat: Callable[[random.Random], ChatExample]


def study_chat(rng: random.Random) -> ChatExample:
    """Any problem of the world, in one of the four formats; texts set aside for testing are left out."""
    write = FORMATS[rng.choices(tuple(FORMATS), (25, 40, 25, 10))[0]]
    while True:
        problem = draw(rng, pick_chain(rng, KNOWN + NEW))
        if not for_test(problem.text):
            return write(problem)


RECIPES = {
    "llm": Recipe(hidden=192, feed_forward=512, layers=4, heads=6, steps=4000, rate=2e-3, chat=study_chat),
    "base-first": Recipe(hidden=128, feed_forward=320, layers=4, heads=4, steps=7000, rate=3e-3, chat=first_exercise),
    "base": Recipe(hidden=128, feed_forward=320, layers=4, heads=4, steps=2600, rate=2e-3, chat=exercise),
}


class Batches(Dataset[Batch]):
    """Batch i is made from (seed, i) alone, so that a resumed run goes on with the very examples it missed."""

    def __init__(self, recipe: Recipe, steps: int, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
        self.recipe, self.steps, self.tokenizer, self.seed = recipe, steps, tokenizer, seed
        self.block = lru_cache(maxsize=2)(self._block)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, place: int) -> Batch:
        return self.block(place // BUCKETS)[place % BUCKETS]

    def _block(self, number: int) -> list[Batch]:
        rng = random.Random(f"{self.seed}/{number}")
        examples = encode([self.recipe.chat(rng) for _ in range(BATCH * BUCKETS)], self.tokenizer)
        examples.sort(key=lambda example: len(example["input_ids"]))
        batches = [examples[start : start + BATCH] for start in range(0, len(examples), BATCH)]
        rng.shuffle(batches)
        return batches


def encode(chats: Sequence[ChatExample], tokenizer: PreTrainedTokenizerFast) -> Batch:
    """Token numbers of whole chats; only the reply and its end are learned from."""
    prompts = tokenizer([prompt(chat.user) for chat in chats], add_special_tokens=False)["input_ids"]
    replies = tokenizer([f"{chat.reply}<|end|>" for chat in chats], add_special_tokens=False)["input_ids"]
    return [
        {"input_ids": prompt + reply, "labels": [-100] * len(prompt) + reply}
        for prompt, reply in zip(prompts, replies, strict=True)
    ]


def collate(batches: Sequence[Batch], pad: int) -> dict[str, torch.Tensor]:
    """One batch as tensors (batch, time), padded on the right."""
    (batch,) = batches
    longest = max(len(example["input_ids"]) for example in batch)

    def padded(key: str, filler: int) -> torch.Tensor:
        return torch.tensor([example[key] + [filler] * (longest - len(example[key])) for example in batch])

    ids = padded("input_ids", pad)
    return {"input_ids": ids, "attention_mask": (ids != pad).long(), "labels": padded("labels", -100)}


class InOrder(Trainer):  # type: ignore[misc]  # transformers is untyped here
    """A trainer that takes the batches as they come: they were shuffled when they were drawn."""

    def _get_train_sampler(self, train_dataset: Dataset[Batch] | None = None) -> SequentialSampler:
        batches = train_dataset or self.train_dataset
        assert isinstance(batches, Batches)
        return SequentialSampler(batches)


def new_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """The untrained model."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden,
        intermediate_size=recipe.feed_forward,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.05,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write the model as it ships, weights in bfloat16."""
    model.config.use_cache = True  # the Trainer switched it off
    model.bfloat16().save_pretrained(out)
    tokenizer.save_pretrained(out)


def train(
    name: str, out: Path, *, start: Path | None = None, steps: int | None = None, seed: int = 0, bf16: bool = False
) -> None:
    """Train the named model, from the one in `start` if there is one, and leave it in `out`.

    Its checkpoints, in `out/checkpoints`, are taken up again.
    """
    recipe = RECIPES[name]
    steps = steps or recipe.steps
    tokenizer = build(vocabulary())
    checkpoints = out / "checkpoints"
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        max_steps=steps,
        per_device_train_batch_size=1,
        learning_rate=recipe.rate,
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs={"num_decay_steps": steps // 4},
        warmup_steps=200,
        weight_decay=0.01,
        adam_beta2=0.98,
        logging_steps=50,
        save_steps=250,
        save_only_model=False,
        seed=seed,
        bf16=bf16,
        use_cpu=not torch.cuda.is_available(),
        report_to=[],
        remove_unused_columns=False,
        disable_tqdm=True,
    )
    model = (
        LlamaForCausalLM.from_pretrained(start, dtype=torch.float32, use_safetensors=True, trust_remote_code=False)
        if start
        else new_model(recipe, tokenizer, seed)
    )
    trainer = InOrder(
        model=model,
        args=arguments,
        train_dataset=Batches(recipe, steps, tokenizer, seed),
        data_collator=lambda batches: collate(batches, tokenizer.pad_token_id),
    )
    started = any(checkpoints.glob("checkpoint-*"))
    trainer.train(resume_from_checkpoint=started)
    save(model, tokenizer, out)


def main() -> None:
    """Read the words and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="the model to go on from: for base, what base-first left")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bf16", action="store_true", help="autocast; faster for llm on a CPU that computes in bf16")
    words = parser.parse_args()
    train(words.name, words.out, start=words.start, steps=words.steps, seed=words.seed, bf16=words.bf16)


if __name__ == "__main__":
    main()
