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
        flops = self.size.flops([usage]) if self.size and not found.was_there else (0.0 if self.size else None)
        return DecomposedQuestion(question, subquestions, found.made.kind, prompt, usage, flops)


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
    limit = {} if max_subquestions is None else {"max_subquestions": max_subquestions}
    settings = config.check(DecomposerSettings, {"path": Path(path), **limit, **(options or {})}, "the decomposer")
    opened = loading.opened(str(path), "decomposer", settings.model, settings.concurrency)
    asker = BlockingDecomposer(DecomposerService(loading.asker(settings, opened)))
    size = opened.engine.footprint(opened.adapter)
    return DistilledDecomposer(Path(path), settings, asker, size, family(prompts))
