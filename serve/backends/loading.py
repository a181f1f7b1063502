"""Models on this machine, opened by their directories alone: a distilled student, or a whole model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import prompts
from ...core.errors import ConfigError
from ...decompose.prompted import PromptedDecomposer
from ...distill import student
from ...eval.config import Study
from ...eval.run_dir import RunDirectory
from ...lm.engine import Engine
from ...lm.local.weights import model_directory, weights_hash
from ...lm.model import Model
from ...lm.recorder import NoRecord
from ...lm.settings import StudentSettings, TransformersSettings
from ...lm.types import Sampling, Thinking
from ...prompts import Prompt, PromptFamily
from ...solve.askers import NextQuestion
from ..pipeline import templates as prompted
from ..pipeline.templates import family
from ..settings import DecomposerSettings, LocalSolverSettings

_TOKENS = 256
"""For the sub-questions of a decomposer of which nobody says how long they get."""


@dataclass(frozen=True)
class Opened:
    """A model that can be asked."""

    engine: Engine
    adapter: Path | None
    suffix: str
    """A sentence that it was taught to be asked with, behind every request."""
    thinking: Thinking | None
    """Whether it is to think before it replies; None leaves it to its chat template."""
    card: dict[str, Any] | None
    """What a student was taught; None for a whole model that is none of ours."""

    def model(self, name: str) -> Model:
        """The model as a value, which keeps nothing."""
        return Model(name, self.engine, NoRecord(), adapter=self.adapter, suffix=self.suffix, thinking=self.thinking)


def opened(path: str, role: student.Role, settings: StudentSettings | None, concurrency: int) -> Opened:
    """The model in a directory. Raises ConfigError when it, or its base, is not there, or it is no such student."""
    card = student.read(Path(path))
    if card is None:
        whole = settings.model_copy(update={"path": path}) if settings else _plain(path, concurrency)
        model_directory(path)
        return Opened(_open(whole), None, "", whole.thinking, None)
    if card["role"] != role:
        kind = "single-stage student" if card["role"] == "single" else card["role"]
        raise ConfigError(f"{path} is a distilled {kind}, and no {role}")
    base = settings or _as_in_its_study(Path(path)) or _plain(card["base"], concurrency)
    student.check(Path(path), card, weights_hash(_base(base.path, path, role)))
    taught = (student.suffix(card), student.thinking(card), card)
    if student.is_adapter(Path(path)):
        return Opened(_open(base, adapters=1), Path(path), *taught)
    return Opened(_open(base.model_copy(update={"path": path})), None, *taught)


def asker(settings: DecomposerSettings, decomposer: Opened) -> NextQuestion:
    """A decomposer with its prompts, greedy, for all sub-questions at once and for one at a time."""
    study = _study(settings.path)
    prompt = _prompt(settings, decomposer)
    tokens = settings.max_tokens or (study.decompose.max_tokens if study else _TOKENS)
    model = decomposer.model("decomposer")
    first = PromptedDecomposer(model, prompt, settings.max_subquestions, Sampling(max_tokens=tokens))
    return NextQuestion(first, _load(settings.next or _next(prompt.name)))


def templates(settings: LocalSolverSettings, solver: Opened) -> PromptFamily:
    """What a local solver is asked with."""
    if settings.prompts is None and solver.card:
        return prompted.taught(solver.card["prompts"], settings.path)
    return family(settings.prompts or ("miniature" if settings.path.startswith("miniature/") else "serve"))


def _prompt(settings: DecomposerSettings, decomposer: Opened) -> Prompt:
    """The prompt that a decomposer was taught with, or the one that is asked for."""
    card = decomposer.card
    if settings.prompt or card is None:
        shipped = "miniature/decompose" if str(settings.path).startswith("miniature/") else "decompose"
        return _load(settings.prompt or shipped)
    ((name, sha256),) = card["prompts"].items()
    prompt = _load(name)
    if prompt.sha256 != sha256:
        raise ConfigError(f"{settings.path} was taught with another text of the prompt {name}; give decomposer.prompt")
    return prompt


def _next(decompose: str) -> str:
    """The prompt for one more sub-question in the words of another prompt, if there is one."""
    beside = str(Path(decompose).with_name(f"next{Path(decompose).suffix}"))
    return beside if beside in prompts.names() or Path(beside).is_file() else "next"


def _load(name: str) -> Prompt:
    try:
        return prompts.load(name)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _study(path: Path) -> Study | None:
    """The study that a student was distilled in; None when its directory lies elsewhere by now."""
    return RunDirectory(path.parent).study if (path.parent / "config.yaml").is_file() else None


def _as_in_its_study(path: Path) -> StudentSettings | None:
    study = _study(path)
    return study.student if study else None


def _base(base: str, path: str, role: str) -> Path:
    try:
        return model_directory(base)
    except ConfigError as error:
        field = "decomposer" if role == "decomposer" else "local"
        raise ConfigError(
            f"{path} stands on the base {base}, which is not here ({error}); say where it is: "
            f"--set {field}.model.engine=transformers --set {field}.model.path=DIR"
        ) from None


def _plain(path: str, concurrency: int) -> TransformersSettings:
    return TransformersSettings(engine="transformers", path=path, concurrency=concurrency)


def _open(settings: StudentSettings, adapters: int = 0) -> Engine:
    return settings.open(adapters=adapters)
