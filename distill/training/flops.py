"""How much work a model in training is: the weights that multiply a token, and those of them that learn."""

from __future__ import annotations

from typing import Any, NamedTuple

from peft import PeftModel

from ...lm.cost.flops import ModelSize


class TrainingWork(NamedTuple):
    """What a pass over a token takes."""

    footprint: ModelSize
    """Of the base and the adapters that are active; those that lie idle beside them multiply nothing."""
    trained: int
    """Weights, as often as they multiply a token, whose gradient is computed."""


def work(model: Any, *adapters: str) -> TrainingWork:
    """Of a model with its active adapters, or with these; two that are active together bring their NAT units.

    A unit's `down` (W_1) multiplies both branches, and counts twice.
    """
    active = adapters or (tuple(model.base_model.active_adapters) if isinstance(model, PeftModel) else ())
    given, made = model.get_input_embeddings(), model.get_output_embeddings()
    looked_up = None if made is None or given.weight is made.weight else given.weight
    multiplied = trained = 0
    for name, p in model.named_parameters():
        if p is looked_up or _is_idle(name, active):
            continue
        times = 2 if ".nat_units." in name and name.endswith(".down.weight") else 1
        multiplied += times * p.numel()
        trained += times * p.numel() * p.requires_grad
    return TrainingWork(_attending(model.config, multiplied), trained)


def _is_idle(name: str, active: tuple[str, ...]) -> bool:
    parts = name.split(".")
    if "nat_units" in parts:
        return parts[parts.index("nat_units") + 1] != "+".join(active)
    adapter = next((parts[i + 1] for i, part in enumerate(parts) if part in ("lora_A", "lora_B")), None)
    return adapter is not None and adapter not in active


def _attending(config: Any, parameters: int) -> ModelSize:
    heads = getattr(config, "num_attention_heads", 0)
    head = getattr(config, "head_dim", None) or (config.hidden_size // heads if heads else 0)
    return ModelSize(parameters, getattr(config, "num_hidden_layers", 0), heads * head)
