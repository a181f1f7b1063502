"""What comes from a client: a request's body, and the news that nobody waits for its answer any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.datastructures import Headers
from starlette.types import Receive

from ..pipeline.errors import APIError

_DRAIN = 8 * 2**20
"""Bytes of a body that is refused which are still taken, so that the client gets to read why."""
_MORE = 2.0
"""Seconds that are taken for it."""
Done = TypeVar("Done")


class ClientLeft(Exception):  # noqa: N818  # it is nobody's error
    """Nobody waits for the answer any more."""


async def while_there(receive: Receive, work: Awaitable[Done]) -> Done:
    """What the work comes to, which is cancelled when the client leaves. Raises ClientLeft then."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientLeft
    finally:
        leaving.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait({working})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def body(headers: Headers, receive: Receive, most: int, seconds: float, take: Callable[[int], None]) -> bytes:
    """A request's body. Raises Refused when it is too large or too slow."""
    length = headers.get("content-length", "0")
    content = bytearray()
    try:
        async with asyncio.timeout(seconds):
            more = True
            while more and len(content) <= most and not (length.isdecimal() and int(length) > most):
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeft
                piece = message.get("body", b"")
                take(len(piece))
                content += piece
                more = message.get("more_body", False)
    except TimeoutError:
        raise APIError(408, f"the request did not arrive within {seconds:g} s") from None
    if more:
        if "expect" not in headers:  # whoever asks first has not sent it
            await drain(receive, seconds)
        raise APIError(413, f"the request is larger than {most:,} bytes", code="request_too_large")
    return bytes(content)


async def drain(receive: Receive, seconds: float) -> None:
    """Take what is left of a body that nobody wants: a client that is still sending does not read."""
    taken = 0
    try:
        async with asyncio.timeout(min(seconds, _MORE)):
            while taken < _DRAIN:
                message = await receive()
                taken += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return
