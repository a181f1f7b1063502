"""From settings to a server that answers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ...core import config as strict
from ...core.errors import ConfigError, DivconError
from ..backends.upstream import redaction
from ..settings import ServeSettings
from .app import App
from .keys import Keys
from .quotas import Quotas
from .reload import Read, hangup, merged
from .server import bind, is_loopback, log_to_stderr, run, spending_file
from .service import Service

_LOG = logging.getLogger(__name__)


def settings(config: Path | None, given: dict[str, Any], overrides: tuple[str, ...] = ()) -> ServeSettings:
    """The settings in a file, with what is given by itself and dotted overrides over them. Raises ConfigError."""
    if config is not None and not config.is_file():
        raise ConfigError(f"no file {config}")
    values = strict.read(config) if config else {}
    if not isinstance(values, dict):
        raise ConfigError(f"{config} holds no settings")
    for key, value in given.items():
        strict.put(values, key, value)
    for each in overrides:
        strict.override(values, each)
    return strict.check(ServeSettings, values, str(config or "divcon serve"))


def serve(of: ServeSettings, say: Callable[[str], None]) -> None:
    """Serve until the process is told to stop. Raises ConfigError for all that is wrong before the first request."""
    if of.keys is None and not is_loopback(of.host):
        raise ConfigError(
            f"{of.host} can be reached from elsewhere: give --keys FILE (divcon keys add FILE NAME makes one)"
        )
    hangup.catch()
    keys = Keys.read(of.keys) if of.keys else None
    _check_price(of, keys)
    endpoint = Service(of)
    with (
        bind(of.host, of.port) as listening,
        Quotas(of.spent or (spending_file(of.keys) if of.keys else None)) as allowance,
    ):
        host, port = listening.getsockname()[:2]
        where = f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"
        app = App(endpoint, keys, allowance)
        log_to_stderr(redaction(of.upstream) if of.upstream else str)

        def ready() -> None:
            hangup.ready(partial(_reload, app, endpoint, keys, hangup.read))
            say(f"divcon: serving {endpoint.name} at {where}")

        try:
            run(app.asgi(), of, listening, ready)
        finally:
            hangup.ignore()


def _reload(app: App, endpoint: Service, keys: Keys | None, read: Read | None) -> None:
    """Keys and settings as their files have them now; where one is bad, what was before stays, and the log says why."""
    if keys is not None:
        keys.reload()
    if read is None:
        return
    try:
        found, kept = merged(endpoint.settings, read())
        _check_price(found, keys)
    except (DivconError, OSError, RecursionError) as error:
        _LOG.warning("the settings of before stay in force: %s", error)
        return
    app.reload(found)
    _LOG.info("keys and settings were read again")
    if kept:
        _LOG.warning("%s cannot change while the server runs; start it again", ", ".join(kept))


def _check_price(of: ServeSettings, keys: Keys | None) -> None:
    """Raises ConfigError where a key has a limit in dollars, and nobody knows what a dollar buys."""
    limited = [caller.name for caller in (keys.callers if keys else ()) if caller.dollars_per_day is not None]
    if limited and of.upstream and of.upstream.rates() is None:
        raise ConfigError(
            f"the key {limited[0]} has a limit in dollars, and the price of {of.upstream.model} is unknown; give "
            "upstream.price"
        )
