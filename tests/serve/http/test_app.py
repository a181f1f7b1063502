"""Who may ask an endpoint, how much, and what its small routes say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from click.testing import CliRunner

from divcon import commands
from divcon.cli import main
from divcon.core.errors import ConfigError
from divcon.serve.http.start import serve, settings

from ...fakes.chat_upstream import ANSWER, chatting
from ...fakes.serving import Served, eventually, serving
from ...fakes.upstream import Server

PRICED = {"upstream.price": "{prompt: 1.0, completion: 10.0}", "limits.max_tokens": 1000}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Server]:
    with chatting() as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def keys(folder: Path) -> dict[str, str]:
    """Keys by their owners' names; the file is there before the endpoint is."""
    file = folder / "keys.json"
    return {
        "free": commands.add_key(file, "free"),
        "slow": commands.add_key(file, "slow", requests_per_minute=2),
        "poor": commands.add_key(file, "poor", dollars_per_day=0.0425),
        "careful": commands.add_key(file, "careful", dollars_per_day=0.05),
        "gone": commands.add_key(file, "gone"),
        "watcher": commands.add_key(file, "watcher", metrics=True),
    }


@pytest.fixture(scope="module")
def served(upstream: Server, folder: Path, keys: dict[str, str]) -> Iterator[Served]:
    words = ("--upstream", upstream.url, "--model", "m", "--keys", str(folder / "keys.json"))
    with serving(*words, sets=PRICED) as served:
        yield served


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_a_stranger_is_told_to_bring_a_key(served: Served, keys: dict[str, str]) -> None:
    for headers in ({}, bearer("dc-wrong"), bearer(""), {"authorization": keys["free"]}):
        for reply in (
            served.chat("2 + 3?", headers),
            served.get("/metrics", **headers),
            served.get("/v1/models", **headers),
        ):
            assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")


def test_whoever_has_a_key_is_answered(served: Served, keys: dict[str, str]) -> None:
    with openai.OpenAI(base_url=served.url, api_key=keys["free"], max_retries=0) as client:
        found = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "2 + 3?"}])
        assert found.choices[0].message.content == ANSWER
        assert [model.id for model in client.models.list()] == ["m"]
        assert client.models.retrieve("m").id == "m"
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("other")
    assert served.get("/metrics", **bearer(keys["free"])).status == 403
    assert served.get("/metrics", **bearer(keys["watcher"])).status == 200


def test_a_key_of_ours_does_not_reach_the_upstream(served: Served, keys: dict[str, str]) -> None:
    reply = served.chat("fault:echo-headers please?", bearer(keys["free"]))
    assert reply.status == 200
    assert keys["free"] not in reply.body.decode()


def test_health_and_description_are_for_everybody(served: Served) -> None:
    assert json.loads(served.get("/healthz").body) == {"status": "ok"}
    assert json.loads(served.get("/openapi.json").body)["openapi"].startswith("3.1")


def test_a_key_may_ask_so_often_in_a_minute(served: Served, keys: dict[str, str]) -> None:
    replies = [served.chat("2 + 3?", bearer(keys["slow"])) for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert replies[-1].error["code"] == "rate_limit_exceeded"
    assert 0 < int(replies[-1].headers["retry-after"]) <= 60
    assert served.chat("2 + 3?", bearer(keys["free"])).status == 200, "others may"


def test_a_key_may_spend_so_much_in_a_day(served: Served, keys: dict[str, str]) -> None:
    """A request may cost 1,000 x $10 a million, and its prompt; what it cost in the end is far less."""
    poor = bearer(keys["poor"])
    assert [served.chat("2 + 3?", poor).status for _ in range(3)] == [200, 200, 200]
    reply = served.chat("2 + 3?", poor, n=5)
    assert (reply.status, reply.error["code"]) == (429, "insufficient_quota")
    assert reply.headers["x-should-retry"] == "false"
    assert served.chat("fault:truncated 2 + 3?", poor).status == 502
    assert [served.chat("fault:400 2 + 3?", poor).status for _ in range(9)] == [400] * 9, "refusals do not count"
    assert served.chat("fault:500 2 + 3?", poor).status == 502
    reply = served.chat("2 + 3?", poor)
    assert (reply.status, reply.error["code"]) == (429, "insufficient_quota"), "what may be billed counts at its worst"


def test_what_a_request_may_cost_is_thought_of_before_it_is_sent(served: Served, keys: dict[str, str]) -> None:
    """Of each prompt some 8,000 tokens x $1 a million: a server that knows no n is sent one for every sample. And a
    picture's address says nothing of what it costs to look at, where nobody knows how much the model reads."""
    careful = bearer(keys["careful"])
    picture = {"type": "image_url", "image_url": {"url": "https://pictures.example/large.png"}}
    text = {"type": "text", "text": "What is this?"}
    assert served.chat("2 + 3?", careful, divcon={"k": 2}).status == 200
    assert served.chat("2 + 3?", careful, divcon={"k": 3}).status == 429
    assert served.chat("", careful, messages=[{"role": "user", "content": [text]}]).status == 200
    assert served.chat("", careful, messages=[{"role": "user", "content": [text, picture]}]).status == 400


def test_a_key_with_a_limit_in_dollars_cannot_ask_for_what_has_no_price(served: Served, keys: dict[str, str]) -> None:
    for field, value in (("service_tier", "priority"), ("web_search_options", {})):
        assert served.chat("2 + 3?", bearer(keys["poor"]), **{field: value}).error["param"] == field
        assert served.chat("2 + 3?", bearer(keys["free"]), **{field: value}).status == 200


def test_what_others_have_asked_does_not_show(upstream: Server, folder: Path, keys: dict[str, str]) -> None:
    words = ("--decomposer", "miniature/llm", "--upstream", upstream.url, "--model", "m")
    with serving(*words, "--keys", str(folder / "keys.json"), sets=PRICED) as served:
        replies = [
            json.loads(served.chat("Lena has 3 jars of maps.", bearer(keys[name])).body)
            for name in ("free", "watcher", "free")
        ]
    tokens = [reply["usage"]["divcon"]["decompose"]["prompt_tokens"] for reply in replies]
    assert tokens[0] == tokens[1] > 0 == tokens[2]


def test_a_key_that_is_taken_away_is_out(served: Served, keys: dict[str, str], folder: Path) -> None:
    assert served.chat("2 + 3?", bearer(keys["gone"])).status == 200
    commands.remove_key(folder / "keys.json", "gone")
    assert eventually(lambda: served.chat("2 + 3?", bearer(keys["gone"])).status == 401)


def test_the_log_has_a_line_a_request_and_nothing_that_was_said(served: Served, keys: dict[str, str]) -> None:
    served.chat("What is a pomegranate?", bearer(keys["free"]))
    assert eventually(lambda: any(line.get("key") == "free" for line in served.logged()))
    said = served.log.read_text()
    assert "pomegranate" not in said
    assert not any(key in said for key in keys.values())
    lines = [json.loads(line) for line in said.splitlines()]
    (line,) = [line for line in lines if line.get("key") == "free"][-1:]
    assert {"id", "key", "status", "seconds", "phases", "dollars"} <= line.keys()


def test_a_login_for_the_upstream_in_netrc_does_not_matter(
    upstream: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1\nlogin a\npassword b\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with serving("--upstream", upstream.url, "--model", "m") as served:
        assert served.chat("2 + 3?").status == 200


def test_a_path_that_is_none_says_which_there_are(served: Served) -> None:
    reply = served.get("/v1/responses")
    assert reply.status == 404
    assert "/v1/chat/completions" in reply.error["message"]


def test_metrics_count_what_happened(served: Served, keys: dict[str, str]) -> None:
    def figures() -> dict[str, float]:
        text = served.get("/metrics", **bearer(keys["watcher"])).body.decode()
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in lines}

    before = figures()
    served.chat("2 + 3?", bearer(keys["free"]))
    after = figures()
    tokens = 'divcon_tokens_total{kind="completion",phase="solve"}'
    assert after[tokens] - before[tokens] == 17
    dollars = 'divcon_dollars_total{phase="solve"}'
    assert after[dollars] - before[dollars] == pytest.approx(201e-6)
    assert after["divcon_running"] == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "nobody answers"),
        (("--local", "miniature/llm", "--model", "m", "--upstream", "http://127.0.0.1:1/v1"), "cascade"),
        (("--model", "m", "--set", "cascade.share=0.5"), "a cascade needs both"),
        (("--model", "m", "--host", "0.0.0.0"), "give --keys"),
        (("--model", "m", "--keys", "nowhere.json"), "nowhere.json"),
        (("--model", "m", "--set", "limits.concurency=3"), "did you mean 'concurrency'"),
        (("--model", "m", "--set", "limits.concurrency=0"), "greater than 0"),
        (("--model", "m", "--set", "limits"), "key.key=value"),
        (("--model", "m", "--upstream", "localhost:8000"), "upstream.url"),
        (("--model", "m", "--config", "nowhere.yaml"), "no file nowhere.yaml"),
        (("--model", "m", "--decomposer", "nowhere"), "no model in nowhere"),
        (("--model", "m", "--ranker", "nowhere"), "nowhere"),
        (("--model", "m", "--set", "vote.rule=loudest"), "no vote 'loudest'"),
        (("--model", "m", "--set", "vote.rule=asc"), "has none"),
        (("--model", "m", "--set", "upstream.prompts=nowhere"), "no family of prompts"),
        (("--local", "nowhere"), "no model in nowhere"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence_before_anything_begins(words: tuple[str, ...], sentence: str) -> None:
    ended = CliRunner().invoke(main, ["serve", *words])
    assert ended.exit_code == 2, ended.stderr
    assert ended.stderr.startswith("divcon: ") and len(ended.stderr.splitlines()) == 1
    assert sentence in ended.stderr


def test_dollars_need_a_price(tmp_path: Path) -> None:
    commands.add_key(tmp_path / "keys", "poor", dollars_per_day=1.0)
    given = {"upstream.url": "http://127.0.0.1:1/v1", "upstream.model": "m", "keys": tmp_path / "keys"}
    with pytest.raises(ConfigError, match="price of m is unknown"):
        serve(settings(None, given), print)


def test_a_file_holds_what_options_say(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("upstream: {model: m}\nlimits: {concurrency: 7}\nport: 1\n")
    found = settings(file, {"port": 2, "decomposer.path": "d"}, ("limits.max_queue=3",))
    assert (found.port, found.limits.concurrency, found.limits.max_queue) == (2, 7, 3)
    assert found.upstream is not None and found.upstream.url == "https://api.openai.com/v1"
