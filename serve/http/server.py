"""Where an endpoint listens, and how it starts and stops."""

from __future__ import annotations

import ipaddress
import logging
import resource
import signal
import socket
import sys
from collections.abc import Callable
from math import ceil
from pathlib import Path
from types import FrameType

import uvicorn

from ...core.errors import ConfigError
from ...core.terminal import json_text
from ..settings import ServeSettings
from .protocol import patient
from .reload import hangup

_BACKLOG = 2048
_UNREAD = 2**16
"""Bytes that the system takes for a client that has not read them."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host of this name or number."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bind(host: str, port: int) -> socket.socket:
    """A socket at this address. Raises ConfigError when it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named: asyncio sends at once (TCP_NODELAY) only where it sees that it is TCP.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # Connections inherit it. The system's own buffer, of megabytes, hides for long whether a client still reads.
        found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNREAD)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(_BACKLOG)
    except OSError as error:
        found.close()
        raise ConfigError(f"cannot listen at {host}:{port}: {error.strerror or error}") from error
    return found


class Server(uvicorn.Server):
    """Says where it is when it is ready; once it is told to end it reads nothing again."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        hangup.ignore()
        super().handle_exit(sig, frame)


def run(app: object, settings: ServeSettings, listening: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until the process is told to stop; what is in work then is finished first."""
    _allow_many_connections()
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]  # an ASGI application
        loop="asyncio",
        http=patient(settings.limits.head_timeout, settings.limits.write_timeout),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,  # ours has the phases, and no paths that a client makes up
        proxy_headers=False,  # whoever sends X-Forwarded-For says what he likes
        server_header=False,
        timeout_keep_alive=ceil(settings.limits.head_timeout),
        timeout_graceful_shutdown=settings.limits.shutdown_timeout,
    )
    server = Server(config, ready)
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: None)  # uvicorn raises it again when all is done, and that is no failure
    try:
        server.run(sockets=[listening])
    except SystemExit:  # what uvicorn makes of a start that failed
        raise ConfigError("the models could not be loaded; the log says why") from None


def log_to_stderr(redact: Callable[[str], str] = str) -> None:
    """A line of JSON an event, its texts redacted."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(redact))
    for name, level in (("divcon.serve", logging.INFO), ("uvicorn.error", logging.ERROR)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


class _Json(logging.Formatter):
    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """A request's facts as they are; of anything else what happened, and where it came from."""
        facts = record.args if isinstance(record.args, dict) else {}
        if not facts:
            facts = {"level": record.levelname.lower(), "event": record.getMessage()}
        if record.exc_info:
            facts = {**facts, "trace": self.formatException(record.exc_info)}
        return json_text({name: self._redact(fact) if isinstance(fact, str) else fact for name, fact in facts.items()})


def spending_file(keys: Path) -> Path:
    """Where what keys have spent is kept, unless it is said."""
    return keys.with_name(f"{keys.name}.spent.sqlite")


def _allow_many_connections() -> None:
    """As many files as the system lets us open: a crowd of idle connections shall not keep others out."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 65536 if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
