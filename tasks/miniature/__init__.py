"""The miniature world: word problems that need unstated facts, and two small models that speak their language."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from .grade import decomposition_is_right
from .splits import SPLITS, questions

__all__ = ["SPLITS", "decomposition_is_right", "model_dir", "questions"]


def model_dir(name: Literal["llm", "base"]) -> Path:
    """Where a shipped model lies: `llm` stands in for the API LLM, `base` is the student to be."""
    return Path(__file__).parent / name
