"""Server-sent events, as chat-completions servers use them: lines of `data:`, an empty line behind each event."""

from __future__ import annotations

import json
from typing import Any

DONE = b"data: [DONE]\n\n"
"""What ends a stream of chunks."""


def event(value: Any) -> bytes:
    """An event that holds a JSON value."""
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


class Events:
    """Takes bytes as they come, in pieces of any size, and gives the data of the events that they complete."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[bytes] = []
        self._after_cr = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of each event that ends in this piece. Comments and other fields are dropped."""
        if self._after_cr and piece.startswith(b"\n"):  # a CRLF that was sent in two pieces
            piece = piece[1:]
        self._after_cr = piece.endswith(b"\r")
        *ended, rest = (bytes(self._line) + piece).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._line = bytearray(rest)
        return [data for line in ended if (data := self._end(line)) is not None]

    def _end(self, line: bytes) -> bytes | None:
        """The data of the event that this line ends; None where it ends none."""
        if line:
            field, _, value = line.partition(b":")
            if field == b"data":
                self._data.append(value.removeprefix(b" "))
            return None
        data, self._data = b"\n".join(self._data), []
        return data or None
