"""Gives the settings of the frozen runs the names that the code has now: `python tests/frozen/rename_settings.py`.

What a run has bought and trained is kept under hashes that no name of a setting enters, so that it is found all the
same. A setting that is renamed adds a line here; a config that has the new name already stays as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

RENAMED = {
    "train.take": "max_questions",
    "tests.*.take": "max_questions",
}
"""The old dotted name (`*` is any key), and the last part of the new one."""


def renamed(values: dict[str, Any], dotted: str, new: str) -> dict[str, Any]:
    """Settings with one of them called otherwise, in the same place."""
    first, _, rest = dotted.partition(".")
    if not rest:
        return {new if key == first else key: value for key, value in values.items()}
    return {
        key: renamed(value, rest, new) if first in ("*", key) and isinstance(value, dict) else value
        for key, value in values.items()
    }


def main() -> None:
    for config in sorted(Path(__file__).parent.glob("*/config.yaml")):
        values = yaml.safe_load(config.read_text(encoding="utf-8"))
        for old, new in RENAMED.items():
            values = renamed(values, old, new)
        config.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")


if __name__ == "__main__":
    main()
