"""Today's families of models in small: real classes and configs in their published form, random weights.

Each comes with the chat template that TRL ships for it, where it ships one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PretrainedConfig, PreTrainedModel

from divcon.lm.local.weights import load_tokenizer, model_directory

VOCABULARY = 512
_COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_HEAD = {"head_dim": 32}
_EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
_ROUTED = {**_EXPERTS, "n_routed_experts": 8, "n_shared_experts": 1, "first_k_dense_replace": 1}
_LINEAR = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "layer_types": ["linear_attention"] * 3 + ["full_attention"],
}
_TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
_PICTURES = {"image_size": 28, "patch_size": 14}
_QWEN_TOWER = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64}


def _config(name: str, **own: Any) -> PretrainedConfig:
    made: PretrainedConfig = getattr(transformers, name)(**{**_COMMON, **own})
    return made


def _wrapped(name: str, text: PretrainedConfig, vision: Mapping[str, Any], **own: Any) -> PretrainedConfig:
    """As it is published: a model of pictures and text, with a config for each."""
    made: PretrainedConfig = getattr(transformers, name)(text_config=text.to_dict(), vision_config=dict(vision), **own)
    return made


@dataclass(frozen=True)
class Family:
    """One of today's families."""

    config: Callable[[], PretrainedConfig]
    template: str | None = None
    """TRL's copy of its chat template."""
    has_recurrent_layers: bool = False
    """Whether some layers are recurrent (state spaces, linear attention, convolutions): of a prompt torch counts their
    chunks, which the model's size does not say."""
    dense: bool = False
    """Whether its class lets every expert read every token, which other implementations spare themselves."""


def _qwen3_5(kind: str, **own: Any) -> PretrainedConfig:
    text = _config(f"Qwen3_5{kind}TextConfig", **_HEAD, **_LINEAR, **own)
    return _wrapped(f"Qwen3_5{kind}Config", text, _QWEN_TOWER)


FAMILIES: Mapping[str, Family] = {
    "Llama 3": Family(lambda: _config("LlamaConfig"), "llama3_1"),
    "Llama 4": Family(
        lambda: _wrapped(
            "Llama4Config",
            _config("Llama4TextConfig", **_HEAD, num_local_experts=4, num_experts_per_tok=1, intermediate_size_mlp=128),
            {**_TOWER, **_PICTURES, "vision_output_dim": 32, "projector_input_dim": 32, "projector_output_dim": 32},
        ),
        dense=True,
    ),
    "Qwen 2.5": Family(lambda: _config("Qwen2Config"), "qwen2_5"),
    "Qwen 3": Family(lambda: _config("Qwen3Config", **_HEAD), "qwen3"),
    "Qwen 3, mixture": Family(lambda: _config("Qwen3MoeConfig", **_HEAD, **_EXPERTS, num_experts=8), "qwen3"),
    "Qwen 3.5": Family(lambda: _qwen3_5(""), "qwen3_5_think", has_recurrent_layers=True),
    "Qwen 3.5, mixture": Family(
        lambda: _qwen3_5("Moe", **_EXPERTS, num_experts=8, shared_expert_intermediate_size=32),
        "qwen3_5_think",
        has_recurrent_layers=True,
    ),
    "Gemma 3": Family(
        lambda: _wrapped(
            "Gemma3Config",
            _config("Gemma3TextConfig", **_HEAD, sliding_window=64),
            {**_TOWER, **_PICTURES},
            mm_tokens_per_image=4,
        ),
        "gemma3",
    ),
    "Gemma 4": Family(
        lambda: _wrapped(
            "Gemma4Config",
            _config(
                "Gemma4TextConfig",
                **_HEAD,
                sliding_window=64,
                hidden_size_per_layer_input=0,
                vocab_size_per_layer_input=VOCABULARY,
                global_head_dim=64,
                num_global_key_value_heads=2,
            ),
            _TOWER,
        ),
        "gemma4",
    ),
    "gpt-oss": Family(
        lambda: _config("GptOssConfig", **_HEAD, num_local_experts=8, num_experts_per_tok=2, sliding_window=64),
        "gptoss",
    ),
    "DeepSeek V3": Family(
        lambda: _config(
            "DeepseekV3Config",
            **{
                **_ROUTED,
                "num_key_value_heads": 4,
                "q_lora_rank": 32,
                "kv_lora_rank": 16,
                "n_group": 2,
                "topk_group": 1,
            },
            qk_nope_head_dim=16,
            qk_rope_head_dim=8,
            v_head_dim=16,
        ),
        "deepseekv3",
    ),
    "Mistral 3": Family(
        lambda: _wrapped(
            "Mistral3Config",
            _config("Ministral3Config", **_HEAD),
            {**_TOWER, **_PICTURES, **_HEAD, "model_type": "pixtral"},
        ),
    ),
    "GLM 4.5": Family(lambda: _config("Glm4MoeConfig", **_HEAD, **_ROUTED), "glm4moe"),
    "Nemotron-H": Family(
        lambda: _config(
            "NemotronHConfig",
            **_HEAD,
            mamba_num_heads=8,
            mamba_head_dim=16,
            ssm_state_size=16,
            n_groups=2,
            layers_block_type=["mamba", "attention", "mamba", "mlp"],
        ),
        "nemotron_3_nano",
        has_recurrent_layers=True,
    ),
    "Falcon-H1": Family(
        lambda: _config(
            "FalconH1Config",
            mamba_d_ssm=128,
            mamba_n_heads=8,
            mamba_d_head=16,
            mamba_d_state=16,
            mamba_n_groups=1,
        ),
        has_recurrent_layers=True,
    ),
    "LFM 2": Family(
        lambda: _config("Lfm2Config", layer_types=["conv", "full_attention"] * 2), "lfm2", has_recurrent_layers=True
    ),
    "Granite 4": Family(
        lambda: _config(
            "GraniteMoeHybridConfig",
            layer_types=["mamba", "attention"] * 2,
            num_local_experts=8,
            num_experts_per_tok=2,
            shared_intermediate_size=64,
            mamba_n_heads=8,
            mamba_d_head=16,
            mamba_d_state=16,
            mamba_n_groups=1,
        ),
        has_recurrent_layers=True,
    ),
    "SmolLM 3": Family(lambda: _config("SmolLM3Config")),
    "Phi 3": Family(lambda: _config("Phi3Config"), "phi3"),
    "OLMo 3": Family(lambda: _config("Olmo3Config", sliding_window=64)),
    "EXAONE 4": Family(lambda: _config("Exaone4Config", sliding_window=64)),
    "Seed-OSS": Family(lambda: _config("SeedOssConfig", **_HEAD)),
}


def make(name: str, directory: Path) -> Path:
    """A family's model with a tokenizer beside it."""
    family = FAMILIES[name]
    torch.manual_seed(0)
    config = family.config()
    kinds = (transformers.AutoModelForImageTextToText, transformers.AutoModelForCausalLM)
    kind = next(kind for kind in kinds if type(config) in kind._model_mapping)
    model: PreTrainedModel = kind.from_config(config)
    model.save_pretrained(directory)
    tokenizer = load_tokenizer(model_directory("miniature/llm"))
    if family.template:
        tokenizer.chat_template = (files("trl") / "chat_templates" / f"{family.template}.jinja").read_text("utf-8")
    tokenizer.save_pretrained(directory)
    return directory
