"""What a completion costs: floating-point operations from a model's size, dollars from its price."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ..tasks import documents
from ..tasks.errors import ConfigError
from .completion import Usage
from .weights import read_config


@dataclass(frozen=True)
class Footprint:
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

    def with_adapter(self, parameters: int) -> Footprint:
        """The same model with an unmerged adapter beside it."""
        return replace(self, parameters=self.parameters + parameters)


def total(parts: Iterable[float | None]) -> float | None:
    """The sum of costs; None, unknown, where one of them is."""
    amounts = list(parts)
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None


def footprint_of(directory: Path) -> Footprint:
    """The footprint of a model directory, read from its config and the headers of its safetensors files."""
    config = read_config(directory / "config.json")
    tensors = dict(_tensors(directory.glob("*.safetensors")))
    tied = config.get("tie_word_embeddings", False) or "lm_head.weight" not in tensors
    looked_up = 0 if tied else sum(n for name, n in tensors.items() if name.endswith("embed_tokens.weight"))
    if tied:
        tensors.pop("lm_head.weight", None)
    heads, width, head, layers = (_size(config, key) for key in _SIZES)
    head = head or (width // heads if heads else 0)
    return Footprint(sum(tensors.values()) - looked_up, layers, heads * head)


_SIZES = ("num_attention_heads", "hidden_size", "head_dim", "num_hidden_layers")


def _size(config: dict[str, Any], key: str) -> int:
    """A number of a config; 0 where it is absent or no number, and so unknown."""
    value = config.get(key)
    return value if isinstance(value, int) and 0 < value < 2**32 else 0


def adapter_parameters(directory: Path) -> int:
    """How many weights an adapter multiplies a token with: all it has, a NAT unit's `down` (W_1) for both branches."""
    files = [*directory.glob("*.safetensors"), *directory.glob("*/adapter_model.safetensors")]
    return sum(n * (2 if name.endswith("down.weight") else 1) for name, n in _tensors(iter(files)))


def _tensors(files: Iterator[Path]) -> Iterator[tuple[str, int]]:
    """Each tensor's name and number of elements (safetensors: a little-endian header length, then a JSON header)."""
    for file in files:
        try:
            with file.open("rb") as stream:
                (length,) = struct.unpack("<Q", stream.read(8))
                header = documents.from_json(stream.read(min(length, _LONGEST_HEADER)), str(file))
                header.pop("__metadata__", None)
            tensors: dict[str, _Tensor] = documents.checked(dict[str, _Tensor], header, str(file))
        except (struct.error, AttributeError, TypeError, ConfigError) as error:
            raise ConfigError(f"{file} is not a whole safetensors file") from error
        yield from ((name, prod(tensor.shape)) for name, tensor in tensors.items())


class _Tensor(documents.Shape):
    shape: list[Annotated[int, Field(ge=0)]]


_LONGEST_HEADER = 100_000_000
"""What safetensors allows."""
