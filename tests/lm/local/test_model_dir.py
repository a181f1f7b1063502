"""What the engines with weights on this machine refuse before they load anything."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from divcon.core.errors import ConfigError, ModelError
from divcon.eval import config
from divcon.lm import Message, Model, Request, Store
from divcon.lm.engines.vllm import VLLM, servable
from divcon.lm.engines.vllm_server import VLLMServer
from divcon.lm.settings import VLLMSettings
from divcon.studies.opening import open_study

STUDENT = "student={engine: vllm, path: miniature/base, rank: 64}"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if vLLM were here; nothing below goes as far as to load it."""
    monkeypatch.setattr("divcon.lm.engines.vllm.find_spec", lambda name: name)


def served() -> VLLMSettings:
    return VLLMSettings(engine="vllm", path="miniature/base", served="http://127.0.0.1:8000/v1")


@pytest.mark.usefixtures("installed")
def test_a_nat_student_is_refused_and_the_nce_student_named(tmp_path: Path) -> None:
    (tmp_path / "nat_config.json").write_text("{}", encoding="utf-8")
    for engine in (VLLMSettings(engine="vllm", path="miniature/base").open(), served().open()):
        with pytest.raises(ConfigError, match=r"is a NAT student, and vLLM cannot serve one: .* NCE student"):
            engine.identity(tmp_path)


def test_an_adapter_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no adapter weights"):
        servable(tmp_path)


def test_vllm_that_is_not_installed_is_found_before_anything_is_trained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("divcon.lm.engines.vllm.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"vLLM is not installed: pip install 'divcon\[vllm\]'"):
        VLLM("miniature/base")
    with (
        pytest.raises(ConfigError, match="vLLM is not installed"),
        open_study(config.load("miniature", [STUDENT]), tmp_path),
    ):
        pass


@pytest.mark.usefixtures("installed")
def test_settings_open_the_engine_that_they_name() -> None:
    assert isinstance(VLLMSettings(engine="vllm", path="miniature/base").open(), VLLM)
    assert isinstance(served().open(), VLLMServer)
    assert served().open().identity(None).host == "127.0.0.1:8000"


class Answering(BaseHTTPRequestHandler):
    """Says the same to everybody."""

    status, content = 200, b""

    def do_GET(self) -> None:  # the library's name
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "content", "error", "message"),
    [
        (200, "<html>", ConfigError, "does not list models as vLLM does"),
        (200, "{}", ConfigError, "does not list models as vLLM does"),
        (200, '{"data": null}', ConfigError, "does not list models as vLLM does"),
        (200, '{"data": ["a"]}', ConfigError, "does not list models as vLLM does"),
        (200, '{"data": [{"id": "x"', ConfigError, "does not list models as vLLM does"),
        (200, '{"data": []}', ConfigError, "does not serve .*; start it with VLLM_NO_USAGE_STATS=1 vllm serve"),
        (200, '{"data": [{"id": "x", "root": "/tmp"}]}', ConfigError, "serves /tmp under the name x, and not .*base"),
        (401, "", ConfigError, r"status 401\): look at `served`.* and at the key in VLLM_API_KEY"),
        (404, "", ConfigError, r"status 404\): look at `served`"),
        (503, "", ModelError, "status 503"),
    ],
)
def test_a_server_that_serves_something_else_is_one_sentence(
    status: int, content: str, error: type[Exception], message: str
) -> None:
    handler = type("Handler", (Answering,), {"status": status, "content": content.encode()})
    with HTTPServer(("127.0.0.1", 0), handler) as server, Store() as store:
        threading.Thread(target=server.handle_request, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        engine = VLLMSettings(engine="vllm", path="miniature/base", served=url).open()
        with pytest.raises(error, match=message):
            Model("m", engine, store)([Request((Message("user", "How many?"),))])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["student.rank=32"], r"student.rank is 32, and the decomposer's adapter has 64"),
        (
            ["student.served=http://127.0.0.1:8000/v1", "distill.solver.tuning={kind: full}"],
            r"the solver is to be a whole",
        ),
        (["distill.solver.method=nat"], r"vLLM cannot serve a NAT student, which the solver is to be; distil by nce"),
        (["student.batch=3"], r"unknown key 'batch' under student; did you mean"),
        (["student.served=nowhere"], r"student.served"),
    ],
)
def test_a_student_that_vllm_could_not_load_is_refused_before_it_is_trained(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.load("miniature", [STUDENT, *overrides])


def test_a_student_on_vllm_is_a_study() -> None:
    loaded = config.load("miniature", [STUDENT])
    assert isinstance(loaded.student, VLLMSettings)
    assert config.parse(loaded.model_dump(mode="json"), "again") == loaded
