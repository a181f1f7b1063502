"""A chat-completions request, read without trust: what it asks, the turn to decompose, and what passes through."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from ...core import strict_json
from ...core.errors import ConfigError
from ...solve.voting import rules
from ..settings import MOST, Mode, ServeSettings
from . import fields
from .errors import APIError

EXTENSION = "divcon"
"""The field of a body, and the prefix of headers (`X-Divcon-`), that speak to this server."""
_TOKEN_KEYS = ("max_tokens", "max_completion_tokens")
REASONING_BUDGETS = ("thinking_budget", "thinking_token_budget")
NESTED_REASONING_BUDGETS = (("thinking", "budget_tokens"), ("reasoning", "max_tokens"))
"""Fields that allow so many tokens of reasoning on top of a completion's limit."""
_MOST = 2**64 - 1
"""No whole number in a request is further from 0: JSON of other programs holds none."""
_WHOLE = {
    **dict.fromkeys(_TOKEN_KEYS, (1, 2**31 - 1)),
    "seed": (-(2**63), 2**63 - 1),
    "top_logprobs": (0, 1000),
    "top_k": (-1, 2**31 - 1),
}
_REAL = {
    "temperature": (0, 100),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "presence_penalty": (-100, 100),
    "frequency_penalty": (-100, 100),
    "repetition_penalty": (0, 100),
}
"""What sampling fields may be. It is less strict than any upstream is, which knows its own limits."""


@dataclass(frozen=True)
class RequestOptions:
    """What a request may choose."""

    mode: Mode
    limit: int
    """Sub-questions at most."""
    samples: int
    """That are voted over; 1 is no vote."""
    rule: str
    """How they vote."""
    answers: bool = False
    """Whether to ask for a line with the final answer, which votes need anyway."""


@dataclass(frozen=True)
class Chat:
    """A request that can be answered."""

    body: Mapping[str, Any]
    """What passes through: everything but our extension, within the limits."""
    turn: int | None
    """The place of the last user turn in `messages`; None where there is none with a text."""
    question: str
    """Its text."""
    wishes: RequestOptions
    stream: bool = False
    wants_usage: bool = False
    """Whether a stream is to end with its usage."""

    @property
    def n(self) -> int:
        """The choices that it asks for."""
        return self.body.get("n") or 1

    @property
    def takes_one_text(self) -> bool:
        """Whether one text is all that it asks for: no tool may be called, and there are no further choices."""
        return self.n == 1 and not (self.body.get("tools") or self.body.get("functions"))

    @property
    def is_at_work(self) -> bool:
        """Whether turns follow the question already: an agent's, who would pay for each sub-question every time."""
        return self.turn is not None and self.turn + 1 < len(self.body["messages"])

    @property
    def max_tokens(self) -> int | None:
        """Of a completion; None where nobody set a limit."""
        return max((self.body[key] for key in _TOKEN_KEYS if self.body.get(key) is not None), default=None)

    def asking(self, text: str, **changes: Any) -> dict[str, Any]:
        """The body of a request that asks `text` instead of the question; a change to None drops the field."""
        messages = list(self.body["messages"])
        if self.turn is not None and text != self.question:
            turn = messages[self.turn]
            messages[self.turn] = {**turn, "content": _replaced(turn["content"], self.question, text)}
        changed = {**self.body, "messages": messages, **changes}
        return {key: value for key, value in changed.items() if key not in changes or value is not None}


def is_text(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether turns hold nothing whose length says nothing of its tokens: no picture, no sound, no file."""
    parts = (part for message in messages if isinstance(message.get("content"), list) for part in message["content"])
    return all(part.get("type") in ("text", "refusal") for part in parts)


def parse(raw: bytes) -> dict[str, Any]:
    """The JSON object in a request. Raises Refused for anything else."""
    try:
        found = strict_json.read(raw, _MOST)
        if b"\\u" in raw:
            json.dumps(found, ensure_ascii=False).encode()  # half a character could not be passed on
    except strict_json.TooLarge as error:
        raise APIError(400, f"no number may be as large as {error}...", code="invalid_json") from None
    except (ValueError, RecursionError):
        raise APIError(400, "the request is not JSON", code="invalid_json") from None
    if not isinstance(found, dict):
        raise APIError(400, "the request is not a JSON object", code="invalid_json")
    return found


def read(found: Mapping[str, Any], headers: Mapping[str, str], settings: ServeSettings) -> Chat:
    """The request in a body. Raises Refused for the first thing wrong with it."""
    body = {key: value for key, value in found.items() if key not in (EXTENSION, "stream", "stream_options")}
    messages = fields.messages(found)
    n = fields.integer(found, "n", 1, most=settings.limits.n)
    _refuse_other_numbers(found)
    body |= _tokens(found, settings)
    said = _extension(found.get(EXTENSION), headers)
    if n > 1 and "k" in said:
        raise APIError(400, "n and k are both samples of one question: ask for one of them", param="n")
    wishes = _wishes({**said, "k": 1} if n > 1 else said, settings)
    if wishes.samples > 1 and _is_json(found.get("response_format")):
        raise APIError(400, "a vote reads an answer out of a text, which JSON is not: leave out k", param="k")
    options = found.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise APIError(400, "stream_options is no object", param="stream_options")
    asked = [i for i, message in enumerate(messages) if message["role"] == "user"]
    question = _text(messages[asked[-1]].get("content")) if asked else ""
    return Chat(
        body,
        asked[-1] if question.strip() else None,
        question,
        wishes,
        fields.boolean(found, "stream"),
        bool((options or {}).get("include_usage")),
    )


def _is_json(form: Any) -> bool:
    return isinstance(form, dict) and form.get("type", "text") != "text"


def _tokens(found: Mapping[str, Any], settings: ServeSettings) -> dict[str, Any]:
    """The limit of a completion, under the name that the client or else the upstream has for it, and those of reasoning
    that are above it, lowered to it."""
    most = settings.limits.max_tokens
    given = {key: found[key] for key in _TOKEN_KEYS if found.get(key) is not None}
    if most is None:
        return given
    name = settings.upstream.limit if settings.upstream else "max_tokens"
    limits = {key: min(value, most) for key, value in given.items()} or {name: most}
    return {**limits, **_reasoning_budgets(found, most)}


def _reasoning_budgets(found: Mapping[str, Any], most: int) -> dict[str, Any]:
    flat = {name: most for name in REASONING_BUDGETS if _is_above(found.get(name), most)}
    nested = {
        key: {**part, name: most}
        for key, name in NESTED_REASONING_BUDGETS
        if isinstance(part := found.get(key), dict) and _is_above(part.get(name), most)
    }
    return {**flat, **nested}


def _is_above(value: Any, most: int) -> bool:
    return isinstance(value, int | float) and value > most


def _refuse_other_numbers(found: Mapping[str, Any]) -> None:
    """Raises Refused for a field of sampling that is no number, or one that cannot be."""
    for key, (least, most) in _WHOLE.items():
        fields.integer(found, key, least, least, most)
    for key, (lowest, highest) in _REAL.items():
        fields.number(found, key, lowest, lowest, highest)
    fields.boolean(found, "logprobs")


def _extension(found: Any, headers: Mapping[str, str]) -> dict[str, Any]:
    """What was said to this server: in the body, or else in headers."""
    if found is not None and not isinstance(found, dict):
        raise APIError(400, f"{EXTENSION} is no object", param=EXTENSION)
    said = {name: headers[_header(name)] for name in _NAMES if _header(name) in headers}
    wishes = {**{name: _number(value) for name, value in said.items()}, **(found or {})}
    if unknown := wishes.keys() - set(_NAMES):
        raise APIError(400, f"{EXTENSION} knows no {min(unknown)!r}; there are {', '.join(_NAMES)}", param=EXTENSION)
    return {name: value for name, value in wishes.items() if value is not None}


_NAMES = ("mode", "max_subquestions", "k", "vote")


def _number(value: str) -> str | int:
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 9 else value


def _header(name: str) -> str:
    return f"x-divcon-{name.replace('_', '-')}"


def _wishes(said: Mapping[str, Any], settings: ServeSettings) -> RequestOptions:
    mode = said.get("mode", settings.mode if settings.decomposer else "off")
    if mode not in get_args(Mode):
        raise APIError(400, f"mode is none of {', '.join(get_args(Mode))}", param="mode")
    if mode != "off" and settings.decomposer is None:
        raise APIError(400, "this server has no decomposer: mode can only be off", param="mode")
    limit = settings.decomposer.max_subquestions if settings.decomposer else MOST
    limit = min(fields.integer(said, "max_subquestions", limit), limit)
    samples = fields.integer(said, "k", settings.vote.samples, most=max(settings.limits.samples, settings.vote.samples))
    rule = said.get("vote", settings.vote.rule)
    if not isinstance(rule, str):
        raise APIError(400, "vote is no name of a rule", param="vote")
    if "vote" in said and samples == 1:
        raise APIError(400, "a vote needs several samples: say k", param="k")
    if problem := refused_rule(rule, settings):
        raise APIError(400, problem, param="vote")
    return RequestOptions(mode, limit, samples, rule)


def refused_rule(rule: str, settings: ServeSettings) -> str | None:
    """Why an endpoint cannot vote by a rule; None where it can."""
    try:
        score = rules.score_of(rule)
    except ConfigError as error:
        return str(error)
    if rule == rules.LEARNED:
        return f"{rule} is learned by a study; say rank_1_plus_X with the X that it found"
    if score == "rank" and settings.vote.ranker is None:
        return f"the vote {rule} asks a ranker, and this server has none"
    if score == "certainty":
        return f"the vote {rule} needs whole predictions, which a chat API does not give"
    return None


def answering(chat: Chat) -> Chat:
    """The same request, asked to end with a line that holds the answer."""
    return replace(chat, wishes=replace(chat.wishes, answers=True))


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = [part["text"] for part in content or [] if part.get("type") == "text" and isinstance(part.get("text"), str)]
    return "\n".join(parts)


def _replaced(content: Any, question: str, text: str) -> Any:
    """A turn's content with another text, and with all in it that is no text (pictures, say).

    Where the text begins with the question, every part stays in its place: "The first:", a picture, "the second:".
    """
    if isinstance(content, str):
        return text
    if text.startswith(question):
        return _longer(content, text.removeprefix(question))
    first = next(i for i, part in enumerate(content) if part.get("type") == "text")
    return [
        {**part, "text": text} if i == first else part
        for i, part in enumerate(content)
        if i == first or part.get("type") != "text"
    ]


def _longer(content: Sequence[Any], more: str) -> list[Any]:
    """A turn's parts with more text behind them."""
    *before, last = content
    if last.get("type") == "text" and isinstance(last.get("text"), str):
        return [*before, {**last, "text": last["text"] + more}]
    return [*content, {"type": "text", "text": more}]
