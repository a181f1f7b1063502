"""What goes out to a client: a whole answer, or pieces of one, or an error in the form that still fits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.types import Send

from ..backends import sse
from ..pipeline.errors import APIError


class Answering:
    """The answer to one request, as far as it is out."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        """Of what has begun; 0 before."""
        self._is_over = False

    async def whole(self, content: Any, headers: Mapping[str, str], status: int = 200) -> None:
        data = json.dumps(content, separators=(",", ":")).encode()
        await self._begin(status, {"content-type": "application/json", "content-length": str(len(data)), **headers})
        await self._put(data, more=False)

    async def piece(self, data: bytes, headers: Mapping[str, str]) -> None:
        if not self.status:
            await self._begin(
                200, {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", **headers}
            )
        await self._put(data, more=True)

    async def end(self) -> None:
        await self._put(b"", more=False)

    async def refuse(self, refused: APIError, headers: Mapping[str, str]) -> None:
        """An error; nothing where the answer is out already."""
        if self._is_over:
            return
        if not self.status:
            await self.whole(refused.body(), {**headers, **refused.headers}, refused.status)
            return
        await self.piece(sse.event(refused.body()) + sse.DONE, headers)
        await self.end()

    async def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        self.status = status
        raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def _put(self, data: bytes, *, more: bool) -> None:
        self._is_over = self._is_over or not more
        await self._send({"type": "http.response.body", "body": data, "more_body": more})
