"""A tokenizer of whole words and whole numbers, so that the miniature models need not learn to spell."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .chains import KNOWN, NEW
from .exercises import exercise
from .formats import FORMATS
from .problem import draw

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SPECIALS = ("<pad>", "<unk>", "<s>", "<|user|>", "<|assistant|>", "<|end|>")

PIECES = r" ?[A-Za-z]+| ?[0-9]+|\n| ?[^A-Za-z0-9\s]"
"""A token keeps the space before it, so that the tokens of a text, put side by side, are the text."""

TEMPLATE = (
    "{{- bos_token }}"
    "{%- for message in messages %}"
    "{%- if message['role'] == 'assistant' %}"
    "{{- '<|assistant|>' }}{% generation %}{{- message['content'] + '<|end|>' }}{% endgeneration %}"
    "{%- else %}{{- '<|user|>' + message['content'] + '<|end|>' }}{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|assistant|>' }}{%- endif %}"
)


def prompt(user: str) -> str:
    """A user's message up to where the assistant replies, as the chat template writes it."""
    return f"<s><|user|>{user}<|end|><|assistant|>"


def texts(draws: int = 10_000) -> Iterator[str]:
    """A sample of all that is written in this world, large enough to hold its every word."""
    rng = random.Random("vocabulary")
    for _ in range(draws):
        problem = draw(rng, rng.choice(KNOWN + NEW))
        for chat in [*(write(problem) for write in FORMATS.values()), exercise(rng)]:
            yield from chat


def vocabulary() -> dict[str, int]:
    """Every token of the world and its number; the same on every machine."""
    words = {piece for text in texts() for piece in re.findall(PIECES, text)}
    numbers = [f" {number}" for number in range(200)] + [str(digit) for digit in range(10)]
    tokens = [*SPECIALS, "\n", *numbers, *sorted(words - {"\n"} - set(numbers))]
    return {token: place for place, token in enumerate(tokens)}


def build(vocabulary: dict[str, int]) -> PreTrainedTokenizerFast:
    """The tokenizer over a vocabulary, with the chat template that both models speak."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PIECES), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="<|end|>",
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=["<|user|>", "<|assistant|>"],
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = TEMPLATE
    return fast
