"""A distilled decomposer alone: from a question to its sub-questions, and to a prompt with them for any LLM."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core import config
from ...core.errors import ConfigError
from ...decompose.decomposition import Kind
from ...lm.cost.flops import ModelSize
from ...lm.types import Usage
from ...prompts import PromptFamily
from ..backends import loading
from ..backends.decomposer import DecomposerService
from ..backends.decomposer_cache import BlockingDecomposer
from ..pipeline.templates import family, two_stage_prompt
from ..pipeline.types import CachedResult, DecomposeRequest
from ..settings import DecomposerSettings


@dataclass(frozen=True)
class DecomposedQuestion:
    """A question, its sub-questions, and what they took."""

    question: str
    subquestions: tuple[str, ...]
    """Empty where none are needed, or none could be read."""
    kind: Kind
    """What came of decomposing: `asked`, `not needed` or `unreadable`."""
    prompt: str
    """What any LLM can be asked: the question with its sub-questions, or the question alone where there are none."""
    usage: Usage
    """Tokens and seconds of decomposing; nothing where it was decomposed before."""
    flops: float | None
    """Of decomposing; None where the decomposer's size is unknown."""
    dollars: float | None
    """Of decomposing; None where its price is unknown (`options={"price": ...}`)."""

    def __str__(self) -> str:
        return self.prompt


@dataclass(frozen=True)
class DistilledDecomposer:
    """A decomposer from a directory; may be used by several threads at once."""

    path: Path
    settings: DecomposerSettings
    asker: BlockingDecomposer
    size: ModelSize | None
    templates: PromptFamily

    def __call__(self, question: str) -> DecomposedQuestion:
        """One question decomposed. Raises ConfigError where it is empty or too long."""
        (decomposed,) = self.many([question])
        return decomposed

    def many(self, questions: Sequence[str]) -> list[DecomposedQuestion]:
        """Questions decomposed together, in order. Raises ConfigError where one is empty or too long."""
        if isinstance(questions, str):
            raise ConfigError("give a list of questions, or call the decomposer with one")
        most = self.settings.max_question_chars
        for question in questions:
            if not question.strip():
                raise ConfigError("the question is empty")
            if len(question) > most:
                raise ConfigError(f"the question has more than {most:,} characters (max_question_chars)")
        found = self.asker([DecomposeRequest(question, self.settings.max_subquestions) for question in questions])
        return [self._decomposed(*each) for each in zip(questions, found, strict=True)]

    def _decomposed(self, question: str, found: CachedResult) -> DecomposedQuestion:
        subquestions = found.made.subquestions
        usage = Usage() if found.was_there else found.made.usage
        secret = secrets.token_bytes(32)
        prompt = two_stage_prompt(self.templates, question, subquestions, secret) if subquestions else question
        spent = [] if found.was_there else [usage]
        flops, price = self.size.flops(spent) if self.size else None, self.settings.price
        dollars = price.dollars(usage, flops) if price else None
        return DecomposedQuestion(question, subquestions, found.made.kind, prompt, usage, flops, dollars)


_ENDPOINT_ONLY = frozenset({"on_failure", "timeout", "max_queue", "cache"})
"""Settings of a decomposer that only many clients at once have a use for."""


def decomposer_settings(
    path: str | Path, max_subquestions: int | None, options: Mapping[str, Any]
) -> DecomposerSettings:
    """How a decomposer is asked in Python. Raises ConfigError for an option that is none, or only an endpoint's."""
    if idle := _ENDPOINT_ONLY & options.keys():
        raise ConfigError(f"{min(idle)} is for an endpoint; in Python a decomposer's error is raised as it is")
    limit = {"max_subquestions": max_subquestions} if max_subquestions else {}
    return config.check(DecomposerSettings, {"path": path, **limit, **options}, "the decomposer")


def decomposer(
    path: str | os.PathLike[str],
    *,
    max_subquestions: int | None = None,
    prompts: str = "serve",
    options: Mapping[str, Any] | None = None,
) -> DistilledDecomposer:
    """The distilled decomposer in a directory: call it with a question.

    `max_subquestions` is how many it may ask, `prompts` the family that its sub-questions are put into, `options` are
    further settings (`divcon.serve.settings.DecomposerSettings`). Nothing but the decomposer is loaded. Raises
    ConfigError when it, or its base, is not there.
    """
    settings = decomposer_settings(Path(path), max_subquestions, options or {})
    opened = loading.opened(str(path), "decomposer", settings.model, settings.concurrency)
    asker = BlockingDecomposer(DecomposerService(loading.asker(settings, opened)))
    size = opened.engine.footprint(opened.adapter)
    return DistilledDecomposer(Path(path), settings, asker, size, family(prompts))
