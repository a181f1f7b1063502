"""The tokens that an upstream states for a call, and whether they can be true.

A server may state less than it bills: by a fault, or because it does not count what its model thought. Less than the
text that it sent back is not believed, nor is less than the text that it was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from typing import Any

from ...lm.types import Usage
from .response import consumed

_LONG = 12
"""Characters without white space that a token holds at most, on average over a text; it is 3 to 5 in most."""
_TEXTS = ("content", "refusal", "reasoning_content", "reasoning")


def believed(reply: Mapping[str, Any], body: Mapping[str, Any], streamed: int = 0) -> Usage | None:
    """The tokens of a call to which `reply` came; None where it does not state them, or they cannot be true.

    `streamed` is how many characters came in a stream before.
    """
    found = consumed(reply)
    if found is None:
        return None
    found = replace(found, completion_tokens=max(found.completion_tokens, stated(reply["usage"]).completion_tokens))
    is_short = found.prompt_tokens < _least(_read(body)) or found.completion_tokens < _least(written(reply) + streamed)
    return None if is_short else found


def stated(usage: Any) -> Usage:
    """The tokens in a `usage`, as far as there are numbers in it. What only the total counts was written."""
    if not isinstance(usage, Mapping):
        return Usage()
    prompt, completion, total = (
        _count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens", "total_tokens")
    )
    return Usage(prompt, max(completion, total - prompt))


def written(reply: Mapping[str, Any]) -> int:
    """The characters of a reply, or of a chunk of one, without white space."""
    messages = (choice.get("message") or choice.get("delta") or {} for choice in reply.get("choices") or ())
    return sum(_of_message(message) for message in messages)


def _of_message(message: Mapping[str, Any]) -> int:
    calls = message.get("tool_calls")
    functions = [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    arguments = [function.get("arguments") for function in functions if isinstance(function, dict)]
    return sum(map(_characters, (*(message.get(name) for name in _TEXTS), *arguments)))


def _read(body: Mapping[str, Any]) -> int:
    """The characters of a request's turns."""
    contents = [message.get("content") for message in body.get("messages") or ()]
    parts = [part.get("text") for content in contents if isinstance(content, list) for part in content]
    return sum(map(_characters, (*contents, *parts)))


def _characters(text: Any) -> int:
    return len(text) - text.count(" ") - text.count("\n") if isinstance(text, str) else 0


def _least(characters: int) -> int:
    """Tokens that so many characters are at least."""
    return max(1, characters // _LONG) if characters > 0 else 0


def _count(value: Any) -> int:
    """A number of tokens; 0 where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    try:
        return int(value) if isfinite(value) and value > 0 else 0
    except OverflowError:  # no float is as large
        return 0
