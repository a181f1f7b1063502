"""A model that answers from a script and remembers what it was asked: for tests, never for a result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..cost.flops import ModelSize
from ..engine import Identity, SimpleEngine
from ..types import Completion, Message, SampleRequest, Usage

Reply = Callable[[tuple[Message, ...], int], str]
"""From the conversation and the sample's index to the answer."""


class Scripted(SimpleEngine):
    """Answers in turn from a list of replies, or from a function of the conversation and the sample's index."""

    def __init__(self, *replies: str, answer: Reply | None = None, parameters: int | None = None) -> None:
        self._replies = list(replies)
        self._answer = answer
        self._parameters = parameters
        self.asked: list[tuple[Message, ...]] = []
        """Every conversation that reached the engine, in order."""

    def identity(self, adapter: Path | None) -> Identity:
        return Identity("scripted", "scripted", str(adapter or ""))

    def footprint(self, adapter: Path | None) -> ModelSize | None:
        return ModelSize(self._parameters) if self._parameters else None

    def complete(self, draw: SampleRequest) -> Completion:
        messages = draw.request.messages
        self.asked.append(messages)
        text = self._answer(messages, draw.index) if self._answer else self._replies.pop(0)
        words = sum(len(message.content.split()) for message in messages)
        return Completion.read(text, "stop", Usage(words, len(text.split())))
