"""A folder that nobody may write: root, whom no mode stops, is somebody else within."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NOBODY = 65534


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Within, nothing in the folder can be written, and everything can be read."""
    inside = [folder, *folder.rglob("*")]
    modes = {path: path.stat().st_mode for path in inside}
    user = os.geteuid()
    for path in inside:
        path.chmod(0o555 if path.is_dir() else 0o444)
    for path in folder.parents:  # they stay so: tests beside this one may need them too
        if user == 0 and not (mode := path.stat().st_mode) & 0o001:
            path.chmod(mode | 0o011)  # another user passes through
    try:
        if user == 0:
            os.seteuid(_NOBODY)
        yield
    finally:
        os.seteuid(user)
        for path, mode in modes.items():
            if path.exists() and path.stat().st_mode != mode:
                path.chmod(mode)
