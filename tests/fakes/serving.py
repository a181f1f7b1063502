"""`divcon serve` in a process of its own, and the few bytes of HTTP that a test wants to send by hand."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psutil

SECRET = "sk-sentinel-9f1c/47a+e0=b2"
"""The upstream's key. It has characters that look otherwise in a URL."""
_READY = "divcon: serving "


class Reply(NamedTuple):
    """What came back over a socket."""

    status: int
    headers: dict[str, str]
    body: bytes
    """Without the framing of chunks."""

    @property
    def error(self) -> dict[str, Any]:
        """The error in it, which has the form that OpenAI's clients read."""
        found: dict[str, Any] = json.loads(self.body)["error"]
        assert isinstance(found["message"], str) and found["message"] and isinstance(found["type"], str)
        assert found.keys() == {"message", "type", "param", "code"}
        return found


class Size(NamedTuple):
    """What a server holds."""

    megabytes: float
    files: int
    threads: int


@dataclass(frozen=True)
class Served:
    """A running endpoint."""

    url: str
    """With the `/v1`."""
    process: subprocess.Popen[str]
    log: Path
    ready: str
    """The line it began with."""

    @property
    def address(self) -> tuple[str, int]:
        place = urlsplit(self.url)
        return str(place.hostname), int(place.port or 0)

    def processor(self) -> float:
        """Seconds of processor time that it has taken."""
        took = psutil.Process(self.process.pid).cpu_times()
        return float(took.user + took.system)

    def size(self) -> Size:
        found = psutil.Process(self.process.pid)
        with found.oneshot():
            return Size(found.memory_info().rss / 2**20, found.num_fds(), found.num_threads())

    def logged(self) -> list[dict[str, Any]]:
        """The lines of its log so far that tell of requests; such a line is JSON."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def tell(self, what: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(what)

    def outcome(self, seconds: float = 20.0) -> tuple[int, str]:
        """Its exit code, and what it said besides its first line; it must end soon."""
        said, _ = self.process.communicate(timeout=seconds)
        return self.process.returncode, said

    def connect(self, seconds: float = 10.0, **options: int) -> socket.socket:
        """A connection; `rcvbuf` is what it takes without being read."""
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if size := options.get("rcvbuf"):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        made.settimeout(seconds)
        try:
            made.connect(self.address)
        except OSError:
            made.close()
            raise
        return made

    def exchange(self, request: bytes, seconds: float = 10.0) -> Reply:
        """Send some bytes on a connection of their own, and read the reply."""
        with self.connect(seconds) as connection:
            connection.sendall(request)
            return read(connection)

    def get(self, path: str, **headers: str) -> Reply:
        return self.exchange(request("GET", path, headers=headers))

    def chat(self, text: str, headers: Mapping[str, str] | None = None, **fields: Any) -> Reply:
        """Ask one question."""
        return self.exchange(chat(text, headers, **fields))


def chat(text: str, headers: Mapping[str, str] | None = None, **fields: Any) -> bytes:
    """A request with one question."""
    body = {"model": "m", "messages": [{"role": "user", "content": text}], **fields}
    return request("POST", "/v1/chat/completions", json.dumps(body).encode(), headers)


def request(method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a request. A header that is the empty string is left out."""
    fields = {
        "host": "127.0.0.1",
        "content-type": "application/json",
        "content-length": str(len(body)),
        **(headers or {}),
    }
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value)]
    return "\r\n".join([*lines, "", ""]).encode() + body


def read(connection: socket.socket) -> Reply:
    """A whole reply. Raises EOFError when there is none, or not all of it."""
    with connection.makefile("rb") as file:
        first, *lines = _until(file.readline, b"\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.decode().partition(":") for line in lines)}
        status = int(first.split()[1])
        if status == 100:
            return read(connection)
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(_whole(file.readline(), b"\n"), 16):
                body += _whole(file.read(size + 2), b"\r\n")[:-2]
            return Reply(status, headers, body)
        length = int(headers.get("content-length", -1))
        body = file.read(length)
        if len(body) < length:
            raise EOFError
        return Reply(status, headers, body)


def _until(line: Callable[[], bytes], last: bytes) -> Iterator[bytes]:
    while (found := _whole(line(), b"\n")) != last:
        yield found


def _whole(data: bytes, end: bytes) -> bytes:
    if not data.endswith(end):
        raise EOFError
    return data


@contextmanager
def serving(
    *words: str, sets: Mapping[str, object] | None = None, variables: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """An endpoint for as long as a block lasts: its options, what `--set` gets, and variables of its environment."""
    settings = [word for name, value in (sets or {}).items() for word in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "divcon", "serve", "--port", "0", *words, *settings]
    environment = {**os.environ, "OPENAI_API_KEY": SECRET, "PYTHONUNBUFFERED": "1", **(variables or {})}
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "log"
        with log.open("w") as stderr:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment)
        assert process.stdout
        try:
            ready = process.stdout.readline()
            if not ready.startswith(_READY):
                process.wait(60)
                raise AssertionError(f"exit code {process.returncode}: {ready}{log.read_text()}")
            yield Served(ready.split()[-1], process, log, ready)
        finally:
            process.kill()
            process.communicate()


def eventually(holds: Callable[[], object], seconds: float = 5.0) -> bool:
    """Whether something is so soon."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
