"""What every client of an API is opened with: a proxy that is known, and replies of a size that memory can hold.

A reply may be packed a thousand times smaller than it is, or never end. None is asked for packed, a packed one is
refused, and reading ends at a size.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import openai

from ...core.errors import ConfigError
from .options import ApiOptions

if TYPE_CHECKING:
    import httpx
else:  # the one that OpenAI's client stands on: it may be a fork
    httpx = import_module(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])

MOST = 256 * 2**20
"""Bytes of a reply: 64 samples of 100,000 tokens are 32 MiB."""
MOST_OF_A_FILE = 4 * 2**30
"""Bytes of a batch's output."""
_PLAIN = {"Accept-Encoding": "identity"}


def opened_async(
    key: str, url: str, most: int | None = None, options: ApiOptions | None = None, **client: Any
) -> openai.AsyncOpenAI:
    """A client whose replies have at most so many bytes. Raises ConfigError when the environment names a bad proxy."""

    async def bounded(response: httpx.Response) -> None:
        _refuse_packed(response)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _BoundedAsync(response.stream, most or MOST)

    with _proxies():
        http = openai.DefaultAsyncHttpxClient(event_hooks={"response": [bounded]})
        return openai.AsyncOpenAI(api_key=key, base_url=url, http_client=http, **client, **_sent(key, options))


def opened(
    key: str, url: str, most: int | None = None, options: ApiOptions | None = None, **client: Any
) -> openai.OpenAI:
    """The same, to be waited for."""

    def bounded(response: httpx.Response) -> None:
        _refuse_packed(response)
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _Bounded(response.stream, most or MOST)

    with _proxies():
        http = openai.DefaultHttpxClient(event_hooks={"response": [bounded]})
        return openai.OpenAI(api_key=key, base_url=url, http_client=http, **client, **_sent(key, options))


def _sent(key: str, options: ApiOptions | None) -> dict[str, Any]:
    """The headers and the query of every request. Azure wants the key in a header of its own."""
    if options is None:
        return {"default_headers": _PLAIN}
    azure = {} if options.api_version is None else {"api-key": key}
    query = {} if options.api_version is None else {"default_query": {"api-version": options.api_version}}
    return {"default_headers": {**_PLAIN, **azure, **options.extra_headers}, **query}


@contextmanager
def _proxies() -> Iterator[None]:
    """httpx reads the proxies of the environment when a client is made."""
    try:
        yield
    except (ImportError, ValueError, httpx.InvalidURL, openai.OpenAIError) as error:
        named = [name for name in os.environ if name.lower() in _PROXIES]
        missing = "its library is missing: pip install 'httpx[socks]'"
        why = missing if isinstance(error, ImportError) else " ".join(str(error).split())[:100]
        raise ConfigError(
            f"the proxy in {', '.join(sorted(named)) or 'the environment'} cannot be used ({why}); correct or unset it"
        ) from error


_PROXIES = {"all_proxy", "http_proxy", "https_proxy", "no_proxy"}


def _refuse_packed(response: httpx.Response) -> None:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise httpx.DecodingError("the reply is packed, which nobody asked for", request=response.request)


class _BoundedAsync(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, most: int) -> None:
        self._stream = stream
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._stream:
            size = _counted(size, piece, self._most)
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Bounded(httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream, most: int) -> None:
        self._stream = stream
        self._most = most

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for piece in self._stream:
            size = _counted(size, piece, self._most)
            yield piece

    def close(self) -> None:
        self._stream.close()


def _counted(size: int, piece: bytes, most: int) -> int:
    if size + len(piece) > most:
        raise httpx.DecodingError(f"the reply is larger than {most:,} bytes")
    return size + len(piece)
