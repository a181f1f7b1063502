"""What held-out questions say of a ranker, in a file of its directory."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from ...core import documents

HELD_OUT = "held_out.json"


class HeldOut(documents.Shape):
    """That file."""

    questions: int
    pair_accuracy: float = Field(alias="pair accuracy")
    epoch: int
    slope: float


def held_out(ranker: Path) -> HeldOut:
    """What held-out questions say of the ranker in a directory. Raises ConfigError when it does not say it."""
    measured: HeldOut = documents.read(HeldOut, ranker / HELD_OUT, f"remove {ranker} to train again")
    return measured
