"""Reading a chat-completions body as what a model of one's own is asked, and refusing what such a model cannot do."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

from ...lm.types import Message, Request, Role, SampleRequest, Sampling, Thinking
from ..pipeline import fields
from ..pipeline.errors import APIError

MAX_TOKENS = 512
"""Of a completion whose limit nobody named."""
_LONGEST = 2**20
"""No completion is longer; a request for more is a mistake."""
_COLDEST = 1e-3
"""Below it a model is greedy, and logits divided by the temperature are no longer numbers."""
_SAMPLES = 128
_STOPS = 4
_ROLES: dict[object, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_TOOLS = ("tools", "tool_choice", "functions", "function_call")
_OTHER = ("response_format", "top_logprobs", "logit_bias", "presence_penalty", "frequency_penalty", "audio")
_TRIVIAL: tuple[object, ...] = (None, 0, [], {}, "none", "auto", {"type": "text"})
"""Values that ask for nothing."""


class LocalRequest(NamedTuple):
    """One chat-completions request."""

    messages: tuple[Message, ...]
    sampling: Sampling
    n: int
    logprobs: bool
    seed: int | None
    thinking: Thinking | None = None

    def draws(self) -> list[SampleRequest]:
        """A draw a sample. With a seed, the same request draws the same samples; the rest of a key is never the same,
        so that equal requests at once are two."""
        request = Request(self.messages, self.sampling, self.n, logprobs=self.logprobs)
        if self.thinking:
            request = request.with_thinking(self.thinking)
        return [SampleRequest(request, i, self._seed(i) + secrets.token_hex(24)) for i in range(self.n)]

    def _seed(self, index: int) -> str:
        """The 16 digits of a key that seed a draw."""
        if self.seed is None:
            return secrets.token_hex(8)
        sampling = self.sampling
        how = [sampling.temperature, sampling.top_p, sampling.max_tokens, sampling.stop]
        return hashlib.sha256(json.dumps([self.messages, how, self.seed, index]).encode()).hexdigest()[:16]


def read(body: Mapping[str, Any]) -> LocalRequest:
    """What a body asks for. Raises Refused, which names the field, where it cannot be had."""
    for field in _TOOLS:
        if body.get(field) not in _TRIVIAL:
            raise APIError(400, "this model takes no tools", param=field)
    for field in _OTHER:
        if body.get(field) not in _TRIVIAL:
            raise APIError(400, f"this model takes no {field}", param=field)
    limit = "max_tokens" if body.get("max_completion_tokens") is None else "max_completion_tokens"
    sampling = Sampling(
        temperature=_temperature(body),
        top_p=_share(body, "top_p"),
        max_tokens=fields.integer(body, limit, MAX_TOKENS, most=_LONGEST),
        stop=_stops(body.get("stop")),
    )
    seed = None if body.get("seed") is None else fields.integer(body, "seed", 0, -(2**63), 2**63 - 1)
    return LocalRequest(
        tuple(_message(i, turn) for i, turn in enumerate(fields.messages(body))),
        sampling,
        fields.integer(body, "n", 1, most=_SAMPLES),
        fields.boolean(body, "logprobs"),
        seed,
    )


def _message(i: int, turn: Mapping[str, Any]) -> Message:
    where, role = f"messages[{i}]", turn["role"]
    if role in ("tool", "function") or turn.get("tool_calls") or turn.get("function_call"):
        raise APIError(400, "this model takes no tools", param=where)
    if role not in _ROLES:
        raise APIError(400, f"{where}.role must be one of {', '.join(map(str, _ROLES))}", param=f"{where}.role")
    return Message(_ROLES[role], _content(f"{where}.content", turn.get("content")))


def _content(where: str, value: object) -> str:
    if isinstance(value, list):
        return "\n".join(_part(f"{where}[{i}]", part) for i, part in enumerate(value))
    return _text(where, value)


def _part(where: str, part: object) -> str:
    if not isinstance(part, dict) or part.get("type") != "text":
        raise APIError(400, "this model reads text only", param=where)
    return _text(f"{where}.text", part.get("text"))


def _text(where: str, value: object) -> str:
    if not isinstance(value, str):
        raise APIError(400, f"{where} must be a string", param=where)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise APIError(400, f"{where} holds half a surrogate pair, which no text may", param=where) from error
    return value


def _stops(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or len(stops) > _STOPS or not all(isinstance(s, str) and s for s in stops):
        raise APIError(400, f"stop must be a string or a list of up to {_STOPS}, none of them empty", param="stop")
    return tuple(stops)


def _temperature(body: Mapping[str, Any]) -> float:
    value = fields.number(body, "temperature", 1.0, 0.0, 2.0)
    return value if value >= _COLDEST else 0.0


def _share(body: Mapping[str, Any], field: str) -> float:
    value = fields.number(body, field, 1.0, 0.0, 1.0)
    if not value:
        raise APIError(400, f"{field} must be above 0", param=field)
    return value
