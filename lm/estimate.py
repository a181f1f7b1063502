"""How many tokens a prompt has, where no tokenizer is at hand: an API's is not."""

from __future__ import annotations

from collections.abc import Sequence

from .completion import Message


def estimated(messages: Sequence[Message]) -> int:
    """About: four characters a token."""
    return sum(len(message.content) for message in messages) // 4 + 8


def at_most(messages: Sequence[Message]) -> int:
    """More than it has: no tokenizer makes more than one of a byte, and chat templates add a few."""
    return sum(len(message.content.encode()) + 16 for message in messages) + 16
