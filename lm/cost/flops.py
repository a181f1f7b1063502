"""What a completion costs: floating-point operations from a model's size, dollars from its price."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..types import Usage


@dataclass(frozen=True)
class ModelSize:
    """The numbers that decide how many operations a token takes."""

    parameters: int
    """Weights that multiply every token: all of them, less an input embedding that is only looked up."""
    layers: int = 0
    width: int = 0
    """Attention width, heads x head size; 0 when unknown, and then attention scores are not counted."""

    def flops(self, samples: Sequence[Usage]) -> float:
        """Operations of a prompt that is read once and its sampled completions, with a key-value cache.

        2 x parameters a token (a multiplication and an addition each), and for the attention scores 4 x layers x width
        for each earlier token (queries with keys, weights with values), so 2 x layers x width x length^2 for a whole
        sequence.
        """
        if not samples:
            return 0.0
        prompt = samples[0].prompt_tokens
        lengths = [prompt + usage.completion_tokens for usage in samples]
        return self._sequence(prompt) + sum(self._sequence(length) - self._sequence(prompt) for length in lengths)

    def forward(self, lengths: Iterable[int]) -> float:
        """Operations of whole sequences that are read once, without a gradient."""
        return sum(map(self._sequence, lengths))

    def training(self, lengths: Iterable[float], trained: int, *, again: bool = False) -> float:
        """Operations of learning from whole sequences: forward, back through activations, and the weights' gradients.

        A token takes 2 x parameters forward, as much back, and 2 x `trained` (those of the parameters that learn): 6 N
        where all do (Kaplan et al., 2020), 4 N + 6 n with n weights of adapters beside N frozen ones. Attention scores
        take twice their forward pass to go back. `again` is a second forward pass, which gradient checkpointing takes.
        The optimizer's few operations a weight and step are not counted, nor is padding; what the first layer of a
        frozen base is spared, and a loss on replies alone spares the output layer, is not taken off.
        """
        learns = min(trained, self.parameters)
        return sum(
            (3 + again) * self._sequence(tokens) - 2.0 * (self.parameters - learns) * tokens for tokens in lengths
        )

    def _sequence(self, tokens: float) -> float:
        return 2.0 * self.parameters * tokens + 2.0 * self.layers * self.width * tokens**2

    def with_adapter(self, parameters: int) -> ModelSize:
        """The same model with an unmerged adapter beside it."""
        return replace(self, parameters=self.parameters + parameters)


def total(parts: Iterable[float | None]) -> float | None:
    """The sum of costs; None, unknown, where one of them is."""
    amounts = list(parts)
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None
