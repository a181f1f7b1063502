"""Prompts in, completions out: engines that speak in batches, and a store that keeps everything bought."""

from .engine import Engine, Identity
from .engines.scripted import Scripted
from .model import Model
from .store.store import Store
from .types import Completion, Draw, Message, Request, Sampling, Usage

__all__ = [
    "Completion",
    "Draw",
    "Engine",
    "Identity",
    "Message",
    "Model",
    "Request",
    "Sampling",
    "Scripted",
    "Store",
    "Usage",
]
