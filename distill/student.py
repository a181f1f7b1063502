"""A student's directory: weights, tokenizer, and what it was taught, for people (README.md) and for divcon.

The weights load without divcon: `PeftModel.from_pretrained` for an adapter, `AutoModelForCausalLM` for a whole model.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from ..core import checksums, documents
from ..core.errors import ConfigError
from ..lm.local import environment
from ..lm.local.model_dir import is_nat
from ..lm.types import Thinking
from .method_catalogue import METHODS, Method
from .recipes import RankerRecipe

FORMAT = "divcon-student/2"
Role = Literal["decomposer", "solver"]
TaughtRole = Literal["decomposer", "solver", "single", "ranker"]
FACTS = "divcon.json"
"""For divcon: all that the card says, and hashes of the student's files."""
CARD = "README.md"
"""For people, who may write into it."""


@dataclass(frozen=True)
class TrainingReport:
    """What a training saw and cost."""

    examples: int
    dropped: int
    """Examples longer than the recipe allows."""
    steps: int
    tokens: int
    """Prompts and replies over all steps, without padding."""
    parameters: int
    """Weights that were trained."""
    seconds: float
    """Of all sittings, as far as their work was kept."""
    loss: float
    """Mean over the last logged steps, in nats a reply token."""
    peak_gib: float = 0.0
    """The most memory that was in use: on a GPU by the training, else by the process until then."""
    flops: float | None = None
    """Of all stages, with what frozen models and the student itself were asked on the way; None where it is unknown,
    as in cards that were written before it was counted."""
    device: str = ""
    """What the last sitting of each stage ran on (`lm.weights.device_name`); empty where nobody kept it."""


@dataclass(frozen=True)
class StudentCard:
    """What a student is taught: everything that its card must say and that the weights do not show."""

    role: TaughtRole
    base: str
    base_hash: str
    teacher: str
    data: str
    prompts: dict[str, str]
    """Name of each prompt template it was trained with, and its SHA-256."""
    cost: dict[str, dict[str, float]]
    """What its track used of the teacher's traces, part by part (decompositions, solutions, single-stage solutions):
    tokens and seconds, operations where the teacher's size is known, dollars where it has a price. Empty is unknown."""
    seed: int
    recipe: dict[str, Any]
    thinking: Thinking | None = None
    """What it is asked with; None leaves it to the base's chat template."""

    def facts(self) -> dict[str, Any]:
        """As it stands in the card."""
        facts = asdict(self)
        return {name: value for name, value in facts.items() if name not in _WHERE_GIVEN or value is not None}


_WHERE_GIVEN = frozenset({"thinking"})


def build(directory: Path, lesson: StudentCard, teach: Callable[[Path], TrainingReport]) -> dict[str, Any]:
    """Have `teach` fill a directory with weights, add the card, and put it in place at once.

    A student that is already there is returned as it is.
    """
    if (facts := read(directory)) is not None:
        return facts
    if directory.exists() and any(directory.iterdir()):
        raise ConfigError(f"{directory} holds something that is not a student; move it away")
    part = directory.with_name(f".{directory.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    trained = teach(part)
    facts = {
        "format": FORMAT,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        **lesson.facts(),
        "trained": asdict(trained),
        "environment": asdict(environment.current()),
        "files": {name: value for name, value in checksums.hashes(part).items() if name != CARD},
    }
    facts = checksums.sealed(facts)
    (part / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    (part / CARD).write_text(_card(facts), encoding="utf-8")
    for file in part.rglob("*.safetensors"):  # written so that its owner alone may read it
        shutil.copymode(part / CARD, file)
    shutil.rmtree(directory, ignore_errors=True)
    part.rename(directory)
    return facts


def read(directory: Path) -> dict[str, Any] | None:
    """What a student was taught; None when there is no finished student in `directory`.

    Raises ConfigError when its card is damaged.
    """
    path, remedy = directory / FACTS, f"remove {directory} to train again"
    facts: dict[str, Any] | None = documents.read_optional(dict[str, Any], path, remedy, finite=False)
    if facts is None:
        return None
    if facts.get("format") != FORMAT:
        raise ConfigError(f"{directory} holds no student of format {FORMAT!r}; {remedy}")
    if not checksums.is_whole(facts):
        raise ConfigError(
            f"{path} is damaged: it is not what was written there; {remedy} (if you changed it yourself, remove its "
            "`sha256`)"
        )
    needed = {*StudentCard.__dataclass_fields__, "trained"} - _WHERE_GIVEN
    if absent := sorted(needed - facts.keys()):
        raise ConfigError(f"{path} lacks {', '.join(absent)}; {remedy}")
    try:
        documents.checked(_Card, facts, str(path))
        documents.checked(_RankersRecipe if facts["role"] == "ranker" else _Recipe, facts["recipe"], f"{path}: recipe")
    except ConfigError as error:
        raise ConfigError(f"{error}; {remedy}") from error
    return facts


def rankers_recipe(facts: dict[str, Any], directory: Path) -> RankerRecipe:
    """What a ranker was made by, as its card has it. Raises ConfigError when this divcon does not know such rankers."""
    recipe: RankerRecipe = documents.checked(RankerRecipe, facts["recipe"], f"{directory / FACTS}: recipe")
    return recipe


def thinking(facts: dict[str, Any]) -> Thinking | None:
    """What a student is asked with."""
    return Thinking(**facts["thinking"]) if facts.get("thinking") else None


def suffix(facts: dict[str, Any]) -> str:
    """The sentence that a student was taught to be asked with, behind every request; most have none."""
    recipe = facts["recipe"]
    return str(recipe["tags"][0]) if _method(recipe.get("method")).suffix else ""


class _Training(documents.Shape):
    examples: int = Field(ge=0)
    dropped: int = Field(ge=0)
    steps: int = Field(ge=0)
    tokens: int = Field(ge=0)
    parameters: int = Field(ge=0)
    seconds: float = Field(ge=0)
    loss: float = Field(allow_inf_nan=True)
    peak_gib: float
    flops: float | None
    device: str


class _Card(documents.Shape):
    """What is read of a card."""

    date: str
    role: TaughtRole
    base: str
    base_hash: str
    teacher: str
    data: str
    prompts: dict[str, str]
    cost: dict[str, dict[str, float]]
    seed: int
    recipe: dict[str, Any]
    trained: _Training


class _Tuning(documents.Shape):
    kind: str


class _Recipe(documents.Shape):
    method: str = "kd"
    tuning: _Tuning
    batch_size: int = Field(gt=0)
    tags: list[str] = Field(default=["", ""], min_length=1)
    gradient_checkpointing: bool = False

    @model_validator(mode="after")
    def _has_tags_if_tagged(self) -> Self:
        if _method(self.method).suffix and "tags" not in self.model_fields_set:
            raise ValueError("it lacks tags")
        return self


class _Backbone(documents.Shape):
    kind: str


class _RankersRecipe(documents.Shape):
    backbone: _Backbone
    batch_size: int = Field(gt=0)
    own: int = 0


def check(directory: Path, facts: dict[str, Any], base_hash: str) -> None:
    """Raise ConfigError when a student lost its weights, was taught on another base, or has a damaged file."""
    if not any(directory.glob("*.safetensors")):
        raise ConfigError(f"the student in {directory} has lost its weights; remove it to train again")
    if facts["base_hash"] != base_hash:
        raise ConfigError(f"{directory} was distilled on other base weights; remove it to train again")
    check_files(directory, facts)


def check_files(directory: Path, facts: dict[str, Any]) -> None:
    """Raise ConfigError when a file of a student is not what its card says; cards of before say nothing of them."""
    files = facts.get("files")
    if file := checksums.damaged(directory, files if isinstance(files, dict) else {}):
        raise ConfigError(f"{file} is damaged: it is not what was trained; remove {directory} to train again")


def is_adapter(directory: Path) -> bool:
    """Whether the student is an adapter on its base, rather than a whole model."""
    return (directory / "adapter_config.json").is_file() or is_nat(directory)


_TASKS = {
    "decomposer": "writes the sub-questions of a question",
    "solver": "solves a question that comes with sub-questions",
    "single": "solves a whole question",
    "ranker": "says how likely a solution is right",
}
_LOADS = {
    "lora": "PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(BASE), HERE)",
    "full": "AutoModelForCausalLM.from_pretrained(HERE)",
}


def _card(facts: dict[str, Any]) -> str:
    trained, recipe = facts["trained"], facts["recipe"]
    prompts = "\n".join(f"* prompt `{name}`, SHA-256 `{sha256}`" for name, sha256 in facts["prompts"].items())
    cost = "; ".join(
        f"{part}: {', '.join(f'{name} {amount:,.6g}' for name, amount in of.items())}"
        for part, of in facts["cost"].items()
    )
    return f"""---
library_name: {_library(recipe)}
tags: [divcon, distillation]
---
# A distilled student that {_TASKS[facts["role"]]}

Trained by divcon on {facts["date"]}, seed {facts["seed"]}.

* base `{facts["base"]}`, SHA-256 of its weights `{facts["base_hash"]}`
* teacher `{facts["teacher"]}`; {facts["data"]}
* what it used of the teacher's traces cost: {cost or "unknown"}
* {trained["examples"]:,} examples ({trained["dropped"]:,} dropped for length), {trained["steps"]:,} steps,
  {trained["tokens"]:,} tokens, {trained["parameters"]:,} weights trained, last loss {trained["loss"]:.4f}
{prompts}

{_how_to_load(recipe)} {"The prompts must be the ones above; " * bool(prompts)}`divcon.json` holds all settings.
"""


def _library(recipe: dict[str, Any]) -> str:
    if "tuning" not in recipe:
        return "divcon"
    return "peft" if recipe["tuning"]["kind"] == "lora" else "transformers"


def _how_to_load(recipe: dict[str, Any]) -> str:
    if "tuning" not in recipe:
        return "`divcon.distill.ranker.model.load` loads it."
    if _method(recipe["method"]).output == "nat":
        return (
            "`divcon.lm.local.nat` loads it: a NAT model is two adapters and units that weigh them. It does not merge."
        )
    return f"Load it without divcon: `{_LOADS[recipe['tuning']['kind']]}`."


def _method(name: object) -> Method:
    """What is known of a method by its name; of one that this divcon has not, nothing."""
    return METHODS.get(str(name), Method(""))
