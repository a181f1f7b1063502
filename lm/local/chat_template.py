"""How a conversation becomes tokens: one way, for training and for generation."""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ...core.errors import ConfigError
from ...core.strip import Without
from ..reasoning import split
from ..types import Message, Thinking
from .template import ChatTemplate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def encode(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], thinking: Thinking | None = None
) -> list[int]:
    """The token ids of a conversation, up to where the assistant's reply begins.

    A tokenizer without a chat template (a base model's) gets the turns as plain text. Control tokens inside a turn are
    dropped: a question, or a decomposition that another model wrote, is text and opens no new turn. Raises ConfigError
    where the template leaves out what a turn says, or has no switch for `thinking`.
    """
    turns = [m._replace(content=without_control_tokens(tokenizer, m.content)) for m in messages]
    if tokenizer.chat_template:
        return list(tokenizer(template_of(tokenizer).prompt(turns, thinking), add_special_tokens=False)["input_ids"])
    if thinking is not None and thinking.on:
        raise ConfigError(f"{tokenizer.name_or_path} has no chat template, and so no switch for thinking")
    return list(tokenizer("".join(f"{turn.content}\n\n" for turn in turns))["input_ids"])


def encode_reply(tokenizer: PreTrainedTokenizerBase, text: str, thinking: Thinking | None = None) -> list[int]:
    """The token ids of a reply behind `encode`'s, as a student learns to write it, with the token that ends it.

    Reasoning in the text (`lm.reasoning`) is put where the template has a place for it; a block that the prompt opens
    is closed before the reply.
    """
    if tokenizer.chat_template:
        text = template_of(tokenizer).reply(split(text), thinking)
    return [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]


def opening_tag(tokenizer: PreTrainedTokenizerBase, thinking: Thinking | None = None) -> str:
    """The tag of the block that a prompt has opened, to be put before what is generated; empty where there is none."""
    tags = template_of(tokenizer).open_block(thinking) if tokenizer.chat_template else None
    return tags[0] if tags else ""


def check_end(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raises ConfigError when a tokenizer has no token that ends a text."""
    if tokenizer.eos_token_id is None:
        raise ConfigError(
            f"the tokenizer of {tokenizer.name_or_path} has no token that ends a text; name it as eos_token in its "
            "tokenizer_config.json"
        )


def check_known(tokenizer: PreTrainedTokenizerBase, texts: Iterable[Sequence[int]], model: Any) -> None:
    """Raises ConfigError when texts hold tokens that a model has no vector for."""
    most, rows = max((max(ids, default=0) for ids in texts), default=0), model.get_input_embeddings().weight.shape[0]
    if most >= rows:
        token = tokenizer.convert_ids_to_tokens(most)
        raise ConfigError(
            f"the tokenizer of {tokenizer.name_or_path} is not this model's: it writes the token {token!r} as {most}, "
            f"and the model's embedding has {rows} rows"
        )


def without_control_tokens(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """The text without anything that the tokenizer would read as a control token.

    Dropping one token can join the pieces of another, which is dropped then too.
    """
    return _without(tuple(token for token in control_tokens(tokenizer) if token))(text)


@lru_cache(maxsize=16)
def _without(tokens: tuple[str, ...]) -> Without:
    """Drops these strings, the longest first where they overlap."""
    pattern = "|".join(map(re.escape, tokens)) or r"(?!)"
    return Without(pattern, longest=max(map(len, tokens), default=1), closing="".join({t[-1] for t in tokens}))


def control_tokens(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The tokenizer's own list: its special tokens and all it marks as special among those added."""
    added = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    return sorted({*map(str, tokenizer.all_special_tokens), *added}, key=len, reverse=True)


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The token that ends an assistant's turn: what the chat template writes behind a reply.

    A tokenizer's own `eos_token` is not always it; without a template it has to do.
    """
    if tokenizer.chat_template:
        behind = tokenizer(template_of(tokenizer).assistant_suffix, add_special_tokens=False)["input_ids"]
        if behind and tokenizer.convert_ids_to_tokens(behind[0]) in control_tokens(tokenizer):
            return int(behind[0])
    return None if tokenizer.eos_token_id is None else int(tokenizer.eos_token_id)


def template_of(tokenizer: PreTrainedTokenizerBase) -> ChatTemplate:
    """A tokenizer's template, with what was found out about it; found out again when it is given another."""
    known = _TEMPLATES.get(tokenizer)
    if known is None or known.text != tokenizer.chat_template:
        known = _TEMPLATES[tokenizer] = ChatTemplate(tokenizer)
    return known


_TEMPLATES: weakref.WeakKeyDictionary[PreTrainedTokenizerBase, ChatTemplate] = weakref.WeakKeyDictionary()
