"""What an adapter changes in a fixed text's log-probabilities: by it a server shows that it serves the adapter.

vLLM leaves out an adapter's weights where it does not know the names of their layers, and answers as the bare base.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from math import dist, hypot, isfinite, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, FiniteFloat

from ...core import documents
from ...core.errors import ConfigError
from ...core.files import atomic_write
from .adapters import load_adapter
from .model_dir import adapter_weights
from .weights import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

FILE = "probe.json"
"""In a student's directory, beside its weights."""
_TEXT = (
    "A box holds 3 pears. How many pears do 4 boxes hold?\n1. How many pears does a box hold? 3.\n"
    "2. How many pears do all boxes hold? 4 * 3 = 12.\nThe answer is: 12"
)
_NOISE = 0.02
"""Nats a token that two implementations may part by in bfloat16; a smaller change shows nothing."""
_NEAR = 0.5
"""How far what is served may be from what was measured, as a share of that change's length; noise comes on top."""

Logprobs = Callable[[Sequence[int], bool], Sequence[float]]
"""Of each token but the first, given those before it, in nats; with the adapter or without."""


class _Probe(documents.Shape):
    tokens: list[int] = Field(min_length=2)
    change: list[FiniteFloat]
    """The adapter's log-probability of each token but the first, less the base's."""


def write(adapter: Path, base: PreTrainedModel) -> None:
    """Measure an adapter on its base, and keep the change beside its weights. The base gets the adapter on it.

    Nothing is kept of an adapter that makes no numbers: a training that diverged.
    """
    tokens = _tokens(load_tokenizer(adapter))
    before = logprobs(base, tokens)
    after = logprobs(load_adapter(base, adapter, "probe").eval(), tokens)
    change = [round(a - b, 4) for a, b in zip(after, before, strict=True)]
    if all(map(isfinite, change)):
        atomic_write(adapter / FILE, json.dumps({"tokens": tokens, "change": change}) + "\n")


def logprobs(model: Any, tokens: Sequence[int]) -> list[float]:
    """Of each token but the first, in nats, with what is on the model."""
    import torch

    ids = torch.tensor([list(tokens)], device=model.device)
    with torch.inference_mode():
        scores = model(ids, use_cache=False).logits[0, :-1].float().log_softmax(-1)
    return [float(score) for score in scores.gather(-1, ids[0, 1:, None])[:, 0]]


def check_served(adapter: Path, tokenizer: PreTrainedTokenizerBase, served: Logprobs, server: str) -> None:
    """Raise ConfigError when a server answers with something else than the adapter on its base.

    Adapters of others say nothing of what they change: theirs must change anything at all.
    """
    probe = _read(adapter)
    tokens = probe.tokens if probe else _tokens(tokenizer)
    change = [a - b for a, b in zip(served(tokens, True), served(tokens, False), strict=True)]
    noise = _NOISE * sqrt(len(change))
    if not all(map(isfinite, change)):
        is_served = False
    elif probe and hypot(*probe.change) > 3 * noise:
        is_served = dist(change, probe.change) < _NEAR * hypot(*probe.change) + noise
    else:
        is_served = any(change) or not _has_learned(adapter)
    if not is_served:
        expected = f"by up to {max(map(abs, probe.change)):.2f} nats" if probe else "at all"
        raise ConfigError(
            f"{server} does not serve the adapter in {adapter}: log-probabilities of a text should change {expected} "
            f"with it, and change by up to {max(map(abs, change)):.2f}; it serves what `divcon export {adapter} "
            "--vllm` writes"
        )


def _tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    return list(tokenizer(_TEXT, add_special_tokens=False)["input_ids"])


def _read(adapter: Path) -> _Probe | None:
    remedy = "remove the file to do without"
    probe: _Probe | None = documents.read_optional(_Probe, adapter / FILE, remedy)
    if probe and len(probe.change) != len(probe.tokens) - 1:
        raise ConfigError(f"{adapter / FILE} is damaged: a change for each token but the first is missing; {remedy}")
    return probe


def _has_learned(adapter: Path) -> bool:
    """Whether any weight is off its initial zero."""
    from safetensors.torch import load_file

    weights = load_file(adapter_weights(adapter))
    return any("lora_B" in name and bool(tensor.any()) for name, tensor in weights.items())
