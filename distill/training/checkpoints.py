"""Checkpoints of a training: which of them are whole, and writing them to a disk that may be full.

A kill, a crash or a full disk can leave any file of a checkpoint cut short or empty. A damaged one is removed, and the
training goes on from the one before it, or begins again: the same steps either way.
"""

from __future__ import annotations

import logging
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import TrainerState
from transformers.trainer import safe_globals

from ...core import checksums, documents
from ...core.errors import ConfigError, DivconError
from ...core.files import atomic_write
from ...core.write_failures import reason_not_written

WEIGHTS = "trained.safetensors"
"""What a checkpoint holds of an adapter's training: all that is trained, and nothing else."""
_STATE, _SECONDS = "trainer_state.json", "seconds.txt"
_LOG = logging.getLogger(__name__)


def last_checkpoint(scratch: Path, model: nn.Module | None = None) -> str | None:
    """The newest whole checkpoint, None where there is none; damaged ones are removed, and the log says so.

    With the model that is trained, its optimizer has to fit it too.
    """
    damaged = []
    whole = None
    for path in sorted(scratch.glob("checkpoint-*"), key=_step, reverse=True):
        if (damage := damage_of(path, model)) is None:
            whole = path
            break
        damaged.append(damage)
        shutil.rmtree(path)
    if damaged:
        then = f"goes on from {whole.name}" if whole else "begins again"
        _LOG.warning("a checkpoint is damaged and was removed (%s); the training %s", "; ".join(damaged), then)
    return str(whole) if whole else None


def damage_of(checkpoint: Path, model: nn.Module | None = None) -> str | None:
    """What is wrong with a checkpoint, in a phrase; None when a training can go on from it."""
    try:
        if not checksums.check_all(checkpoint):
            raise ConfigError(f"{checkpoint} is not what was written")
        _check_state(checkpoint)
        _check_weights(checkpoint)
        _check_optimizer(checkpoint, model)
        for name, keys in (("scheduler.pt", {"last_epoch"}), *_random(checkpoint)):
            _check_keys(_loaded(checkpoint / name), keys, checkpoint / name)
    except ConfigError as error:
        return str(error)
    return None


def seconds_before(checkpoint: str | None) -> float:
    """What the training took until a checkpoint was written; 0 where nobody can read it any more."""
    kept = Path(checkpoint) / _SECONDS if checkpoint else None
    if kept is None or not kept.is_file():
        return 0.0
    try:
        return max(0.0, float(documents.from_json(kept.read_bytes(), str(kept))))
    except (ConfigError, TypeError):
        _LOG.warning("%s is damaged: the training's seconds up to there are not counted", kept)
        return 0.0


def write_seconds(seconds: float, checkpoint: Path) -> None:
    """Keep what the training took, at once or not at all."""
    atomic_write(checkpoint / _SECONDS, str(seconds))


@contextmanager
def loading(checkpoint: str) -> Iterator[None]:
    """What the trainer's library raises for a state that does not fit becomes a ConfigError."""
    try:
        yield
    except DivconError:
        raise
    except Exception as error:  # it checks little: whatever the state leads to comes up
        why = " ".join(str(error).split())[:200]
        raise ConfigError(f"{checkpoint} does not fit this training ({why}); remove it to go on without it") from error


@contextmanager
def saving(checkpoint: Path) -> Iterator[None]:
    """A checkpoint that cannot be written is removed. Raises ConfigError that says why, and how to go on."""
    try:
        yield
    except Exception as error:
        if (why := reason_not_written(error)) is None:
            raise
        if checkpoint.is_dir():
            shutil.rmtree(checkpoint, ignore_errors=True)
        else:
            checkpoint.unlink(missing_ok=True)
        raise ConfigError(
            f"cannot write the checkpoint {checkpoint}: {why}; the same command goes on from the one before it"
        ) from error


def check_safetensors(path: Path) -> None:
    """Raises ConfigError when a file of weights is cut short, or none."""
    try:
        with safe_open(path, "pt"):
            pass
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())[:100]}") from None


def _step(checkpoint: Path) -> int:
    number = checkpoint.name.rpartition("-")[2]
    return int(number) if number.isdecimal() and len(number) < 20 else -1


class _Logged(documents.Shape):
    step: int = 0
    loss: float = 0.0


class _State(documents.Shape):
    global_step: int
    max_steps: int
    log_history: list[dict[str, Any]]
    stateful_callbacks: dict[str, Any]


def _check_state(checkpoint: Path) -> None:
    """The trainer's state is the last file of a checkpoint to be written."""
    path = checkpoint / _STATE
    state: _State = documents.read(_State, path, "", finite=False)
    for entry in state.log_history:
        documents.checked(_Logged, {key: value for key, value in entry.items() if value == value}, str(path))
    if state.global_step != _step(checkpoint):
        raise ConfigError(f"{path} is of step {state.global_step}")
    try:
        TrainerState.load_from_json(str(path))
    except Exception as error:  # noqa: BLE001  # the library's, whatever it stumbles over
        raise ConfigError(f"{path}: {error}") from None


def _check_weights(checkpoint: Path) -> None:
    files = list(checkpoint.glob("*.safetensors"))
    if not files:
        raise ConfigError(f"{checkpoint} has no weights")
    for file in files:
        check_safetensors(file)
    for file in checkpoint.glob("*.json"):
        documents.from_json(documents.text(file), str(file), finite=False, foreign=True)


def _check_optimizer(checkpoint: Path, model: nn.Module | None) -> None:
    path = checkpoint / "optimizer.pt"
    found = _loaded(path)
    _check_keys(found, {"state", "param_groups"}, path)
    if model is None:
        return
    sizes = Counter(p.numel() for p in model.parameters() if p.requires_grad)
    try:
        count = sum(len(group["params"]) for group in found["param_groups"])
        moments = Counter(state["exp_avg"].numel() for state in found["state"].values())
    except (AttributeError, KeyError, TypeError):
        raise ConfigError(f"{path} holds no state of an optimizer") from None
    if count != sizes.total() or not moments <= sizes:
        raise ConfigError(f"{path} is of another model")


def _random(checkpoint: Path) -> list[tuple[str, set[str]]]:
    """The files of random generators: one, or one a process."""
    names = sorted(path.name for path in checkpoint.glob("rng_state*.pth")) or ["rng_state.pth"]
    return [(name, {"python", "numpy", "cpu"}) for name in names]


def _loaded(path: Path) -> Any:
    """What torch has saved there, every part of it checked against its checksum."""
    if not path.is_file():
        raise ConfigError(f"{path} is missing")
    try:
        with zipfile.ZipFile(path) as parts:
            if (torn := parts.testzip()) is not None:
                raise ConfigError(f"{path} is damaged in {torn}")
        with safe_globals():
            return torch.load(path, weights_only=True, map_location="cpu", mmap=True)
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001  # a file of any contents, read by two libraries
        raise ConfigError(f"{path} is damaged: {' '.join(str(error).split())[:100]}") from None


def _check_keys(found: Any, keys: set[str], path: Path) -> None:
    if not isinstance(found, dict) or not keys <= found.keys():
        raise ConfigError(f"{path} lacks {', '.join(sorted(keys))}")
