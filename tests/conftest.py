"""The network is off: a test reaches the loopback interface or nothing."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import hypothesis
import pytest

hypothesis.settings.register_profile("divcon", deadline=None)  # how long an example takes is the machine's business
hypothesis.settings.load_profile("divcon")
os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub's client is imported


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        local = self.family == socket.AF_UNIX or (isinstance(address, tuple) and address[0] in ("127.0.0.1", "::1"))
        if not local:
            raise AssertionError(f"a test reached for the network: {address}")
        connect(self, address)  # type: ignore[arg-type]  # an address of any family

    monkeypatch.setattr(socket.socket, "connect", guarded)
    yield
