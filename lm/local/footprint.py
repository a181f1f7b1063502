"""How large a model in a directory is, read from its config and the headers of its files: no weight is loaded."""

from __future__ import annotations

from pathlib import Path

from ..cost.flops import ModelSize
from .untrusted import count, read_config, tensor_sizes, weight_files


def footprint_of(directory: Path) -> ModelSize:
    """The footprint of a model directory, read from its config and the headers of its safetensors files."""
    path = directory / "config.json"
    config = read_config(path)
    tensors = {name: n for file in weight_files(directory) for name, n in tensor_sizes(file).items()}
    tied = config.get("tie_word_embeddings", False) or "lm_head.weight" not in tensors
    looked_up = 0 if tied else sum(n for name, n in tensors.items() if name.endswith("embed_tokens.weight"))
    if tied:
        tensors.pop("lm_head.weight", None)
    heads = count(config, "num_attention_heads", path)
    head = count(config, "head_dim", path) or (count(config, "hidden_size", path) // heads if heads else 0)
    return ModelSize(sum(tensors.values()) - looked_up, count(config, "num_hidden_layers", path), heads * head)


def adapter_parameters(directory: Path) -> int:
    """How many weights an adapter multiplies a token with: all it has, a NAT unit's `down` (W_1) for both branches."""
    files = [*weight_files(directory), *weight_files(directory, "*/adapter_model.safetensors")]
    sizes = [size for file in files for size in tensor_sizes(file).items()]
    return sum(n * (2 if name.endswith("down.weight") else 1) for name, n in sizes)
