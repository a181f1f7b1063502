"""A model directory on this machine: which model it is, how large, and how it reads and ends a turn."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..tasks.errors import ConfigError
from .cost import Footprint, adapter_parameters, footprint_of
from .engine import Identity
from .weights import load_tokenizer, model_directory, stop_tokens, weights_hash

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NAT_CONFIG, NAT_UNITS = "nat_config.json", "nat_gate.safetensors"
POSITIVE, NEGATIVE = "positive", "negative"
"""A NAT model's adapters, and the folders in its directory that they lie in (`nat`)."""


class Local:
    """A model directory (or hub name), looked for when it is first asked about."""

    def __init__(self, path: str) -> None:
        self._path = path

    @cached_property
    def directory(self) -> Path:
        """Where the weights are. Raises ConfigError when there are none."""
        return model_directory(self._path)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer beside the weights. Raises ConfigError when there is none."""
        return load_tokenizer(self.directory)

    @cached_property
    def stop_tokens(self) -> list[int]:
        """Every token that ends a turn."""
        return stop_tokens(self.directory, self.tokenizer)

    def identity(self, host: str, name: str, adapter: Path | None) -> Identity:
        """Which model answers, by the contents of its files."""
        weights = weights_hash(self.directory)
        return Identity(host, name, f"{weights}+{weights_hash(adapter)}" if adapter else weights)

    def footprint(self, adapter: Path | None) -> Footprint:
        """Its size, with an unmerged adapter on it."""
        base = footprint_of(self.directory)
        return base.with_adapter(adapter_parameters(adapter)) if adapter else base


def is_nat(directory: Path) -> bool:
    """Whether an adapter's directory holds a NAT model: two adapters, and units that weigh them."""
    return (directory / NAT_CONFIG).is_file()


def adapter_weights(adapter: Path) -> Path:
    """The weights in an adapter's directory. Raises ConfigError when there are none: libraries go and ask the hub."""
    file = adapter / "adapter_model.safetensors"
    if not file.is_file():
        raise ConfigError(f"no adapter weights in {adapter}: it has no adapter_model.safetensors")
    return file
