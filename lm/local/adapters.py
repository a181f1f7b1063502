"""LoRA adapters from their directories, onto a model that is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    with loading("the adapter", directory):
        if not isinstance(model, PeftModel):
            return PeftModel.from_pretrained(model, str(directory), adapter_name=name, is_trainable=trainable)
        model.load_adapter(str(directory), adapter_name=name, is_trainable=trainable)
    return model
