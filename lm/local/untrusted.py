"""Directories of weights that somebody else made: nothing in them is run, and what cannot be loaded is one sentence.

Weights are safetensors, never pickles. `trust_remote_code=False` stands on every load: without it, transformers asks on
standard input whether a model's own Python may be run.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

from ...core import documents
from ...core.errors import ConfigError, DivconError

_LONGEST = 2**24
"""Bytes of a config. Nobody writes one of megabytes."""
_LONGEST_HEADER = 100_000_000
"""Bytes; the limit of the safetensors library."""
_COUNTLESS = 2**63
_IMPLEMENTATIONS = ("attn_implementation", "experts_implementation")


@contextmanager
def loading(what: str, path: Path) -> Iterator[None]:
    """Turns whatever a library raises over somebody's files into a ConfigError that names them."""
    try:
        yield
    except DivconError:
        raise
    except Exception as error:  # what libraries raise over files of any content has no class in common
        raise ConfigError(f"cannot load {what} in {path}: {_reason(error)}") from error


@contextmanager
def needed(what: str) -> Iterator[None]:
    """A library that is looked for only now, and not there, becomes a ConfigError: kernels for packed weights, say."""
    try:
        yield
    except ImportError as error:
        raise ConfigError(f"{what}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "trust_remote_code" in text:
        return "it needs Python code of its own, which is never run; take a model that transformers knows"
    is_plain = isinstance(error, OSError | ValueError | ImportError) and text
    return text[:200] if is_plain else f"{type(error).__name__} {text[:200]}".strip()


def read_config(path: Path) -> dict[str, Any]:
    """A model's or an adapter's JSON config. Raises ConfigError when it is none."""
    try:
        if not path.is_file() or path.stat().st_size > _LONGEST:  # a device has no end, and a pipe no beginning
            raise ConfigError(f"{path} is not a file of JSON")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    values = documents.from_json(documents.text(path), str(path), finite=False, foreign=True)
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no settings by name")
    return values


def check_model(directory: Path) -> None:
    """Raise ConfigError for a model that would have a library fetch code, or read weights that are no safetensors."""
    if (directory / "adapter_config.json").is_file():
        raise ConfigError(f"{directory} holds a model and an adapter; keep one of them, and put the other elsewhere")
    config = read_config(directory / "config.json")
    if "transformers_weights" in config:
        raise ConfigError(
            f"{directory / 'config.json'} names its weights by `transformers_weights`, which is not loaded; remove the "
            "line and call them model.safetensors"
        )
    if found := _kernel(config):
        raise ConfigError(
            f"{directory / 'config.json'} asks for the code {found!r} of the hub, which is never run; remove the line"
        )


def _kernel(config: object) -> str | None:
    """The compiled code of the hub that a config names, at any depth."""
    if isinstance(config, Mapping):
        for name, value in config.items():
            if any(one in str(name) for one in _IMPLEMENTATIONS) and "/" in json.dumps(value):
                return str(value)[:100]
        config = list(config.values())
    if isinstance(config, list):
        return next((found for value in config if (found := _kernel(value))), None)
    return None


def check_adapter(config: Mapping[str, Any], directory: Path) -> None:
    """Raise ConfigError for an adapter that is no LoRA, or that names a library to be imported."""
    kind = config.get("peft_type")
    if kind != "LORA":
        raise ConfigError(f"the adapter in {directory} is of the type {str(kind)[:40]!r}, and only LORA can be loaded")
    if config.get("megatron_config") is not None:
        raise ConfigError(f"the adapter in {directory} names a library to import (`megatron_config`); remove that line")
    rank = config.get("r", 8)
    if not isinstance(rank, int) or rank < 1:
        raise ConfigError(f"the adapter in {directory} has the rank {str(rank)[:40]!r}, which is no count")


def count(config: Mapping[str, Any], name: str, path: Path) -> int:
    """A number of a config that counts something; 0 where it has none. Raises ConfigError for anything else."""
    value = config.get(name) or 0
    if not isinstance(value, int) or not 0 <= value < _COUNTLESS:
        raise ConfigError(f"{path}: {name} is {str(value)[:40]!r}, which is no count")
    return value


def weight_files(directory: Path, pattern: str = "*.safetensors") -> list[Path]:
    """A directory's files of weights, in order. Raises ConfigError for one that is no file."""
    found = sorted(directory.glob(pattern))
    for file in found:
        if not file.is_file():
            raise ConfigError(f"{file} is no file of weights; remove it or put the weights there")
    return found


def tensor_sizes(file: Path) -> dict[str, int]:
    """Each tensor's number of elements (safetensors: a little-endian header length, then a JSON header)."""
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(_LONGEST_HEADER, file.stat().st_size):
                raise ValueError("the header is longer than the file")
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        return {name: prod(map(_extent, entry["shape"])) for name, entry in header.items()}
    except (OSError, struct.error, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{file} is not a whole safetensors file") from error


def _extent(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(value)
    return value
