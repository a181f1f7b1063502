"""What an upstream sends back, read without trust, and what a client is told in its place where it cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from ...core import strict_json
from ...lm.api.response import is_reasoning, text_and_reasoning, usage
from ...lm.api.retry import asked_to_wait
from ...lm.reasoning import Split, StreamSplitter, split
from ...lm.types import Usage
from .errors import NO_QUOTA, APIError

Reply = dict[str, Any]
"""A `chat.completion`, or one of its chunks."""
Redact = Callable[[Any], Any]
"""Takes a secret out of a JSON value."""

_LONGEST = 500
"""Characters of an upstream's error that are passed on."""
_OURS = (401, 403, 407)
"""Statuses that speak of this server's own key, which is not the client's business."""

_GIVEN_UP = (408, 499)
"""Statuses of a server that had begun, or of a proxy that waited no longer for it."""


def completion(content: bytes, redact: Redact = lambda value: value) -> Reply:
    """A `chat.completion` from a body. Raises Refused when it is none that a client could read."""
    found = _parsed(content, redact)
    choices = found.get("choices")
    if not isinstance(choices, list) or not choices or not all(_is_choice(choice, "message") for choice in choices):
        raise APIError(502, "the upstream's reply held no choices", code="upstream_malformed", may_be_billed=True)
    return found


def chunk(data: bytes, redact: Redact = lambda value: value) -> Reply:
    """A `chat.completion.chunk` from an event. Raises Refused for an error, which is redacted, and for no chunk."""
    found = _parsed(data)
    if found.get("error"):
        message = _message(redact(found))
        raise APIError(502, f"the upstream broke off: {message}", code="upstream_error", may_be_billed=True)
    choices = found.get("choices")
    if not isinstance(choices, list) or not all(_is_choice(choice, "delta") for choice in choices):
        raise APIError(502, "the upstream's stream held no chunk", code="upstream_malformed", may_be_billed=True)
    return found


def refusal(status: int, content: bytes, headers: Mapping[str, str], redact: Redact = lambda value: value) -> APIError:
    """What a status other than 200 means to a client."""
    try:
        found = _parsed(content, redact)
    except APIError:
        found = {}
    if status == 429 and _code(found) == NO_QUOTA:
        return APIError(429, "the upstream's account has no quota left", code=NO_QUOTA)
    if status == 429:
        return APIError(
            429,
            "the upstream takes no more requests now",
            code="upstream_rate_limit",
            retry_after=asked_to_wait(headers),
        )
    if status in _OURS:
        return APIError(502, "the upstream does not accept this server's key", code="upstream_auth")
    if 400 <= status < 500:
        return APIError(
            status,
            f"the upstream refused the request: {_message(found)}",
            code=_code(found) or "upstream_refused",
            param=_said(found, "param"),
            may_be_billed=status in _GIVEN_UP,
        )
    is_redirection = 300 <= status < 400
    message = f"the upstream failed with status {status}"
    return APIError(502, message, code="upstream_error", may_be_billed=not is_redirection)


def consumed(reply: Mapping[str, Any]) -> Usage | None:
    """The tokens of a call, and its seconds where they are on this machine; None where nobody says, or says what
    cannot be."""
    stated = reply.get("usage")
    found = usage(stated)
    seconds = stated.get("seconds") if found and stated else None
    return replace(found, seconds=float(seconds)) if found and isinstance(seconds, int | float) else found


def text(choice: Mapping[str, Any]) -> str | None:
    """The reply of a choice, without what the model thought before it; None where it has none, a call of a tool say."""
    if not isinstance(choice["message"].get("content"), str | list):
        return None
    return split(text_and_reasoning(choice["message"])[0]).reply


def separated(reply: Reply) -> Reply:
    """A completion whose choices hold their reasoning in `reasoning_content`, and their reply alone in `content`."""
    return {**reply, "choices": [{**choice, "message": _separated(choice["message"])} for choice in reply["choices"]]}


def _separated(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, list) and any(map(is_reasoning, content)):
        message = _with_one_text(message)
        content = message["content"]
    if not isinstance(content, str) or (found := split(content)).reasoning is None:
        return message
    sent = (text_and_reasoning(message)[1] or "").strip()
    return {**message, "content": found.reply, "reasoning_content": "\n".join(filter(None, (sent, found.reasoning)))}


def _with_one_text(message: dict[str, Any]) -> dict[str, Any]:
    """A message, or what a chunk adds to one, whose content is a text where it was a list of parts."""
    if not isinstance(message.get("content"), list):
        return message
    text, reasoning = text_and_reasoning(message)
    return {**message, "content": text, **({"reasoning_content": reasoning} if reasoning else {})}


class Separator:
    """The same for the chunks of a stream."""

    def __init__(self) -> None:
        self._splitters: dict[int, StreamSplitter] = {}

    def __call__(self, chunk: Reply) -> Reply:
        """A chunk with what is certain now of its choices; nothing is held back of a choice that has ended."""
        return {**chunk, "choices": [self._choice(choice) for choice in chunk["choices"]]}

    def rest(self) -> list[dict[str, Any]]:
        """What was held back of choices that never ended, as choices of one more chunk."""
        added = {index: splitter.feed("", last=True) for index, splitter in self._splitters.items()}
        self._splitters = {}
        return [
            {"index": index, "delta": _delta(piece), "finish_reason": None}
            for index, piece in added.items()
            if piece.reply or piece.reasoning
        ]

    def _choice(self, choice: dict[str, Any]) -> dict[str, Any]:
        delta, is_last = _with_one_text(choice["delta"]), bool(choice.get("finish_reason"))
        content, index = delta.get("content"), choice.get("index", 0)
        if not isinstance(content, str) and not (is_last and index in self._splitters):
            return {**choice, "delta": delta}
        splitter = self._splitters.setdefault(index, StreamSplitter())
        added = splitter.feed(content if isinstance(content, str) else "", last=is_last)
        if is_last:
            del self._splitters[index]
        changed = {**delta, "content": added.reply} if isinstance(content, str) or added.reply else {**delta}
        if added.reasoning:
            changed["reasoning_content"] = (delta.get("reasoning_content") or "") + added.reasoning
        return {**choice, "delta": changed}


def _delta(piece: Split) -> dict[str, Any]:
    return {"content": piece.reply, **({"reasoning_content": piece.reasoning} if piece.reasoning else {})}


def as_chunks(reply: Mapping[str, Any]) -> Iterable[Reply]:
    """A completion as the chunks of a stream, for a client that asked for one: a chunk a choice, and its end."""
    head = {**{key: value for key, value in reply.items() if key not in ("choices", "usage")}}
    head["object"] = "chat.completion.chunk"
    for choice in reply["choices"]:
        message, finish = choice["message"], choice.get("finish_reason") or "stop"
        delta = {**message, "role": message.get("role", "assistant")}
        if isinstance(calls := delta.get("tool_calls"), list):
            delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(calls) if isinstance(call, dict)]
        index = choice.get("index", 0)
        rest = {"logprobs": choice["logprobs"]} if choice.get("logprobs") else {}
        yield {**head, "choices": [{"index": index, "delta": delta, "finish_reason": None, **rest}]}
        yield {**head, "choices": [{"index": index, "delta": {}, "finish_reason": finish}]}


def _parsed(content: bytes, redact: Redact = lambda value: value) -> Reply:
    try:
        found = redact(strict_json.read(content))
    except (ValueError, RecursionError):  # the latter where it is as deep as can be read
        found = None
    if not isinstance(found, dict):
        raise APIError(502, "the upstream's reply was not JSON", code="upstream_malformed", may_be_billed=True)
    return found


def _is_choice(choice: Any, part: str) -> bool:
    return isinstance(choice, dict) and isinstance(choice.get(part), dict) and isinstance(choice.get("index", 0), int)


def _code(found: Mapping[str, Any]) -> str | None:
    return _said(found, "code")


def _said(found: Mapping[str, Any], name: str) -> str | None:
    error = found.get("error")
    value = error.get(name) if isinstance(error, dict) else None
    return value if isinstance(value, str) else None


def _message(found: Mapping[str, Any]) -> str:
    error = found.get("error")
    said = error.get("message") if isinstance(error, dict) else error
    return " ".join(said.split())[:_LONGEST] if isinstance(said, str) else "it did not say why"
