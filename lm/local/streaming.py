"""What may be heard of a sample while it is being generated: text that stays, and nothing of what may yet change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..reasoning_tags import HARMONY_MESSAGE, HARMONY_TOKENS, REASONING_TOKENS
from ..types import Sampling
from .chat_template import control_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ABORTED = "abort"
"""Why a completion ended that nobody listened to any more: the finish reason that vLLM has for it."""

_BROKEN = "\N{REPLACEMENT CHARACTER}"


class Read(NamedTuple):
    """What a row of new tokens says."""

    text: str
    length: int
    """How many of the tokens are its own; behind its end a row goes on with padding until the longest row is done."""
    ended: bool
    """Whether it ended by itself, and not at its limit."""


class StreamDecoder:
    """Reads a model's new tokens as text: all of a row, or what of it is sure already."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stop_tokens: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._ends = frozenset(stop_tokens)
        self._rewrites = _rewrites(tokenizer)
        self._kept = {
            i: mark for mark in special_reasoning_tokens(tokenizer) for i in _ids(tokenizer, [mark]) - self._ends
        }
        """They are not left out of the text."""
        self._unseen = _ids(tokenizer, control_tokens(tokenizer)) - self._kept.keys()
        self._bytes = _ids(tokenizer, (f"<0x{byte:02X}>" for byte in range(256)))
        """Tokens that stand for a byte in a vocabulary of pieces (SentencePiece's byte fallback)."""

    def read(self, row: Sequence[int], sampling: Sampling) -> Read:
        """A row that is complete."""
        row = row[: sampling.max_tokens]
        end = next((i for i, token in enumerate(row) if token in self._ends), None)
        length = len(row) if end is None else end + 1
        text = self._text(row[:length])
        cuts = [text.index(stop) for stop in sampling.stop if stop in text]
        if not cuts:
            return Read(text, length, end is not None)
        reached = (n for n in range(1, length + 1) if any(stop in self._text(row[:n]) for stop in sampling.stop))
        return Read(text[: min(cuts)], next(reached, length), ended=True)

    def keeps(self, row: Sequence[int]) -> bool:
        """Whether a row holds special tokens that belong to its text."""
        return not self._kept.keys().isdisjoint(row)

    def raw(self, row: Sequence[int]) -> str:
        """All that a row says, whatever ends it."""
        return self._text(row)

    def so_far(self, row: Sequence[int], sampling: Sampling) -> tuple[str, bool]:
        """What a row says for certain, and whether that is all that it will say."""
        text = "" if self._rewrites else self._text(row)
        is_over = len(row) >= sampling.max_tokens or not self._ends.isdisjoint(row)
        if is_over or any(stop in text for stop in sampling.stop):
            return self.read(row, sampling).text, True
        if self._bytes and (sure := self._before_bytes(row)) < len(row):
            text = self._text(row[:sure])
        return _before_a_stop(text.rstrip(_BROKEN), sampling.stop), False

    def _before_bytes(self, row: Sequence[int]) -> int:
        """Where the bytes at a row's end begin: should they make no character, all of them will be read anew."""
        length = len(row)
        while length and (row[length - 1] in self._bytes or row[length - 1] in self._unseen):
            length -= 1
        return length

    def _text(self, tokens: Sequence[int]) -> str:
        if not self.keeps(tokens):
            return str(self._tokenizer.decode(tokens, skip_special_tokens=True))
        pieces: list[str] = []
        run: list[int] = []
        for token in tokens:
            if token in self._kept:
                pieces += [self._text(run), self._kept[token]]
                run = []
            else:
                run.append(token)
        return "".join([*pieces, self._text(run)])


def special_reasoning_tokens(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Special tokens that mark reasoning."""
    special = set(control_tokens(tokenizer))
    return [
        token
        for token in REASONING_TOKENS
        if token in special and (HARMONY_MESSAGE in special or token not in HARMONY_TOKENS)
    ]


def _ids(tokenizer: PreTrainedTokenizerBase, tokens: Iterable[str]) -> frozenset[int]:
    """Those of the tokens that a vocabulary has."""
    found = {token: tokenizer.convert_tokens_to_ids(token) for token in tokens}
    return frozenset(
        int(i) for token, i in found.items() if i is not None and tokenizer.convert_ids_to_tokens(i) == token
    )


def _rewrites(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether spaces that were there disappear when more comes (" ' " becomes "'"): nothing is sure before the end.

    `transformers` leaves the text of byte-pair encodings alone, whatever their config says.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    is_bpe = type(getattr(backend, "model", None)).__name__ == "BPE"
    return bool(tokenizer.clean_up_tokenization_spaces) and not is_bpe


def _before_a_stop(text: str, stops: Sequence[str]) -> str:
    """The text without an end that may be the beginning of a stop string."""
    beginnings = (stop[:n] for stop in stops for n in range(1, min(len(stop), len(text) + 1)))
    held = max((len(beginning) for beginning in beginnings if text.endswith(beginning)), default=0)
    return text[: len(text) - held]
