"""How large a model in a directory is, read from its config and the headers of its files: no weight is loaded.

What counts is what multiplies a token of text: no tower that reads pictures or sound, no input embedding, of a mixture
of experts those that a token is sent to, and attention scores in the layers that have them. The scan of a state-space
layer or of linear attention multiplies nothing by a weight, and is not counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..cost.flops import ModelSize
from .untrusted import count, read_config, tensor_sizes, weight_files

_INNER = ("text_config", "llm_config", "language_config", "thinker_config")
"""What a model of several modalities calls the config of its text."""
_ELSEWHERE = re.compile(
    r"(?:^|\.)(?:visual|vision|audio|speech|image|multi_modal|mm_projector|connector|embed_vision|embed_audio|mtp|"
    r"talker|token2wav|qformer|resampler)\w*(?:\.|$)"
)
"""Parts of a model that text does not pass: towers, what leads from them, heads for several tokens at once."""
_LOOKED_UP = re.compile(
    r"(?:embed_tokens|embed_tokens_per_layer|wte|wpe|embed_in|tok_embeddings)\.weight$|backbone\.embeddings\.weight$"
)
_HEAD = re.compile(r"(?:^|\.)(?:lm_head|embed_out)\.weight$")
_EXPERT = re.compile(r"(?:^|\.)experts(?:\.|$)|block_sparse_moe\.(?:input_linear|output_linear)\.")
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_CHOSEN = (
    "num_experts_per_tok",
    "num_experts_per_token",
    "top_k_experts",
    "moe_top_k",
    "moe_topk",
    "experts_per_token",
)
_KEYS = re.compile(
    r"(?P<layer>(?:^|.*\.)\d+\.)(?:\w+\.)*(?:k_proj|qkv_proj|query_key_value|c_attn|Wqkv|kv_a_proj_with_mqa)\.weight$"
)
"""A layer with attention scores: it makes keys."""
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


def footprint_of(directory: Path) -> ModelSize:
    """The footprint of a model directory, read from its config and the headers of its safetensors files."""
    path = directory / "config.json"
    config = text_config(read_config(path))
    layers = count(config, "num_hidden_layers", path)
    tensors = {
        name: n
        for file in weight_files(directory)
        for name, n in tensor_sizes(file).items()
        if not is_off_text(name) and not _is_beyond(name, layers)
    }
    tied = config.get("tie_word_embeddings", False) or not any(map(_HEAD.search, tensors))
    if tied:
        tensors = {name: n for name, n in tensors.items() if not _HEAD.search(name)}
    looked_up = sum(n for name, n in tensors.items() if _LOOKED_UP.search(name) and not (tied and _is_head(name)))
    share = _share_of_experts(config, path)
    active = sum(round(n * share) if _EXPERT.search(name) else n for name, n in tensors.items())
    attending = {found["layer"] for name in tensors if (found := _KEYS.search(name))}
    return ModelSize(active - looked_up, len(attending) or layers, _width(config, path))


def is_off_text(name: str) -> bool:
    """Whether a layer or tensor of this name is one that text does not pass."""
    return _ELSEWHERE.search(name) is not None


def text_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A model's config, with what it says of its text at the top."""
    inner = next((config[name] for name in _INNER if isinstance(config.get(name), Mapping)), None)
    return dict(config) if inner is None else text_config({**config, **dict.fromkeys(_INNER), **inner})


def _is_head(name: str) -> bool:
    """Whether an input embedding, where it is tied, is what multiplies at the end too."""
    return re.search(r"(?:embed_tokens|wte|embed_in|tok_embeddings|embeddings)\.weight$", name) is not None


def _is_beyond(name: str, layers: int) -> bool:
    """Whether a tensor belongs to a layer behind the last: one that foresees further tokens."""
    found = _LAYER.search(name)
    return found is not None and 0 < layers <= int(found[1])


def _share_of_experts(config: Mapping[str, Any], path: Path) -> float:
    """Of the routed experts, those that a token is sent to; 1 where there are none."""
    experts = next((n for name in _EXPERTS if (n := count(config, name, path))), 0)
    chosen = next((n for name in _CHOSEN if (n := count(config, name, path))), 0)
    return chosen / experts if experts and chosen else 1.0


def _width(config: Mapping[str, Any], path: Path) -> int:
    """Heads x head size; the mean where keys and values (latent attention) or layers differ."""
    heads = count(config, "num_attention_heads", path)
    key = count(config, "qk_nope_head_dim", path) + count(config, "qk_rope_head_dim", path)
    if key:
        return heads * (key + (count(config, "v_head_dim", path) or key)) // 2
    size = count(config, "head_dim", path) or (count(config, "hidden_size", path) // heads if heads else 0)
    kinds = config.get("layer_types")
    if (wide := count(config, "global_head_dim", path)) and isinstance(kinds, list) and kinds:
        size += round((wide - size) * kinds.count("full_attention") / len(kinds))
    return heads * size


def adapter_parameters(directory: Path) -> int:
    """How many weights an adapter multiplies a token with: all it has, a NAT unit's `down` (W_1) for both branches."""
    files = [*weight_files(directory), *weight_files(directory, "*/adapter_model.safetensors")]
    sizes = [size for file in files for size in tensor_sizes(file).items()]
    return sum(n * (2 if name.endswith("down.weight") else 1) for name, n in sizes)
