"""Who asks the API for a Python caller: a client for threads, or one for event loops. To the rest both are alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ..pipeline.response import Reply

if TYPE_CHECKING:
    import openai

Result = TypeVar("Result")
_USAGE: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}


class ChatClient(Protocol):
    """Takes the steps of a request."""

    async def complete(self, body: Mapping[str, Any]) -> Reply:
        """A whole reply. Raises what the client raises."""
        ...

    def stream(self, body: Mapping[str, Any]) -> AsyncGenerator[Reply, None]:
        """The chunks of a reply, the last with its usage."""
        ...

    async def work(self, does: Callable[[], Result]) -> Result:
        """What work on this machine comes to."""
        ...


class BlockingChatClient:
    """Blocks the thread, and never waits for an event loop: for `core.async_to_sync`."""

    def __init__(self, client: openai.OpenAI) -> None:
        self._client = client

    async def complete(self, body: Mapping[str, Any]) -> Reply:
        return self._client.chat.completions.create(**body).to_dict(warnings=False)  # type: ignore[no-any-return]

    async def stream(self, body: Mapping[str, Any]) -> AsyncGenerator[Reply, None]:
        with self._client.chat.completions.create(**body, **_USAGE) as chunks:
            for chunk in chunks:
                yield chunk.to_dict(warnings=False)

    async def work(self, does: Callable[[], Result]) -> Result:
        return does()


class AsyncChatClient:
    """Waits in an event loop; what works on this machine works in a thread."""

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self._client = client

    async def complete(self, body: Mapping[str, Any]) -> Reply:
        return (await self._client.chat.completions.create(**body)).to_dict(warnings=False)  # type: ignore[no-any-return]

    async def stream(self, body: Mapping[str, Any]) -> AsyncGenerator[Reply, None]:
        async with await self._client.chat.completions.create(**body, **_USAGE) as chunks:
            async for chunk in chunks:
                yield chunk.to_dict(warnings=False)

    async def work(self, does: Callable[[], Result]) -> Result:
        return await asyncio.to_thread(does)
