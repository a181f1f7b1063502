"""Students that are taught in a second: what matters is that they changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from divcon.distill.data.examples import Example
from divcon.distill.recipes import DecomposerRecipe, Lora
from divcon.distill.student import StudentCard, TrainingReport, build
from divcon.distill.training.trainer import train
from divcon.lm import Message
from divcon.lm.local import probe
from divcon.lm.local.weights import load_model, model_directory, weights_hash

BASE = "miniature/base"
MESSAGES = (Message("user", "How many pears are there?"),)
EXAMPLES = [Example(MESSAGES, f"There are {n} pears.") for n in range(4)]
BRIEF: dict[str, Any] = {"max_train_tokens": 400, "batch_size": 2, "checkpoints": 1, "learning_rate": 0.02}


def taught(directory: Path, base: str = BASE, recipe: DecomposerRecipe | None = None, role: str = "decomposer") -> Path:
    recipe = recipe or DecomposerRecipe(tuning=Lora(rank=4, alpha=16), **BRIEF)
    card = StudentCard(
        role=role,  # type: ignore[arg-type]  # a role by its name
        base=base,
        base_hash=weights_hash(model_directory(base)),
        teacher="t",
        data="d",
        prompts={},
        cost={},
        seed=0,
        recipe=recipe.model_dump(mode="json") if role != "ranker" else {"backbone": {"kind": "same"}, "batch_size": 2},
    )

    def teach(out: Path) -> TrainingReport:
        scratch = directory.with_name("scratch")
        report = train(EXAMPLES, model_directory(base), out, recipe, seed=0, scratch=scratch)
        if (out / "adapter_config.json").is_file():
            probe.write(out, load_model(model_directory(base), "float32", "cpu"))
        return report

    build(directory, card, teach)
    return directory
