"""The key of an upstream removed from its replies, field by field: what a client puts together does not hold it.

A stream's field comes in pieces, and so may a field of a whole reply: parts of a content, tokens with their
log-probabilities. Each field of each choice is a text of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...core.redact import Redactor, Stream

Reply = dict[str, Any]
Path = tuple[str | int | None, ...]
"""Where a text stands in a choice: by the name in an object, the `index` of an item, None for an item without one."""

_NAMES = frozenset({"id", "object", "role", "type", "finish_reason"})
"""Fields whose texts do not come in pieces."""

_USUAL = frozenset({"index", "delta", "message", "content", "logprobs", "finish_reason", "role", "refusal"})
"""Names in every choice, which need no look."""


class Fields:
    """The texts of one choice, each redacted together with what came before it in its field."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._streams: dict[Path, Stream] = {}
        self._last: dict[Path, tuple[Any, Any]] = {}
        """Where the last piece of each text was put: a container, and its key or place there."""

    def __call__(self, value: Any, path: Path = ()) -> Any:
        """A JSON value without the key. What may become the key is held back."""
        if isinstance(value, dict):
            made: Any = {}
            for name, each in value.items():
                if name not in _USUAL:
                    name = self._redactor(name)
                made[name] = (
                    self._text(each, (*path, name), made, name) if isinstance(each, str) else self(each, (*path, name))
                )
            if "bytes" in made and made.get("token") != value.get("token"):  # they spell the token once more
                made |= {"bytes": None, "top_logprobs": []}
            return made
        if isinstance(value, list):
            made = []
            for each in value:
                where = (*path, _index(each))
                made.append(self._text(each, where, made, len(made)) if isinstance(each, str) else self(each, where))
            return made
        return value

    def whole(self, value: Any) -> Any:
        """The same for a value of which no more comes."""
        made = self([value])
        for path, rest in self.rest():
            container, place = self._last[path]
            container[place] += rest
        return made[0]

    def rest(self) -> Iterator[tuple[Path, str]]:
        """What was held back, and in which field, when no more comes."""
        for path, stream in self._streams.items():
            if rest := stream.rest():
                yield path, rest

    def _text(self, text: str, path: Path, container: Any, place: Any) -> str:
        if path[-1] in _NAMES:
            return self._redactor(text)
        self._last[path] = container, place
        if path not in self._streams:
            self._streams[path] = Stream(self._redactor)
        return self._streams[path](text)


class Chunks:
    """The chunks of a stream without the key; each goes on at once."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._choices: dict[int, Fields] = {}
        self._head: Reply = {}
        self._redacted: Reply = {}

    def __call__(self, chunk: Reply) -> list[Reply]:
        """What a chunk becomes: itself, and before the end of a choice what was held back of it."""
        head = self._top({name: value for name, value in chunk.items() if name != "choices"})
        choices, ends = [], []
        for choice in chunk["choices"]:
            index = choice.get("index", 0)
            if index not in self._choices:
                self._choices[index] = Fields(self._redactor)
            fields = self._choices[index]
            made = fields(choice)
            if made.get("finish_reason") and (rest := list(_deltas(fields, index))):
                ends += [*rest, {"index": index, "delta": {}, "finish_reason": made["finish_reason"]}]
                made["finish_reason"] = None
            choices.append(made)
        return [{**head, "choices": choices}, *({**head, "choices": [each]} for each in ends)]

    def rest(self) -> list[Reply]:
        """What was held back of choices that have not ended."""
        found = [delta for index, fields in self._choices.items() for delta in _deltas(fields, index)]
        return [{**self._redacted, "choices": [each]} for each in found]

    def _top(self, head: Reply) -> Reply:
        """What chunks hold besides their choices, which is the same in most of them."""
        if head != self._head or not self._head:
            self._head, self._redacted = head, Fields(self._redactor).whole(head)
        return self._redacted


def redacted(redactor: Redactor, reply: Any) -> Any:
    """A whole JSON value without the key, each choice by itself."""
    if not isinstance(reply, dict) or not isinstance(reply.get("choices"), list):
        return Fields(redactor).whole(reply)
    rest = {name: value for name, value in reply.items() if name != "choices"}
    choices = [Fields(redactor).whole(choice) for choice in reply["choices"]]
    return {**Fields(redactor).whole(rest), "choices": choices}


def needs_none(redactor: Redactor, content: bytes) -> bool:
    """Whether a body of JSON surely holds no key: neither an escape nor a list of parts can hide one."""
    is_plain = b"\\u" not in content and b"\\\\" not in content and content.count(b"[") < 2
    return is_plain and not redactor.may_hold(content.decode(errors="replace"))


def _index(item: Any) -> int | None:
    index = item.get("index") if isinstance(item, dict) else None
    return index if isinstance(index, int) else None


def _deltas(fields: Fields, index: int) -> Iterator[Reply]:
    """Choices of chunks that hold what was held back of the fields of a delta."""
    for path, rest in fields.rest():
        if path[0] == "delta":
            yield {"index": index, **_nested(path, rest), "finish_reason": None}


def _nested(path: Path, text: str) -> Any:
    """A JSON value with a text at a path, and no more."""
    if not path:
        return text
    first, *others = path
    inner = _nested(tuple(others), text)
    if isinstance(first, str):
        return {first: inner}
    return [inner if first is None else {"index": first, **inner}]
