"""SIGHUP, which asks a running server to read its keys and settings again, and never ends it.

This module is imported before the large ones, and imports none of them.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..settings import ServeSettings

Read = Callable[[], "ServeSettings"]
RELOADED: dict[str, tuple[str, ...]] = {
    "limits": (
        *("concurrency", "max_queue", "queue_timeout", "key_share", "body_bytes", "held_bytes"),
        *("n", "samples", "max_tokens", "body_timeout", "stream_timeout"),
    ),
    "upstream": ("timeout", "idle", "max_bytes", "context", "price", "tokens_key"),
    "decomposer": ("max_subquestions", "max_question_chars", "skip", "on_failure", "timeout"),
    "vote": ("samples", "timeout"),
    "cascade": ("share", "samples", "temperature"),
}
"""What may change while the server runs, besides `mode`; the rest is models, files and sockets that are open."""


class Hangup:
    """What becomes of SIGHUP in this process."""

    def __init__(self) -> None:
        self.read: Read | None = None
        """Reads the settings again; None where they came from no file."""
        self._is_pending = False
        self._reload: Callable[[], None] | None = None

    def catch(self, read: Read | None = None) -> None:
        """From now on the signal does no harm; one that comes before the server is ready is kept until then, for the
        files may have changed since they were read."""
        self.read = read or self.read
        _handle(self._come)

    def ready(self, reload: Callable[[], None]) -> None:
        """From now on the signal has `reload` called in the event loop that runs.

        Signals that come before it was called make one call: a flood of them does not keep the loop from requests.
        """
        loop = asyncio.get_running_loop()
        is_due = False

        def due() -> None:
            nonlocal is_due
            is_due = False  # first: files that change while they are read are read again
            reload()

        def call() -> None:
            nonlocal is_due
            if is_due:
                return
            is_due = True
            with suppress(RuntimeError):  # the loop may be closed already
                loop.call_soon_threadsafe(due)

        self._reload = call
        if self._is_pending:
            self._is_pending = False
            call()

    def ignore(self) -> None:
        """The process is told to end, and ends by itself; the signal shall neither delay that nor end it otherwise."""
        self.read = self._reload = None
        self._is_pending = False
        _handle(signal.SIG_IGN)

    def _come(self, _: int, __: FrameType | None) -> None:
        if self._reload is None:
            self._is_pending = True
        else:
            self._reload()


hangup = Hangup()
"""Of this process, which has one such signal."""


def merged(before: ServeSettings, found: ServeSettings) -> tuple[ServeSettings, list[str]]:
    """The settings of before with what may change of those found, and the names of what differs and may not."""
    changes: dict[str, object] = {"mode": found.mode}
    kept: list[str] = []
    for name in type(before).model_fields:
        old, new = getattr(before, name), getattr(found, name)
        if old == new or name in changes:
            continue
        if name not in RELOADED or old is None or new is None:
            kept.append(name)
            continue
        changed = [field for field in type(old).model_fields if getattr(old, field) != getattr(new, field)]
        kept += [f"{name}.{field}" for field in changed if field not in RELOADED[name]]
        update = {field: getattr(new, field) for field in changed if field in RELOADED[name]}
        changes[name] = old.model_copy(update=update)
    return before.model_copy(update=changes), kept


def _handle(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    if threading.current_thread() is threading.main_thread():  # others may set none
        signal.signal(signal.SIGHUP, handler)
