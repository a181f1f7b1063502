"""How much work a model in training is: the weights that multiply a token, and those of them that learn."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from peft import PeftModel

from ...lm.cost.flops import ModelSize
from ...lm.local.footprint import TextWeights


class TrainingWork(NamedTuple):
    """What a pass over a token takes."""

    footprint: ModelSize
    """Of the base and the adapters that are active; those that lie idle beside them multiply nothing."""
    trained: int
    """Weights, as often as they multiply a token, whose gradient is computed."""


def work(model: Any, *adapters: str) -> TrainingWork:
    """Of a model with its active adapters, or with these; two that are active together bring their NAT units.

    A unit's `down` (W_1) multiplies both branches, and counts twice; an expert counts as often as it is chosen.
    """
    active = adapters or (tuple(model.base_model.active_adapters) if isinstance(model, PeftModel) else ())
    weights = {name: p for name, p in model.named_parameters() if not _is_idle(name, active)}
    plain = {name: _in_base(name) for name in weights}
    text = TextWeights([plain[name] for name in weights if not _is_added(name)], model.config.to_dict(), Path("config"))
    times = {name: text.active_fraction(plain[name]) * (1 + _is_down(name)) for name in weights}
    base = text.size({plain[name]: values(p) for name, p in weights.items() if not _is_added(name)})
    added = sum(times[name] * values(p) for name, p in weights.items() if _is_added(name))
    trained = sum(times[name] * values(p) for name, p in weights.items() if p.requires_grad)
    return TrainingWork(base.with_adapter(round(added)), round(trained))


def values(parameter: Any) -> int:
    """How many values a parameter holds; packed in 4 bits, two lie in a byte."""
    packed = getattr(parameter, "quant_state", None)
    return int(packed.shape.numel() if packed is not None else parameter.numel())


def _in_base(name: str) -> str:
    """What a weight is called without adapters about it."""
    return re.sub(r"^base_model\.model\.|\.base_layer(?=\.)", "", name)


def _is_added(name: str) -> bool:
    return ".lora_" in name or ".nat_units." in name


def _is_down(name: str) -> bool:
    return ".nat_units." in name and name.endswith(".down.weight")


def _is_idle(name: str, active: tuple[str, ...]) -> bool:
    parts = name.split(".")
    if "nat_units" in parts:
        return parts[parts.index("nat_units") + 1] != "+".join(active)
    adapter = next((parts[i + 1] for i, part in enumerate(parts) if part in ("lora_A", "lora_B")), None)
    return adapter is not None and adapter not in active
