"""How many tokens a prompt has, where no tokenizer is at hand: an API's is not."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from ..types import Message


def estimated(messages: Sequence[Message]) -> int:
    """About: four characters a token."""
    return sum(len(message.content) for message in messages) // 4 + 8


def at_most(messages: Sequence[Message]) -> int:
    """More than it has: no tokenizer makes more than one of a byte of what it reads, and chat templates add some."""
    return sum(_bytes(message.content) + _TURN for message in messages) + _TEMPLATE


_TURN = 16
"""Tokens around a turn, its role among them."""
_TEMPLATE = 1024
"""Tokens of a system prompt that a chat template brings along: Mistral Small 3.1 has about 600, gpt-oss about 100."""


def _bytes(text: str) -> int:
    """Of the text, or of the longest form that a tokenizer may bring it to: NFKC makes 18 characters of U+FDFA."""
    if text.isascii():
        return len(text)
    forms = (text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFKC", text))
    return max(len(form.encode(errors="surrogatepass")) for form in forms)
