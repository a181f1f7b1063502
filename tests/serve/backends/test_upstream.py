"""The connection to the API LLM, in an environment that others have a say in."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from divcon.serve.backends.upstream import Upstream
from divcon.serve.settings import UpstreamSettings

from ...fakes.chat_upstream import ANSWER, chatting
from ...fakes.upstream import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with chatting() as server:
        yield server


async def answered(url: str, text: str = "2 + 3?") -> str:
    upstream = Upstream(UpstreamSettings(url=url, model="m"))
    try:
        reply = await upstream.complete({"messages": [{"role": "user", "content": text}]})
    finally:
        await upstream.close()
    return str(reply["choices"][0]["message"]["content"])


@pytest.mark.parametrize(("key", "sent"), [("sk-a-key-of-ours", "Bearer sk-a-key-of-ours"), ("", "")])
def test_a_file_with_passwords_is_left_alone(
    server: Server, key: str, sent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords = tmp_path / "netrc"
    passwords.write_text("machine 127.0.0.1 login somebody password secret\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("NETRC", str(passwords))
    monkeypatch.setenv("OPENAI_API_KEY", key)
    headers = json.loads(asyncio.run(answered(server.url, "fault:echo-headers")))
    assert headers["authorization"] == hashlib.sha256(sent.encode()).hexdigest()


def test_a_proxy_is_asked_where_the_environment_names_one(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert asyncio.run(answered("http://nowhere.invalid/v1")) == ANSWER
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert asyncio.run(answered(server.url)) == ANSWER, "not for an address that it is not for"


def test_an_answer_waits_for_no_thread(server: Server) -> None:
    """Threads are for votes and tokenizers; when all of them are busy, the API is asked all the same."""

    async def scene() -> str:
        busy = threading.Event()
        loop = asyncio.get_running_loop()
        threads: list[Any] = [loop.run_in_executor(None, busy.wait, 30) for _ in range(64)]
        try:
            return await asyncio.wait_for(answered(server.url), 10)
        finally:
            busy.set()
            await asyncio.gather(*threads)

    assert asyncio.run(scene()) == ANSWER
