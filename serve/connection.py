"""Connections with patience: a client that sends no request, or takes no answer, does not hold one for ever.

uvicorn waits as long as a client likes for a request's head, and for room to write to it.
"""

from __future__ import annotations

import asyncio
import json

import h11
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from .errors import Refused


def patient(head: float, write: float) -> type[H11Protocol]:
    """A protocol that gives a client `head` seconds to send a whole head, and `write` seconds to take some answer."""

    class Patient(H11Protocol):
        _late: asyncio.TimerHandle | None = None
        _stuck: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
            super().connection_made(transport)
            self._late = self.loop.call_later(head, transport.abort)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:
                _stop(self._late)
                self._late = None
            elif self._late is None:
                self._late = self.loop.call_later(head, self.transport.abort)

        def pause_writing(self) -> None:
            super().pause_writing()
            _stop(self._stuck)
            self._stuck = self.loop.call_later(write, self.transport.abort)

        def resume_writing(self) -> None:
            _stop(self._stuck)
            self._stuck = None
            super().resume_writing()
            self._close_in_time()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._close_in_time()

        def timeout_keep_alive_handler(self) -> None:
            super().timeout_keep_alive_handler()
            self._close_in_time()

        def shutdown(self) -> None:
            super().shutdown()
            self._close_in_time()

        def connection_lost(self, exc: Exception | None) -> None:
            _stop(self._late)
            _stop(self._stuck)
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            """As our other errors are, and not in plain text."""
            content = json.dumps(Refused(400, "this is no HTTP request", code="invalid_http").body()).encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(content)).encode()),
                (b"connection", b"close"),
            ]
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                for event in (
                    h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                    h11.Data(data=content),
                    h11.EndOfMessage(),
                ):
                    self.transport.write(self.conn.send(event) or b"")
            self.transport.close()
            self._close_in_time()

        def _close_in_time(self) -> None:
            """A transport that is closing waits for its last bytes to be taken, and not for ever."""
            if self.transport.is_closing() and self._stuck is None:
                self._stuck = self.loop.call_later(write, self.transport.abort)

    return Patient


def unambiguous(app: ASGIApp) -> ASGIApp:
    """The application, for requests whose length is said in one way alone (RFC 9112, 6.3).

    Where it is said in two, another server on the way may have seen two requests.
    """

    async def checked(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and {name for name, _ in scope["headers"]} >= _LENGTHS:
            content = Refused(400, "the length of this request is said twice", code="invalid_http").body()
            await JSONResponse(content, 400, {"connection": "close"})(scope, receive, send)
        else:
            await app(scope, receive, send)

    return checked


_LENGTHS = {b"content-length", b"transfer-encoding"}


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
