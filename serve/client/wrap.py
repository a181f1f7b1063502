"""A client of OpenAI's that stays one, with a decomposer in front: existing code changes one line.

    client = wrap(openai.OpenAI(), decomposer="runs/x/decomposer")
    client.chat.completions.create(model="gpt-4o-mini", messages=[...])

Only `chat.completions.create` is another: everything else goes to the client itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ...core.async_to_sync import run_sync
from ...decompose.decomposition import Decomposer
from ..pipeline import response
from ..pipeline.billing import RequestBill
from ..pipeline.pipeline import Ask, RequestTrace, Step, run
from ..pipeline.request import EXTENSION, Chat
from ..pipeline.response import Reply
from .plug import DecomposedLLM, plug

if TYPE_CHECKING:
    import openai

AnyClient = TypeVar("AnyClient", bound="openai.OpenAI | openai.AsyncOpenAI")
_BESIDE = ("extra_headers", "extra_query", "extra_body", "timeout")
"""What `create` takes that is no part of a request's body."""


class Wrapped(Generic[AnyClient]):
    """A client whose chat completions are decomposed first."""

    def __init__(self, client: AnyClient, plugged: DecomposedLLM) -> None:
        self._client = client
        self._plugged = plugged
        self.chat = _Chat(client.chat, plugged)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def with_options(self, **options: Any) -> Wrapped[Any]:
        """As the client's own: the same with other options, and wrapped like this one."""
        return Wrapped(self._client.with_options(**options), self._plugged)

    copy = with_options


class _Chat:
    def __init__(self, chat: Any, plugged: DecomposedLLM) -> None:
        self._chat = chat
        self.completions = _Completions(chat.completions, plugged)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chat, name)


class _Completions:
    def __init__(self, completions: Any, plugged: DecomposedLLM) -> None:
        self._completions = completions
        self._plugged = plugged

    def __getattr__(self, name: str) -> Any:
        return getattr(self._completions, name)

    def create(self, **asked: Any) -> Any:
        """As the client's own, with the last user turn decomposed; to be awaited where the client's is.

        `extra_body={"divcon": {"mode": ..., "max_subquestions": ..., "k": ..., "vote": ...}}` speaks to the decomposer.
        What comes back is the client's own object, with what each phase took under `usage.divcon`. A stream is the
        client's own too; of a vote, an iterator over the winner's chunks.
        """
        blocks = self._plugged.client is not None
        call = _Call(*_request(self._plugged, asked), self._plugged, self._completions, blocks)
        return run_sync(call.run()) if blocks else call.run()


@dataclass
class _Call:
    """One call of `create`."""

    chat: Chat
    beside: Mapping[str, Any]
    """What is sent beside the body of every step."""
    options: Mapping[str, Any]
    """What is sent with a stream alone."""
    plugged: DecomposedLLM
    completions: Any
    blocks: bool
    """Whether the client is one for threads."""
    last: Any = None
    """What the client gave for the last step: a completion, or a stream."""

    async def run(self) -> Any:
        """The client's own object."""
        trail = RequestTrace()
        return self._returned(await run(self.plugged.steps(self.chat, trail), self._take), trail)

    async def _take(self, step: Step) -> Any:
        if isinstance(step, Ask):
            made = self._create(step)
            self.last = made if self.blocks else await made
            return {"choices": [], "usage": None} if self._streams(step) else self.last.to_dict(warnings=False)
        return (
            self.plugged.local_result(step) if self.blocks else await asyncio.to_thread(self.plugged.local_result, step)
        )

    def _create(self, step: Ask) -> Any:
        streaming = {"stream": True, **self.options} if self._streams(step) else {}
        return self.completions.create(**step.body, **self.beside, **streaming)

    def _streams(self, step: Ask) -> bool:
        return self.chat.stream and step.is_last

    def _returned(self, reply: Reply, trail: RequestTrace) -> Any:
        from openai.types import CompletionUsage
        from openai.types.chat import ChatCompletionChunk
        from openai.types.chat.chat_completion import Choice

        if self.chat.stream and not reply["choices"]:
            return self.last
        account = RequestBill.of(trail, self.plugged.rates)
        found = account.usage(reply.get("usage"), trail)
        usage = None if found is None else CompletionUsage.model_construct(**found)
        if self.chat.stream:
            *chunks, last = [ChatCompletionChunk.model_validate(chunk) for chunk in response.as_chunks(reply)]
            ended = [last.model_copy(update={"choices": [], "usage": usage})] if self.chat.wants_usage else []
            return iter([*chunks, last, *ended]) if self.blocks else _aiter([*chunks, last, *ended])
        changes = {"usage": usage, "choices": [Choice.model_validate(choice) for choice in reply["choices"]]}
        return self.last.model_copy(update=changes)


def wrap(client: AnyClient, decomposer: str | Path | Decomposer | None, **options: Any) -> Wrapped[AnyClient]:
    """A client of OpenAI's (for threads, or for event loops) with a decomposer in front of its chat completions.

    `options` are those of `plug`, but for `model`: each request names its own. Raises ConfigError as `plug` does.
    """
    return Wrapped(client, plug(decomposer, client, "any", **options))


def _request(plugged: DecomposedLLM, asked: Mapping[str, Any]) -> tuple[Chat, dict[str, Any], dict[str, Any]]:
    """A request in the words of the client, what is sent beside its body, and what is sent with a stream alone."""
    import openai

    given = {key: value for key, value in asked.items() if not isinstance(value, openai.NotGiven | openai.Omit)}
    beside = {key: given.pop(key) for key in _BESIDE if key in given}
    extra = dict(beside.get("extra_body") or {})
    said = extra.pop(EXTENSION, None)
    given["messages"] = [_plain(message) for message in given.get("messages") or ()]
    if extra or "extra_body" in beside:
        beside["extra_body"] = extra or None
    options = {key: given[key] for key in ("stream_options",) if given.get(key)}
    return plugged.read({**given, EXTENSION: said}), beside, options


def _plain(message: Any) -> Any:
    """A turn as JSON has it: a reply of before may be the client's own object."""
    return message.to_dict(warnings=False) if hasattr(message, "to_dict") else message


async def _aiter(items: list[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item
