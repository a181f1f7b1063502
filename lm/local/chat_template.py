"""How a conversation becomes tokens: one way, for training and for generation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ...core.errors import ConfigError
from ...core.strip import Without
from ..types import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def encode(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """The token ids of a conversation, up to where the assistant's reply begins.

    A tokenizer without a chat template (a base model's) gets the turns as plain text. Control tokens inside a turn are
    dropped: a question, or a decomposition that another model wrote, is text and opens no new turn.
    """
    turns = [{"role": m.role, "content": without_control_tokens(tokenizer, m.content)} for m in messages]
    if tokenizer.chat_template:
        rendered = _rendered(tokenizer, turns, add_generation_prompt=True)
        return list(tokenizer(rendered, add_special_tokens=False)["input_ids"])
    return list(tokenizer("".join(f"{turn['content']}\n\n" for turn in turns))["input_ids"])


def _rendered(tokenizer: PreTrainedTokenizerBase, turns: Sequence[dict[str, str]], **how: bool) -> str:
    """A conversation as the chat template writes it. Raises ConfigError when it refuses, or is broken."""
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, **how))
    except Exception as error:  # a template is a program, and may fail in any way
        text = " ".join(str(error).split())[:200]
        raise ConfigError(f"the chat template of {tokenizer.name_or_path} cannot be used: {text}") from error


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


def takes_system(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the chat template says what a system turn holds: some refuse one, and some leave it out in silence."""
    if not tokenizer.chat_template:
        return True
    turns = [{"role": "system", "content": _MARK}, {"role": "user", "content": "?"}]
    try:
        return _MARK in _rendered(tokenizer, turns)
    except ConfigError:
        return False


_MARK = "(what the system says)"


def without_system(messages: Sequence[Message]) -> tuple[Message, ...]:
    """A conversation whose users say what its system turns did, each at the head of the turn that follows it."""
    turns: list[Message] = []
    waiting: list[str] = []
    for message in messages:
        if message.role == "system":
            waiting.append(message.content)
            continue
        if message.role == "user":
            message = message._replace(content="\n\n".join([*waiting, message.content]))
            waiting = []
        turns.append(message)
    return (*turns, *(Message("user", "\n\n".join(waiting)) for _ in waiting[:1]))


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
        turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
        rendered = _rendered(tokenizer, turns)
        behind = tokenizer(rendered.rpartition("!")[2], add_special_tokens=False)["input_ids"]
        if behind and tokenizer.convert_ids_to_tokens(behind[0]) in control_tokens(tokenizer):
            return int(behind[0])
    return None if tokenizer.eos_token_id is None else int(tokenizer.eos_token_id)
