"""Several processes that train one student together (`accelerate launch`): how many, which writes, and waiting."""

from __future__ import annotations

import os


def processes() -> int:
    """How many there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return int(os.environ.get("RANK", "0")) == 0


def wait_for_all() -> None:
    """Until every process has come here."""
    if processes() > 1:
        from accelerate import PartialState  # with torch behind it

        PartialState().wait_for_everyone()
