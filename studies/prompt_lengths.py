"""Whether every prompt fits into the context of the model that is to read it, before any is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..core.errors import ConfigError
from ..eval.config import Study
from ..eval.grid_spec import decomposing_model
from ..lm.engines.scripted import Scripted
from ..lm.local.chat_template import encode
from ..lm.local.model_dir import ModelDirectory
from ..lm.model import Model
from ..lm.recorder import NoRecord
from ..lm.settings import LocalSettings, VLLMSettings
from ..lm.types import Request
from ..tasks.question import Question
from . import prompting

_JOINS = 8
"""Tokens more than a question has alone, at most, where it meets its prompt."""
_NOTHING = Question("", "", "")


class _Asked(NamedTuple):
    """What a model is asked of every question."""

    what: str
    """In the sentence that refuses it."""
    setting: str
    """The limit of what is written after the prompt."""
    request: Callable[[Question], Request]


class _Long(NamedTuple):
    tokens: int
    place: str


def check_contexts(
    study: Study, train: Sequence[Question], tests: Mapping[str, Sequence[Question]], *, llm_is_given: bool = False
) -> None:
    """Raise ConfigError, which names the longest, where prompts do not fit a model here.

    Sub-questions are not known yet: a solver's prompt counts without any. `llm_is_given` says that another engine
    answers in the LLM's place.
    """
    asked = {"training": train, **tests}
    for name, settings in _models(study):
        if isinstance(settings, LocalSettings) and settings.is_local and not (name == "llm" and llm_is_given):
            _check(study, name, settings, asked)


def _models(study: Study) -> Iterator[tuple[str, object]]:
    yield "llm", study.llm
    yield "student", study.student
    yield from study.models.items()


def _check(study: Study, name: str, settings: LocalSettings, asked: Mapping[str, Sequence[Question]]) -> None:
    local = ModelDirectory(settings.path, getattr(settings, "context", None))
    if local.context is None:
        return
    for each in _requests(study, settings):
        long = sorted(_too_long(each, local, settings, asked), reverse=True)
        if long:
            raise ConfigError(
                f"{len(long)} of {sum(map(len, asked.values()))} questions do not fit into the context of {name} "
                f"({local.context} tokens): {_named(long)} to be {each.what}{_and_more(each, settings)}take a model "
                "with a longer context, or leave these questions out"
            )


def _requests(study: Study, settings: LocalSettings) -> Iterator[_Asked]:
    model = Model("nobody", Scripted(), NoRecord(), thinking=settings.thinking)
    decomposer, solver = prompting.decomposer(study, model), prompting.solver(study, model)
    if any(map(decomposing_model, study.grid.decomposer_specs)):
        yield _Asked("decomposed", "decompose.max_tokens", lambda q: _with_model_thinking(model, decomposer.request(q)))
    yield _Asked("solved", "solve.max_tokens", lambda q: _with_model_thinking(model, solver.request(q, (), "solve")))


def _with_model_thinking(model: Model, request: Request) -> Request:
    return request.with_thinking(model.thinking) if model.thinking else request


def _written(each: _Asked, settings: LocalSettings) -> int:
    """Tokens that must be free behind a prompt: vLLM wants its limit kept, transformers ends at the context."""
    return each.request(_NOTHING).sampling.max_tokens if isinstance(settings, VLLMSettings) else 1


def _and_more(each: _Asked, settings: LocalSettings) -> str:
    more = _written(each, settings)
    return f", with {more} more for what is written; lower {each.setting}, " if more > 1 else "; "


def _too_long(
    each: _Asked, local: ModelDirectory, settings: LocalSettings, asked: Mapping[str, Sequence[Question]]
) -> Iterator[_Long]:
    assert local.context is not None
    plain = each.request(_NOTHING)
    room = local.context - _written(each, settings)
    prompt = len(encode(local.tokenizer, plain.messages, plain.thinking))
    for test, questions in asked.items():
        for question in questions:
            if prompt + len(question.prompt.encode(errors="replace")) + _JOINS <= room:
                continue  # no tokenizer makes more tokens of a text than it has bytes
            request = each.request(question)
            tokens = len(encode(local.tokenizer, request.messages, request.thinking))
            if tokens > room:
                yield _Long(tokens, f"{question.id} of {test}")


def _named(long: Sequence[_Long], most: int = 3) -> str:
    named = ", ".join(f"{each.place} takes {each.tokens} tokens" for each in long[:most])
    return f"{named} and {len(long) - most} others fewer" if len(long) > most else named
