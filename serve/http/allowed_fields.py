"""What a key with a limit in dollars may ask: a list of what is known to cost its tokens at the listed price.

A field that is not listed may choose another model, a tool that is paid by the call, or a price by something else than
tokens; and a server learns new ones any day. So everything else is refused. Keys without a limit ask what they like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..pipeline.errors import APIError
from ..pipeline.request import Chat

Check = Callable[[Any], bool]
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_TIERS = ("auto", "default", "flex")
"""Not dearer than the listed price."""
_FORMATS = ("text", "json_object", "json_schema")
_MEDIA = ("image_url", "file")
"""Parts that are billed as tokens of the prompt. Sound has a price of its own."""


def check(chat: Chat, context: int | None) -> None:
    """Raises Refused, which names the field, for what may cost more than can be known from the request.

    `context` is how many tokens the model reads at most; None where that is unknown.
    """
    for name, value in _given(chat.body):
        if name not in _FIELDS or not _FIELDS[name](value):
            raise _refused(name)
    for i, message in enumerate(chat.body["messages"]):
        _check_message(f"messages[{i}]", message, context)
    if chat.max_tokens is None and context is None:
        raise _refused("max_tokens", "it is missing")


def limited(chat: Chat, name: str) -> Chat:
    """The same request with the limit of a completion under the one name that the upstream obeys; by another it might
    be passed over."""
    body = {key: value for key, value in chat.body.items() if key not in ("max_tokens", "max_completion_tokens")}
    return replace(chat, body=body if chat.max_tokens is None else {**body, name: chat.max_tokens})


def _check_message(where: str, message: Mapping[str, Any], context: int | None) -> None:
    for name, value in _given(message):
        if name not in _OF_MESSAGE or not _OF_MESSAGE[name](value):
            raise _refused(f"{where}.{name}")
    content = message.get("content")
    for i, part in enumerate(content if isinstance(content, list) else ()):
        _check_part(f"{where}.content[{i}]", part, context)


def _check_part(where: str, part: Mapping[str, Any], context: int | None) -> None:
    kind = part.get("type")
    if not isinstance(kind, str) or kind not in ("text", "refusal", *_MEDIA):
        raise _refused(f"{where}.type")
    if kind in _MEDIA and context is None:
        raise _refused(f"{where}.type", "how much the model can read (upstream.context) is not set")
    for name, value in _given(part):
        if name not in ("type", kind) or not isinstance(value, dict if name in _MEDIA else str):
            raise _refused(f"{where}.{name}")


def _refused(field: str, why: str = "what it costs is not known from the tokens") -> APIError:
    return APIError(400, f"{field} is not taken from a key with a limit in dollars: {why}", param=field)


def _given(fields: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Those that ask for something: clients send `null` for what they leave out, and replies of before with `[]`."""
    return ((name, value) for name, value in fields.items() if value is not None and value != [])


def _any(_: Any) -> bool:
    """Whatever is in it costs its own length at most."""
    return True


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _number(value: Any) -> bool:
    return isinstance(value, int | float)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _switch(value: Any) -> bool:
    return isinstance(value, bool)


def _among(*names: str) -> Check:
    return lambda value: isinstance(value, str) and value in names


def _is_function(tool: Any) -> bool:
    """Whether a tool is the client's own; servers run others, and bill them."""
    if not isinstance(tool, dict) or tool.get("type") != "function" or not tool.keys() <= {"type", "function"}:
        return False
    function = tool.get("function")
    return isinstance(function, dict) and function.keys() <= {"name", "description", "parameters", "strict"}


def _functions(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_function, value))


def _calls(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(call, dict) for call in value)


def _choice(value: Any) -> bool:
    return _among("none", "auto", "required")(value) or _is_function(value)


def _format(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() <= {"type", "json_schema"} and value.get("type") in _FORMATS


def _holds(fields: Mapping[str, Check]) -> Check:
    """Whether an object holds these fields alone, each as it should be."""
    return lambda value: (
        isinstance(value, dict) and all(name in fields and fields[name](part) for name, part in _given(value))
    )


_FIELDS: dict[str, Check] = {
    "model": _text,
    "messages": _any,
    "max_tokens": _number,
    "max_completion_tokens": _number,
    "n": _number,
    "temperature": _number,
    "top_p": _number,
    "presence_penalty": _number,
    "frequency_penalty": _number,
    "seed": _number,
    "stop": _any,
    "logit_bias": _any,
    "logprobs": _switch,
    "top_logprobs": _number,
    "user": _text,
    "safety_identifier": _text,
    "reasoning_effort": _text,
    "reasoning": _holds({"effort": _text, "max_tokens": _count, "enabled": _switch, "exclude": _switch}),
    "thinking": _holds({"type": _text, "budget_tokens": _count}),
    "enable_thinking": _switch,
    "thinking_budget": _count,
    "thinking_token_budget": _count,
    "verbosity": _text,
    "service_tier": _among(*_TIERS),
    "response_format": _format,
    "tools": _functions,
    "tool_choice": _choice,
    "parallel_tool_calls": _switch,
    "functions": _calls,
    "function_call": _any,
}
_OF_MESSAGE: dict[str, Check] = {
    "role": _among(*_ROLES),
    "content": _any,
    "name": _text,
    "refusal": _text,
    "reasoning_content": _text,
    "tool_calls": _calls,
    "tool_call_id": _text,
    "function_call": _any,
}
