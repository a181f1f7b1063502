"""LoRA adapters from their directories, onto a model that is loaded; and the layers that none belongs on."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .footprint import is_non_text_module
from .model_dir import adapter_weights
from .untrusted import check_adapter, loading, read_config

if TYPE_CHECKING:
    from peft import PeftModel


def adapter_config(directory: Path) -> dict[str, Any]:
    """An adapter's config. Raises ConfigError when there is none, or no weights, or it is no plain LoRA."""
    adapter_weights(directory)
    config = read_config(directory / "adapter_config.json")
    check_adapter(config, directory)
    return config


def load_adapter(model: Any, directory: Path, name: str, *, trainable: bool = False) -> PeftModel:
    """The model with an adapter more, under a name; a model without any becomes a PeftModel.

    The base that the adapter's config names is not looked for. Raises ConfigError when the adapter cannot be loaded.
    """
    from peft import PeftModel

    adapter_config(directory)
    with loading("the adapter", directory), ignore_peft_pattern_warnings():
        if not isinstance(model, PeftModel):
            return PeftModel.from_pretrained(model, str(directory), adapter_name=name, is_trainable=trainable)
        model.load_adapter(str(directory), adapter_name=name, is_trainable=trainable)
    return model


@contextmanager
def ignore_peft_pattern_warnings() -> Iterator[None]:
    """Hears nothing of PEFT's patterns for fused experts, which match no layer by the name that it looks for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The following (rank|alpha)_pattern keys", RuntimeWarning)
        yield


def lora_excluded_modules(model: Any) -> str | None:
    """The linear layers that no adapter belongs on, as a pattern of whole names; None where all of them will do.

    Text does not pass the towers of other modalities. An adapter on a router of experts changes who answers, and no
    server takes one. A state-space layer hands its output projection's weight to a kernel, past any adapter.
    """
    patterns = sorted({re.sub(r"(?<=\\\.)\d+(?=\\\.)", r"\\d+", re.escape(name)) for name in _excluded(model)})
    return "|".join(patterns) or None


def moe_target_modules(model: Any) -> list[str]:
    """What stands for all linear layers of a mixture of experts; empty for other models.

    PEFT puts an adapter on a mixture's router too, which is a parameter and not among the layers that it can exclude.
    """
    from torch import nn

    experts = [m.experts for _, m in model.named_modules() if isinstance(getattr(m, "experts", None), nn.Module)]
    if not experts:
        return []
    unfit = set(_excluded(model))
    linear = {name for name, m in model.named_modules() if isinstance(m, nn.Linear) and name not in unfit}
    names = {name.rpartition(".")[2] for name in linear if name != "lm_head"}
    fused = any(hasattr(one, "gate_up_proj") for one in experts)
    return sorted(names | ({"gate_proj", "up_proj", "down_proj"} if fused else set()))


def _excluded(model: Any) -> Iterator[str]:
    modules = dict(model.named_modules())
    for name, module in modules.items():
        if not hasattr(module, "weight"):
            continue
        above = [part for part in _above(name) if part in modules]
        is_router = _ROUTER.search(name) and any(hasattr(modules[part], "experts") for part in above)
        is_router = is_router or (_ROUTER.search(name) and any("moe" in part.lower() for part in above))
        is_scan = name.endswith((".out_proj", ".conv1d")) and any(
            "mamba" in f"{part} {type(modules[part]).__name__}".lower() for part in above
        )
        if is_non_text_module(name) or is_router or is_scan:
            yield name


_ROUTER = re.compile(r"(?:^|\.)(?:router|gate|shared_expert_gate)(?:\.|$)")


def _above(name: str) -> list[str]:
    """The names of the modules that a module lies in."""
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts))]
