"""A model directory on this machine: which model it is, how large, and how it reads and ends a turn."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ...core.errors import ConfigError
from ..cost.flops import ModelSize
from ..engine import Identity
from ..types import Completion, Usage
from .chat_template import check_end
from .footprint import adapter_parameters, footprint_of
from .untrusted import count, read_config
from .weights import load_tokenizer, model_directory, stop_tokens, weights_hash

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NAT_CONFIG, NAT_UNITS = "nat_config.json", "nat_gate.safetensors"
POSITIVE, NEGATIVE = "positive", "negative"
"""A NAT model's adapters, and the folders in its directory that they lie in (`nat`)."""

_CONTEXT = ("max_position_embeddings", "n_positions", "max_seq_len")
"""What models' configs call the length that they were made for."""


class ModelDirectory:
    """A model directory (or hub name), looked for when it is first asked about."""

    def __init__(self, path: str, context: int | None = None) -> None:
        """`context` is what the engine allows, where that is less than the model does."""
        self._path = path
        self._context = context
        self.known_as: str | None = None
        """The name under which samples of these weights are kept, where their directory was renamed since."""

    @cached_property
    def directory(self) -> Path:
        """Where the weights are. Raises ConfigError when there are none."""
        return model_directory(self._path)

    @property
    def name(self) -> str:
        """What the model is called where its samples are kept."""
        return self.known_as or self.directory.name

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer beside the weights. Raises ConfigError when there is none, or no token ends its texts."""
        tokenizer = load_tokenizer(self.directory)
        check_end(tokenizer)
        return tokenizer

    @cached_property
    def stop_tokens(self) -> list[int]:
        """Every token that ends a turn."""
        return stop_tokens(self.directory, self.tokenizer)

    @cached_property
    def context(self) -> int | None:
        """Tokens of a prompt and its completion together; None where nobody says how many there may be."""
        path = self.directory / "config.json"
        config = read_config(path)
        if isinstance(inner := config.get("text_config"), dict):
            config |= inner
        lengths = [self._context, *(count(config, name, path) for name in _CONTEXT)]
        return min((length for length in lengths if length), default=None)

    def completion(self, text: str, finish: str, usage: Usage, logprobs: tuple[float, ...] | None = None) -> Completion:
        """What was written here, its reasoning apart and counted: all tokens but the reply's."""
        made = Completion.read(text, finish, usage, logprobs)
        if made.reasoning is None:
            return made
        replied = len(self.tokenizer(made.text, add_special_tokens=False)["input_ids"])
        return replace(made, usage=replace(usage, reasoning_tokens=max(0, usage.completion_tokens - replied)))

    def identity(self, host: str, name: str, adapter: Path | None) -> Identity:
        """Which model answers, by the contents of its files."""
        weights = weights_hash(self.directory)
        return Identity(host, name, f"{weights}+{weights_hash(adapter)}" if adapter else weights)

    def footprint(self, adapter: Path | None) -> ModelSize:
        """Its size, with an unmerged adapter on it."""
        base = footprint_of(self.directory)
        return base.with_adapter(adapter_parameters(adapter)) if adapter else base


@runtime_checkable
class LocalEngine(Protocol):
    """An engine whose weights are on this machine, and its tokenizer with them."""

    local: ModelDirectory


def is_nat(directory: Path) -> bool:
    """Whether an adapter's directory holds a NAT model: two adapters, and units that weigh them."""
    return (directory / NAT_CONFIG).is_file()


def adapter_weights(adapter: Path) -> Path:
    """The weights in an adapter's directory. Raises ConfigError when there are none: libraries go and ask the hub."""
    file = adapter / "adapter_model.safetensors"
    if not file.is_file():
        raise ConfigError(f"no adapter weights in {adapter}: it has no adapter_model.safetensors")
    return file
