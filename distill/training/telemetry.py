"""What a training is like on the way: log-probabilities of right and wrong replies, speed, memory, NAT's weights."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers.integrations import TensorBoardCallback

from ...core.errors import ConfigError
from ...lm.local.nat import Integration
from .objectives import ScoredReplies

if TYPE_CHECKING:
    from torch import nn


class Telemetry:
    """Gathers between two logged steps."""

    def __init__(self, model: nn.Module) -> None:
        self._units = {
            name: unit
            for name, unit in model.named_modules()
            if isinstance(unit, Integration) and any(p.requires_grad for p in unit.parameters())  # NCE's are frozen
        }
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        self._sums = {True: 0.0, False: 0.0}
        self._counts = {True: 0, False: 0}
        self._extra: dict[str, list[float]] = {}
        self._tokens = 0
        self._since = time.perf_counter()

    def saw(self, inputs: dict[str, torch.Tensor]) -> None:
        """What a batch is made of, padding aside."""
        if "attention_mask" in inputs:
            self._tokens += int(inputs["attention_mask"].sum())

    def add(self, scored: ScoredReplies) -> None:
        """What the model says to a batch."""
        with torch.no_grad():
            for label in (True, False):
                rows = scored.right == label
                self._sums[label] += float(scored.totals[rows].sum())
                self._counts[label] += int(scored.mask[rows].sum())

    def note(self, name: str, value: float) -> None:
        """A number of a batch, to be averaged."""
        self._extra.setdefault(name, []).append(value)

    def logged(self, logs: dict[str, Any]) -> dict[str, Any]:
        """A logged step with everything that was gathered for it."""
        if "loss" not in logs:
            return logs
        took = max(time.perf_counter() - self._since, 1e-9)
        said = {
            **logs,
            **{
                f"logprob_{'right' if label else 'wrong'}": self._sums[label] / self._counts[label]
                for label in (True, False)
                if self._counts[label]
            },
            **{name: sum(values) / len(values) for name, values in self._extra.items()},
            **self._weights(),
            **({"tokens_per_second": self._tokens / took} if self._tokens else {}),
            "peak_gib": peak_gib(),
        }
        self._sums, self._counts = {True: 0.0, False: 0.0}, {True: 0, False: 0}
        self._extra, self._tokens, self._since = {}, 0, time.perf_counter()
        return said

    def _weights(self) -> dict[str, float]:
        """The negative branch's mean weight in each layer's unit, and over all of them."""
        seen = {name: float(unit.negative) for name, unit in self._units.items() if unit.negative is not None}
        if not seen:
            return {}
        layers = {f"a_neg/{name.partition('.nat_units')[0].partition('.layers.')[2]}": a for name, a in seen.items()}
        return {"a_neg": sum(seen.values()) / len(seen), **layers}


_TOLD = {
    "loss": "loss {:.3f}",
    "logprob_right": "log p of right {:.2f}",
    "logprob_wrong": "of wrong {:.2f}",
    "logps/chosen": "log P of chosen {:.1f}",
    "logps/rejected": "of rejected {:.1f}",
    "a_neg": "a_neg {:+.3f}",
    "tokens_per_second": "{:,.0f} tokens/s",
}


def in_words(logged: dict[str, Any]) -> str:
    """What a person watches of a logged step."""
    return ", ".join(form.format(logged[name]) for name, form in _TOLD.items() if name in logged)


def check_trackers(names: Sequence[str]) -> None:
    """Raises ConfigError for a tracker that is not installed."""
    for name in names:
        if find_spec(name) is None:
            raise ConfigError(f"report_to: {name} is not installed; pip install 'divcon[{name}]'")


def end_run(names: Sequence[str]) -> None:
    """Let the next training be a run of its own: W&B would take it for the same one, and drop its steps."""
    if "wandb" in names:
        import wandb

        wandb.finish()


def tensorboard(folder: Path) -> TensorBoardCallback:
    """Tells TensorBoard, in a folder that outlives the training's checkpoints."""
    told = TensorBoardCallback()
    told.logging_dir = str(folder)
    return told


def peak_gib() -> float:
    """The most memory that was in use: the GPU's where there is one, else the process's."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
