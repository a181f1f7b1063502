"""What a call of a chat-completions server costs its caller, by client: docs/decisions/0011.

python -m bench.serving.clients [ROUNDS]
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import aiohttp
import httpx2
import openai

from tests.fakes.chat_upstream import chatting

CALLS, AT_ONCE = 2000, 32
BODY = {"model": "m", "messages": [{"role": "user", "content": "How many pears has Mia? " * 20}]}
Call = Callable[[], Awaitable[object]]


async def main(url: str, rounds: int) -> None:
    async with AsyncExitStack() as opened:
        sdk = await opened.enter_async_context(openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0))
        plain = await opened.enter_async_context(httpx2.AsyncClient(limits=httpx2.Limits(max_connections=None)))
        light = await opened.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        path = f"{url}/chat/completions"

        async def by_aiohttp() -> bytes:
            async with light.post(path, json=BODY) as response:
                return await response.read()

        calls: dict[str, Call] = {
            "openai": lambda: sdk.post("/chat/completions", cast_to=str, body=BODY),
            "httpx2": lambda: plain.post(path, json=BODY),
            "aiohttp": by_aiohttp,
        }
        spent: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(rounds):
            for name, call in calls.items():
                spent[name].append(await processor_time(call))
    for name, each in spent.items():
        print(f"{name:8} {statistics.median(each):.3f} ms [{min(each):.3f}, {max(each):.3f}] of processor time a call")


async def processor_time(call: Call) -> float:
    """Milliseconds a call, with so many under way at once."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with places:
            await call()

    await asyncio.gather(*(one() for _ in range(CALLS // 10)))
    began = time.process_time()
    await asyncio.gather(*(one() for _ in range(CALLS)))
    return (time.process_time() - began) / CALLS * 1e3


if __name__ == "__main__":
    with chatting() as server:
        asyncio.run(main(server.url, int(sys.argv[1]) if len(sys.argv) > 1 else 5))
