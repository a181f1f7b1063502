"""The API LLM behind the endpoint: one request for one request, and none repeated.

Whoever asks this server knows how long an answer is worth waiting for and tries again himself; retries of both would
multiply. What goes out is the client's own JSON. It is not asked by OpenAI's client, which follows redirections and so
shows a conversation to somebody else, reads errors of any length, and takes many times the processor time
(docs/decisions/0011).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from ...core.errors import ConfigError
from ...core.redact import Redactor, redactor
from ...lm.api.spec import secret
from ..pipeline import response as replies
from ..pipeline.errors import APIError
from ..pipeline.response import Reply
from ..settings import UpstreamSettings
from .redaction import Chunks, needs_none, redacted
from .sse import Events

_KEPT = 4.0
"""Seconds that a connection is kept for the next request; many servers close theirs after 5."""
_SHORT = 8
"""Characters below which a key is no secret, but a word such as `none` that replies may hold."""


class Upstream:
    """A model behind an OpenAI-compatible server."""

    def __init__(self, settings: UpstreamSettings) -> None:
        """Raises ConfigError when the key's environment variable holds what no header can."""
        key = secret(settings.api_key_env)
        self._settings = settings
        self._redactor = redaction(settings)
        self._url = f"{settings.url.rstrip('/')}/chat/completions"
        headers = {
            "content-type": "application/json",
            "user-agent": f"divcon/{version('divcon')}",
            "accept-encoding": "identity",  # what is packed has no length that a limit could hold
        }
        if key:
            headers["authorization"] = f"Bearer {key}"
        self._query = {} if settings.api_version is None else {"api-version": settings.api_version}
        if key and self._query:  # Azure's
            headers["api-key"] = key
        self._headers = {**headers, **{name.lower(): value for name, value in settings.extra_headers.items()}}
        self._proxy = _proxy(settings.url)
        self._opened: aiohttp.ClientSession | None = None

    def reload(self, settings: UpstreamSettings) -> None:
        """Other times and sizes, for all that is asked from now on; where it is asked stays."""
        self._settings = settings

    async def complete(self, body: Mapping[str, Any]) -> Reply:
        """The whole reply. Raises Refused when there is none."""
        async with self._patience(self._settings.timeout), self._sent(body) as response:
            content = await self._read(response)
            if needs_none(self._redactor, content):
                return replies.completion(content)
            return replies.completion(content, self._redacted)

    async def stream(self, body: Mapping[str, Any]) -> AsyncGenerator[Reply, None]:
        """The chunks of a reply, its usage in the last. Raises Refused when it breaks off, before or in between."""
        options = {**(body.get("stream_options") or {}), "include_usage": True}
        chunks = self._chunks({**body, "stream": True, "stream_options": options})
        seconds = self._settings.timeout
        try:
            while True:
                async with self._patience(seconds):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                yield chunk
                seconds = self._settings.idle
        finally:
            await chunks.aclose()

    async def warm(self) -> None:
        """There is nothing to load."""

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()

    async def _chunks(self, body: Mapping[str, Any]) -> AsyncGenerator[Reply, None]:
        async with self._sent(body) as response:
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                raise APIError(502, "the upstream did not stream", code="upstream_malformed", may_be_billed=True)
            events, size = Events(), 0
            unfinished = {0}
            chunks = Chunks(self._redactor)
            async for piece in response.content.iter_any():
                size += len(piece)
                self._check(size)
                for data in events.feed(piece):
                    if data.strip() == b"[DONE]":
                        for chunk in chunks.rest():
                            yield chunk
                        return
                    for chunk in _redacted(chunks, replies.chunk(data, self._redacted)):
                        _finish(chunk, unfinished)
                        yield chunk
        if unfinished:
            raise APIError(502, "the upstream's stream ended too early", code="upstream_malformed", may_be_billed=True)

    @asynccontextmanager
    async def _sent(self, body: Mapping[str, Any]) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response to a request, its body yet to be read. Raises Refused for every status but 200."""
        settings = self._settings
        kept = {name: value for name, value in body.items() if name not in settings.drop}
        content = json.dumps({**kept, **settings.extra_body, "model": settings.model}).encode()
        async with self._session.post(
            self._url, params=self._query, data=content, allow_redirects=False, proxy=self._proxy
        ) as response:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise APIError(502, "the upstream's reply is packed", code="upstream_malformed", may_be_billed=True)
            if response.status != 200:
                refusal = await self._read(response)
                raise replies.refusal(response.status, refusal, response.headers, self._redacted)
            yield response

    @property
    def _session(self) -> aiohttp.ClientSession:
        """Connections are kept for less long than servers keep theirs, so that none is used when it is just closed."""
        if self._opened is None:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT)
            patient = aiohttp.ClientTimeout(total=None)  # ours are below
            self._opened = aiohttp.ClientSession(
                headers=self._headers,
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),  # the clients of this server are not one person
                timeout=patient,
                auto_decompress=False,
                trust_env=False,  # it would look for a login in ~/.netrc too, for each request
            )
        return self._opened

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        content = bytearray()
        async for piece in response.content.iter_any():
            content += piece
            self._check(len(content))
        return bytes(content)

    def _check(self, size: int) -> None:
        if size > (most := self._settings.max_bytes):
            raise APIError(
                502,
                f"the upstream's reply is larger than {most:,} bytes",
                code="upstream_too_large",
                may_be_billed=True,
            )

    def _redacted(self, reply: Any) -> Any:
        """An upstream's words without the key, should it repeat it."""
        return redacted(self._redactor, reply)

    @asynccontextmanager
    async def _patience(self, seconds: float) -> AsyncIterator[None]:
        """A time for what is in the block, and the library's errors as what a client is told."""
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise APIError(
                504, f"the upstream did not answer within {seconds:g} s", code="upstream_timeout", may_be_billed=True
            ) from None
        except aiohttp.ClientConnectorError:
            raise APIError(502, "the upstream cannot be reached", code="upstream_unreachable") from None
        except aiohttp.ClientError:
            raise APIError(
                502, "the connection to the upstream broke", code="upstream_unreachable", may_be_billed=True
            ) from None


def redaction(settings: UpstreamSettings) -> Redactor:
    """What takes an upstream's key out of a text."""
    key = secret(settings.api_key_env)
    return redactor(key if len(key) >= _SHORT else "")


def _redacted(chunks: Chunks, chunk: Reply) -> list[Reply]:
    try:
        return chunks(chunk)
    except RecursionError:  # it is as deep as can be read
        raise APIError(
            502, "the upstream's stream held no chunk", code="upstream_malformed", may_be_billed=True
        ) from None


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for a URL."""
    parts = urlsplit(url)
    proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
    if proxy is not None and not proxy.startswith(("http://", "https://")):
        raise ConfigError(f"the proxy in {parts.scheme}_proxy is none that is asked by HTTP; correct or unset it")
    return proxy


def _finish(chunk: Reply, unfinished: set[int]) -> None:
    """Keep the choices that a stream has begun and not ended."""
    for choice in chunk["choices"]:
        unfinished.add(choice.get("index", 0))
        if choice.get("finish_reason"):
            unfinished.discard(choice.get("index", 0))
