"""What is shown for running the endpoint agrees: the configuration, the unit, the image, and the page about them.

Neither systemd nor Docker is needed; what they would run is run without them.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from divcon.cli import main
from divcon.serve.http import start as starting
from divcon.serve.settings import ServeSettings

from .paths import ROOT

UNIT = (ROOT / "deploy" / "divcon.service").read_text(encoding="utf-8")
IMAGE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
PAGES = [ROOT / "README.md", ROOT / "docs" / "how-to" / "serve.md"]
INSTALLED = "/etc/divcon/serve.yaml"
"""Where the unit and the image look for the configuration."""


def of_unit(name: str) -> str:
    (value,) = re.findall(rf"^{name}=(.*)$", UNIT, flags=re.MULTILINE)
    return str(value)


def of_image(instruction: str) -> list[str]:
    """The words of an instruction in JSON, the last of its kind."""
    found = re.findall(rf"^{instruction} .*?(\[.*\])$", IMAGE, flags=re.MULTILINE)
    words: list[str] = json.loads(found[-1])
    return words


def shown(page: Path) -> list[str]:
    """Every `divcon serve` on a page, with the lines that go on behind a backslash."""
    lines = page.read_text(encoding="utf-8").replace("\\\n", " ")
    return re.findall(r"^(?: {4})?(divcon serve -.*)$", lines, flags=re.MULTILINE) + re.findall(
        r"`(divcon serve -.*?)`", lines
    )


def settings(words: list[str], monkeypatch: pytest.MonkeyPatch) -> ServeSettings:
    """What `divcon` with these words would serve."""
    served: list[ServeSettings] = []

    def read(config: Path | None, *given: Any) -> ServeSettings:
        return from_file(ROOT / "deploy" / config.name if config else None, *given)

    from_file = starting.settings
    monkeypatch.setattr(starting, "settings", read)
    monkeypatch.setattr(starting, "serve", lambda of, say: served.append(of))
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    monkeypatch.undo()
    assert done.exit_code == 0, done.output
    return served[0]


def test_the_configuration_that_is_shown_is_one() -> None:
    found = starting.settings(ROOT / "deploy" / "serve.yaml", {})
    assert found.keys is not None and found.upstream is not None and found.decomposer is not None


def test_no_default_is_said_wrongly_in_a_comment() -> None:
    """What the configuration spells out besides names and places are the defaults."""
    values = yaml.safe_load((ROOT / "deploy" / "serve.yaml").read_text(encoding="utf-8"))
    defaults = ServeSettings.model_validate({"upstream": {"model": "m"}, "decomposer": {"path": "d"}}).model_dump()
    for group in ("limits", "upstream", "decomposer"):
        same = {key: value for key, value in values[group].items() if key not in ("path", "model")}
        assert same == {key: defaults[group][key] for key in same}


def test_the_unit_serves_what_the_configuration_says(monkeypatch: pytest.MonkeyPatch) -> None:
    program, *words = shlex.split(of_unit("ExecStart"))
    assert Path(program).name == "divcon" and INSTALLED in words
    found = settings(words, monkeypatch)
    assert found.host == "127.0.0.1"
    assert found.keys == Path("/var/lib") / of_unit("StateDirectory") / "keys.json"


def test_the_unit_waits_for_the_requests_in_work(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(shlex.split(of_unit("ExecStart"))[1:], monkeypatch)
    assert int(of_unit("TimeoutStopSec")) > found.limits.shutdown_timeout
    (patience,) = re.findall(r"--stop-timeout (\d+)", PAGES[1].read_text(encoding="utf-8"))
    assert int(patience) > found.limits.shutdown_timeout


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze to check the unit with"
)
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "divcon.service"
    unit.write_text(UNIT.replace(shlex.split(of_unit("ExecStart"))[0], sys.executable), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_image_serves_to_others_and_so_with_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    assert of_image("ENTRYPOINT") == ["divcon"]
    words = of_image("CMD")
    assert INSTALLED in words
    found = settings(words, monkeypatch)
    assert found.host == "0.0.0.0" and found.keys is not None
    (home,) = re.findall(r"--home-dir (\S+)", IMAGE)
    assert found.keys.is_relative_to(home)
    (port,) = re.findall(r"^EXPOSE (\d+)$", IMAGE, flags=re.MULTILINE)
    assert int(port) == found.port and f":{port}/healthz" in of_image("HEALTHCHECK")[-1]


@contextmanager
def healthy(status: int) -> Iterator[int]:
    """The port of something that says how it is."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize(("status", "is_well"), [(200, True), (503, False)])
def test_the_image_knows_how_it_is(status: int, is_well: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # must not matter
    _, option, code = of_image("HEALTHCHECK")
    with healthy(status) as port:
        command = [sys.executable, option, code.replace(":8000", f":{port}")]
        assert (subprocess.run(command, capture_output=True).returncode == 0) == is_well


def test_the_image_is_made_of_what_the_wheel_is_made_of() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").split() if line[0] == "!"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = {Path(folder).parts[0] for folder in project["tool"]["setuptools"]["package-dir"].values()}
    files = {project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml", "constraints.txt"}
    assert let_in == folders | files


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_endpoint_that_is_shown_could_be_served(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = shown(page)
    assert commands
    for command in commands:
        settings(shlex.split(command.split(" #")[0])[1:], monkeypatch)


def test_every_setting_that_is_shown_is_known() -> None:
    page = PAGES[1].read_text(encoding="utf-8")
    said = re.findall(r'--set (?:"([^"]+)"|([a-z_.]+=[^\s`"]+))', page)
    assert said
    whole = {"upstream.model": "m", "local.path": "l", "decomposer.path": "d"}
    for quoted, plain in said:
        starting.settings(None, whole, ("cascade.share=0.5", quoted or plain))


def test_every_setting_that_is_named_is_one() -> None:
    page = PAGES[1].read_text(encoding="utf-8")
    groups = ServeSettings.model_fields
    for group, name in re.findall(r"`(decomposer|upstream|limits|cascade|vote)\.(\w+)`", page):
        members = [groups[group].annotation, *getattr(groups[group].annotation, "__args__", ())]
        assert any(name in getattr(member, "model_fields", ()) for member in members), f"{group}.{name}"
