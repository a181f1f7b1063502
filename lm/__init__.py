"""Prompts in, completions out: engines that speak in batches, and a store that keeps everything bought."""

from .engine import Engine, Identity, SimpleEngine
from .engines.scripted import Scripted
from .model import Model
from .store.store import Store
from .types import Completion, Message, Request, SampleRequest, Sampling, Usage

__all__ = [
    "Completion",
    "Engine",
    "Identity",
    "Message",
    "Model",
    "Request",
    "SampleRequest",
    "Sampling",
    "Scripted",
    "SimpleEngine",
    "Store",
    "Usage",
]
