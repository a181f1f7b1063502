"""Prompts in, completions out: engines that speak in batches, and a store that keeps everything bought."""

from .completion import Completion, Draw, Message, Request, Sampling, Usage
from .engine import Engine, Identity
from .model import Model
from .scripted import Scripted
from .store import Store

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
