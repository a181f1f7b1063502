"""How large a model in a directory is, read from its config and the headers of its files: no weight is loaded.

What counts is what multiplies a token of text: no tower that reads pictures or sound, no input embedding, of a mixture
of experts those that a token is sent to, and attention scores in the layers that have them. The scan of a state-space
layer or of linear attention multiplies nothing by a weight, and is not counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
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
    r"(?:embed_tokens|embed_tokens_per_layer|wte|wpe|embed_in|tok_embeddings)\.weight$|(?:backbone|model)\.embeddings\.weight$"
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
    tensors = {name: n for file in weight_files(directory) for name, n in tensor_sizes(file).items()}
    return TextWeights(tensors, read_config(path), path).size(tensors)


class TextWeights:
    """How often each weight of a model multiplies a token of text."""

    def __init__(self, names: Iterable[str], config: Mapping[str, Any], path: Path) -> None:
        """`names` are of all its weights, `path` is named where the config is wrong."""
        self._config = text_config(config)
        self._path = path
        self._layers = count(self._config, "num_hidden_layers", path)
        own = [name for name in names if not self._is_elsewhere(name)]
        self._tied = self._config.get("tie_word_embeddings", False) or not any(map(_HEAD.search, own))
        self._share = _share_of_experts(self._config, path)
        self._attending = {found["layer"] for name in own if (found := _KEYS.search(name))}

    def active_fraction(self, name: str) -> float:
        """Less than once for an expert: the share of them that a token is sent to."""
        if self._is_elsewhere(name) or (self._tied and _HEAD.search(name)):
            return 0.0
        if _LOOKED_UP.search(name) and not (self._tied and _is_head(name)):
            return 0.0
        return self._share if _EXPERT.search(name) else 1.0

    def size(self, tensors: Mapping[str, int]) -> ModelSize:
        """What the weights come to; numbers of values, by name."""
        multiplied = sum(round(n * self.active_fraction(name)) for name, n in tensors.items())
        return ModelSize(multiplied, len(self._attending) or self._layers, _width(self._config, self._path))

    def _is_elsewhere(self, name: str) -> bool:
        return is_non_text_module(name) or _is_beyond(name, self._layers)


def is_non_text_module(name: str) -> bool:
    """Whether a layer or tensor of this name is one that text does not pass."""
    return _ELSEWHERE.search(name) is not None


def text_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A model's config, with what it says of its text at the top, under the names that most families use."""
    inner = next((config[name] for name in _INNER if isinstance(config.get(name), Mapping)), None)
    if inner is not None:
        return text_config({**config, **dict.fromkeys(_INNER), **inner})
    usual = {usual: config[name] for name, usual in _USUAL.items() if name in config and usual not in config}
    return {**config, **usual}


_USUAL = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",  # GPT-2, GPT-J, BLOOM
    "d_model": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",  # MPT
}
"""What some families call the sizes of their layers."""


def has_recurrent_layers(config: Mapping[str, Any]) -> bool:
    """Whether some layers scan a text (linear attention, state spaces, convolutions) in place of attention."""
    kinds = config.get("layer_types") or config.get("layers_block_type") or ()
    of_layers = {str(kind) for kind in kinds} if isinstance(kinds, list) else set()
    return bool(of_layers & _SCANS) or any(name.startswith("mamba_") for name in config)


_SCANS = {"linear_attention", "mamba", "conv", "recurrent"}


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
    return _mean_width(config, heads, size, path)


def _mean_width(config: Mapping[str, Any], heads: int, size: int, path: Path) -> int:
    """Heads x head size over all layers, some of which may have their own (`per_layer_config`, as saved again)."""
    own = config.get("per_layer_config")
    layers = count(config, "num_hidden_layers", path)
    if not isinstance(own, Mapping) or not layers:
        return heads * size
    changed = [layer for layer in own.values() if isinstance(layer, Mapping)]
    wide = sum(
        (count(layer, "num_attention_heads", path) or heads) * (count(layer, "head_dim", path) or size)
        for layer in changed
    )
    return round((wide + (layers - len(changed)) * heads * size) / layers)


def adapter_parameters(directory: Path) -> int:
    """How many weights an adapter multiplies a token with: all it has, a NAT unit's `down` (W_1) for both branches."""
    files = [*weight_files(directory), *weight_files(directory, "*/adapter_model.safetensors")]
    sizes = [size for file in files for size in tensor_sizes(file).items()]
    return sum(n * (2 if name.endswith("down.weight") else 1) for name, n in sizes)
