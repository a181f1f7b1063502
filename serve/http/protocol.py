"""Connections with patience: a client that sends no request, or takes no answer, does not hold one for ever.

uvicorn waits as long as a client likes for a request's head, and for room to write to it. And it takes a client that
sends no more for one that has left, which gets no answer.
"""

from __future__ import annotations

import asyncio
import json
import socket

import h11
from h11._writers import ChunkedWriter
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..pipeline.errors import APIError
from .framing import Strict

_STATUS = b"HTTP/1.1 "
"""What every answer begins with."""
_ZEROS = 7
"""Zeros before the size of a chunk, which may be of any length; some readers take no more than 16 digits."""
_LOOK = 0.25
"""Seconds between two looks whether a client that sends no more is there."""


def patient(head: float, write: float) -> type[H11Protocol]:
    """A protocol that gives a client `head` seconds to send a whole head, and `write` seconds to take some answer."""

    class Patient(H11Protocol):
        _late: asyncio.TimerHandle | None = None
        _stuck: asyncio.TimerHandle | None = None
        _looking: asyncio.TimerHandle | None = None
        _half: _Half | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
            super().connection_made(transport)
            self.conn._receive_buffer = Strict()
            self._late = self.loop.call_later(head, transport.abort)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:
                _stop(self._late)
                self._late = None
            elif self._late is None:
                self._late = self.loop.call_later(head, self.transport.abort)

        def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's protocols may
            """True for a client that has sent whole requests, and waits for an answer."""
            if not self._is_answering():
                return False
            if self._half is None:
                self._answer_half()
                self._look(1)
            return True

        def _is_answering(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

        def _answer_half(self) -> None:
            self._half = _Half(self.transport, self.conn)
            self.cycle.transport = self._half  # type: ignore[assignment]  # as much of one as is used

        def _look(self, times: int) -> None:
            """See whether the client is there; ask at the first, second, fourth... time."""
            if self._half is None or self.transport.is_closing():
                return
            if self._half.is_refused():
                self.transport.abort()
                return
            if times.bit_count() == 1:
                self._half.ask()
            self._looking = self.loop.call_later(_LOOK, self._look, times + 1)

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
            if self._half is not None and self._is_answering():  # the next of the requests that came together
                self._answer_half()
            elif self._half is not None:
                self.transport.close()
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
            _stop(self._looking)
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            """As our other errors are, and not in plain text."""
            content = json.dumps(APIError(400, "this is no HTTP request", code="invalid_http").body()).encode()
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


class _Half:
    """The transport of an answer whose client sends no more.

    Whoever closes a connection sends the same as one who has only said all. It is the next bytes of the answer that
    tell them apart: the system of one who left refuses them. So some are sent ahead of the others.
    """

    def __init__(self, transport: asyncio.Transport, conn: h11.Connection) -> None:
        self._transport = transport
        self._conn = conn
        self._ahead = 0
        """Bytes of the status line that are out."""
        self._zeros = 0
        """Leading zeros that are out of the size of the next chunk."""

    def write(self, data: bytes) -> None:
        """Send what is not out yet."""
        if data:
            self._transport.write(data[self._ahead :])
            self._ahead = self._zeros = 0

    def ask(self) -> None:
        """Send one byte of what comes next, whatever it is."""
        if self._transport.get_write_buffer_size():
            return
        if self._conn.our_state is h11.SEND_RESPONSE and self._ahead < len(_STATUS):
            self._transport.write(_STATUS[self._ahead : self._ahead + 1])
            self._ahead += 1
        elif isinstance(self._conn._writer, ChunkedWriter) and self._zeros < _ZEROS:
            self._transport.write(b"0")
            self._zeros += 1

    def is_refused(self) -> bool:
        """Whether the client's system has said that nobody takes what is sent."""
        taken: int = self._transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return bool(taken)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._transport.close()


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
