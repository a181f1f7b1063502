"""Heads and chunks that can be read in one way alone (RFC 9112).

h11 forgives what the standard lets it forgive: a line that ends in LF, a folded header, a length said twice. Another
server on the way may forgive it otherwise, and then a request hides in another.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from h11 import LocalProtocolError
from h11._receivebuffer import ReceiveBuffer

_END = b"\r\n\r\n"
_AMBIGUOUS = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|\n[ \t]|\A[ \t]")
"""A line that ends in LF or CR alone, or one that goes on with the line before."""
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_EXTENSION = rb"[ \t]*;[ \t]*%b(?:[ \t]*=[ \t]*(?:%b|%b))?" % (_TOKEN, _TOKEN, _QUOTED)
_CHUNK = re.compile(rb"[0-9A-Fa-f]{1,16}(?:%b)*\r\n" % _EXTENSION)
_REQUEST = re.compile(rb"(%b) ([!-\"$-~]+) HTTP/1\.([01])" % _TOKEN)
_FIELD = re.compile(rb"(%b):[ \t]*([\t -~\x80-\xff]*?)[ \t]*" % _TOKEN)
_ABSOLUTE = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE | re.DOTALL)
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._~%-]*)(?::([0-9]{0,5}))?")
_LENGTH = re.compile(rb"[0-9]{1,19}")


class Strict(ReceiveBuffer):
    """What has arrived on a connection and is yet to be read."""

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """The lines of a head or of trailers, once they are all there."""
        if self._data[:2] == b"\r\n":
            self._extract(2)
            return []
        start = max(0, self._multiple_lines_search - len(_END))
        end = self._data.find(_END, start)
        if _AMBIGUOUS.search(self._data, start, len(self._data) if end < 0 else end + len(_END)):
            raise LocalProtocolError("a line that could end elsewhere")
        if end < 0:
            self._multiple_lines_search = len(self._data)
            return None
        first, *others = bytes(self._extract(end + len(_END))[: -len(_END)]).split(b"\r\n")
        if _FIELD.fullmatch(first):  # trailers, which nobody reads
            _fields(others)
        else:
            first = _unambiguous(first, others)
        return [bytearray(line) for line in (first, *others)]

    def maybe_extract_next_line(self) -> bytearray | None:
        """The line before a chunk."""
        line = super().maybe_extract_next_line()
        if not _CHUNK.fullmatch(line) if line is not None else b"\n" in self._data:
            raise LocalProtocolError("a chunk of unknown length")
        return line


def _unambiguous(first: bytes, lines: Sequence[bytes]) -> bytes:
    """The first line of a head, with the path alone. Raises LocalProtocolError where a head is not what it seems."""
    request = _REQUEST.fullmatch(first)
    if request is None:
        raise LocalProtocolError("no request line")
    method, target, minor = request.groups()
    fields = _fields(lines)
    hosts = [value for name, value in fields if name == b"host"]
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value.lower() for name, value in fields if name == b"transfer-encoding"]
    if len(hosts) > 1 or (minor == b"1" and not hosts) or not all(map(_is_host, hosts)):
        raise LocalProtocolError("not one host")
    if len(lengths) + len(codings) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
        raise LocalProtocolError("not one length")
    if codings and (codings != [b"chunked"] or minor == b"0"):
        raise LocalProtocolError("not in chunks")
    return b"%b %b HTTP/1.%b" % (method, _path(method, target, hosts), minor)


def _fields(lines: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    found = list(map(_FIELD.fullmatch, lines))
    if None in found:
        raise LocalProtocolError("no header")
    return [(field[1].lower(), field[2]) for field in found if field]


def _path(method: bytes, target: bytes, hosts: Sequence[bytes]) -> bytes:
    """The path that a target names on this host."""
    if target.startswith(b"/") or (method, target) == (b"OPTIONS", b"*"):
        return target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None or not absolute[1] or [absolute[1].lower()] != [host.lower() for host in hosts]:
        raise LocalProtocolError("another host")
    return absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]


def _is_host(value: bytes) -> bool:
    """Whether a header names a host and perhaps a port, and nothing else."""
    found = _HOST.fullmatch(value)
    if found is None or int(found[2] or 0) > 65535:
        return False
    if not found[1].startswith(b"["):
        return True
    try:
        ipaddress.IPv6Address(found[1][1:-1].decode())
    except ValueError:
        return False
    return True
