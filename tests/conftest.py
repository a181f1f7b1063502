"""The network is off: a test reaches the loopback interface or nothing. What a test opens, it closes."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from .fakes.connections import all_closed

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


@pytest.fixture(scope="module", autouse=True)
def fixtures_close_their_databases() -> Iterator[None]:
    with all_closed():
        yield


@pytest.fixture(autouse=True)
def tests_close_their_databases(fixtures_close_their_databases: None) -> Iterator[None]:
    with all_closed():
        yield


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter with random weights, which changes what the miniature base says."""
    import torch
    from peft import LoraConfig, get_peft_model

    from divcon.lm.local.weights import load_model, model_directory

    directory = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(0)
    model = load_model(model_directory("miniature/base"), "float32", "cpu")
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(model, config).save_pretrained(directory)
    return directory
