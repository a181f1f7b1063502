"""Gives the settings of the frozen runs the names that the code has now: `python -m tests.frozen.rename_settings`.

What a run has bought and trained is kept under hashes that no name of a setting enters, so that it is found all the
same. A setting that is renamed adds a line here; a config that has the new name already stays as it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from divcon.core import checksums

RECIPE = {
    "batch": "batch_size",
    "micro_batch": "micro_batch_size",
    "tokens": "max_train_tokens",
    "after_rate": "continued_learning_rate_ratio",
    "own": "student_samples",
}
"""Of a student's recipe, in a config and in a card."""
CONFIG = {
    "train.take": "max_questions",
    "tests.*.take": "max_questions",
    "decompose.limit": "max_subquestions",
    "llm.batch": "concurrency",
    "student.batch": "concurrency",
    **{f"distill.*.{old}": new for old, new in RECIPE.items()},
}
"""The old dotted name (`*` is any key), and the last part of the new one."""
VALUES = {"reached": "rejection_sampled"}
"""Of `data`, in a recipe."""


def renamed(values: dict[str, Any], dotted: str, new: str) -> dict[str, Any]:
    """Settings with one of them called otherwise, in the same place."""
    first, _, rest = dotted.partition(".")
    if not rest:
        return {new if key == first else key: value for key, value in values.items()}
    return {
        key: renamed(value, rest, new) if first in ("*", key) and isinstance(value, dict) else value
        for key, value in values.items()
    }


def config(values: dict[str, Any]) -> dict[str, Any]:
    """A study's settings."""
    for old, new in CONFIG.items():
        values = renamed(values, old, new)
    return {**values, "distill": {role: _values(recipe) for role, recipe in values["distill"].items()}}


def of_a_student(facts: dict[str, Any]) -> dict[str, Any]:
    """What a file of a student says, its recipe among it."""
    recipe = facts["recipe"]
    for old, new in RECIPE.items():
        recipe = renamed(recipe, old, new)
    return {**facts, "recipe": _values(recipe)}


def _values(recipe: dict[str, Any]) -> dict[str, Any]:
    data = recipe.get("data")
    return {**recipe, "data": VALUES[data]} if data in VALUES else recipe


def main() -> None:
    here = Path(__file__).parent
    for path in sorted(here.glob("*/config.yaml")):
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        path.write_text(yaml.safe_dump(config(values), sort_keys=False, allow_unicode=True), encoding="utf-8")
    for path in sorted(here.glob("*/*/ranker.json")):
        facts = of_a_student(json.loads(path.read_text(encoding="utf-8")))
        path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    for path in sorted(here.glob("*/*/divcon.json")):  # a card hashes the files beside it, and itself
        facts = of_a_student(json.loads(path.read_text(encoding="utf-8")))
        del facts["sha256"]
        facts["files"] = {name: checksums.file_hash(path.parent / name) for name in facts["files"]}
        path.write_text(json.dumps(checksums.sealed(facts), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
