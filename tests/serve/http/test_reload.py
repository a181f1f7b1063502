"""SIGHUP: a running endpoint reads its keys and settings again, and is never ended by it. Real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from divcon import commands
from divcon.serve.http.reload import RELOADED, merged
from divcon.serve.settings import ServeSettings

from ...fakes.chat_upstream import chatting
from ...fakes.serving import SECRET, Served, chat, eventually, read, serving
from ...fakes.upstream import Server


@pytest.fixture(scope="module")
def upstream() -> Iterator[Server]:
    with chatting(pause=0.01) as running:
        yield running


class File:
    """A file of settings that changes."""

    def __init__(self, path: Path, url: str) -> None:
        self.path, self.url = path, url
        self.restore()

    def restore(self) -> None:
        self.values: dict[str, Any] = {"upstream": {"url": self.url, "model": "m"}, "limits": {"max_tokens": 100}}
        self.write()

    def write(self, text: str | None = None) -> None:
        self.path.write_text(yaml.safe_dump(self.values) if text is None else text, encoding="utf-8")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, upstream: Server) -> File:
    return File(tmp_path_factory.mktemp("reload") / "serve.yaml", upstream.url)


@pytest.fixture(scope="module")
def running(file: File) -> Iterator[Served]:
    with serving("--config", str(file.path)) as running:
        yield running


@pytest.fixture
def served(running: Served, file: File) -> Served:
    """With the file, and its settings, as they were at first."""
    file.restore()
    assert reloaded(running) == ["keys and settings were read again"]
    return running


def sent(served: Served) -> dict[str, Any]:
    """The body that the upstream gets for a request."""
    reply = served.chat("fault:echo")
    assert reply.status == 200
    found: dict[str, Any] = json.loads(json.loads(reply.body)["choices"][0]["message"]["content"])
    return found


def events(served: Served) -> list[str]:
    """What its log says besides requests."""
    return [line["event"] for line in served.logged() if "event" in line]


def reloaded(served: Served) -> list[str]:
    """What it says when it is told to read again."""
    before = len(events(served))
    served.tell(signal.SIGHUP)
    assert eventually(lambda: len(events(served)) > before or served.process.poll() is not None)
    assert served.process.poll() is None, "it has ended"
    return events(served)[before:]


def test_other_limits_hold_without_a_new_start(served: Served, file: File) -> None:
    assert sent(served)["max_tokens"] == 100
    file.values["limits"] = {"max_tokens": 200, "n": 2}
    file.write()
    assert reloaded(served) == ["keys and settings were read again"]
    assert sent(served)["max_tokens"] == 200
    assert served.chat("2 + 3?", n=3).status == 400


BAD = [
    "limits: {max_tokens: -1}",
    "upstream: {model: m}\nlimits: {max_tokn: 5}",
    "upstream: {model: m",
    "- a list",
    "",
    "host: 0.0.0.0",
    "a: " + "[" * 500,
    "upstream: {model: m}\nlimits: {concurrency: 0}",
]


def test_a_file_that_is_bad_changes_nothing_and_is_complained_of_in_a_sentence(served: Served, file: File) -> None:
    for text in BAD:
        file.write(text)
        (said,) = reloaded(served)
        assert said.startswith("the settings of before stay in force: ") and len(said.splitlines()) == 1
        assert sent(served)["max_tokens"] == 100
    file.path.unlink()
    (said,) = reloaded(served)
    assert "no file" in said and sent(served)["max_tokens"] == 100
    file.values["limits"]["max_tokens"] = 300
    file.write()
    assert reloaded(served) == ["keys and settings were read again"]
    assert sent(served)["max_tokens"] == 300


def test_what_cannot_change_stays_and_is_named(served: Served, file: File) -> None:
    file.values["upstream"] |= {"model": "other", "timeout": 7.0}
    file.values |= {"host": "::1", "limits": {"max_tokens": 100, "shutdown_timeout": 3}}
    file.write()
    before = len(events(served))
    served.tell(signal.SIGHUP)
    assert eventually(lambda: len(events(served)) == before + 2)
    names = "upstream.model, limits.shutdown_timeout, host"
    assert events(served)[-1] == f"{names} cannot change while the server runs; start it again"
    assert sent(served)["model"] == "m"


def test_a_key_is_out_at_once(tmp_path: Path, upstream: Server) -> None:
    keys = tmp_path / "keys.json"
    key = commands.add_key(keys, "ann")
    commands.add_key(keys, "ben")
    headers = {"authorization": f"Bearer {key}"}
    words = ("--upstream", upstream.url, "--model", "m", "--keys", str(keys))
    with serving(*words) as served:
        assert served.chat("2 + 3?", headers).status == 200
        commands.remove_key(keys, "ann")
        reloaded(served)
        assert served.chat("2 + 3?", headers).status == 401
        keys.write_text("{}")
        (first, *_), (again, *_) = reloaded(served), reloaded(served)
        assert first == again and first.startswith("the keys of before stay in force: ")


def test_what_is_in_work_is_finished_and_the_end_is_no_failure(upstream: Server) -> None:
    """Also while it is ending, and however often it is told."""
    with serving("--upstream", upstream.url, "--model", "m") as served, served.connect(20.0) as waiting:
        waiting.sendall(chat("fault:drip"))
        assert eventually(lambda: upstream.bill()["running"] == 1)
        for _ in range(20):
            served.tell(signal.SIGHUP)
        assert eventually(lambda: events(served))
        served.tell(signal.SIGTERM)
        for _ in range(20):
            served.tell(signal.SIGHUP)
        assert read(waiting).status == 200
        end = time.monotonic() + 60
        while served.process.poll() is None and time.monotonic() < end:  # to its last moment, as fast as can be
            served.tell(signal.SIGHUP)
        assert served.outcome() == (0, "")


def test_a_flood_of_signals_keeps_no_request_waiting(file: File) -> None:
    over = threading.Event()

    def flood(served: Served) -> None:
        while not over.is_set():
            served.tell(signal.SIGHUP)

    file.restore()
    with serving("--config", str(file.path)) as served:
        thread = threading.Thread(target=flood, args=(served,))
        thread.start()
        try:
            for _ in range(5):
                assert served.chat("2 + 3?").status == 200
        finally:
            over.set()
            thread.join()


def test_a_signal_that_comes_while_it_starts_is_kept_until_it_can_be_followed(file: File) -> None:
    file.restore()
    command = [sys.executable, "-m", "divcon", "serve", "--port", "0", "--config", str(file.path)]
    environment = {**os.environ, "OPENAI_API_KEY": SECRET, "PYTHONUNBUFFERED": "1"}
    log = file.path.with_name("log")
    with log.open("w") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment)
    try:
        assert eventually(lambda: _catches_hangups(process.pid), 30.0), "it is caught before all is loaded"
        process.send_signal(signal.SIGHUP)
        assert process.stdout
        ready = process.stdout.readline()
        assert ready.startswith("divcon: serving "), (process.wait(10), log.read_text())
        assert eventually(lambda: "read again" in log.read_text())
    finally:
        process.kill()
        process.communicate()


def _catches_hangups(pid: int) -> bool:
    """By what the system says of the process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (caught,) = [int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:")]
    return bool(caught >> (signal.SIGHUP - 1) & 1)


def test_what_may_change_is_what_there_is() -> None:
    for group, names in RELOADED.items():
        annotation = ServeSettings.model_fields[group].annotation
        members = [annotation, *getattr(annotation, "__args__", ())]
        fields = next(member.model_fields for member in members if hasattr(member, "model_fields"))
        assert set(names) <= set(fields)


def test_settings_that_are_the_same_change_nothing() -> None:
    of = ServeSettings.model_validate({"upstream": {"model": "m"}, "decomposer": {"path": "d"}})
    assert merged(of, of.model_copy(deep=True)) == (of, [])
    without = of.model_copy(update={"decomposer": None, "mode": "off"})
    found, kept = merged(of, without)
    assert (found, kept) == (of.model_copy(update={"mode": "off"}), ["decomposer"])
