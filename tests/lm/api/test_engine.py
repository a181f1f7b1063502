"""The stock OpenAI client against a server on the loopback interface."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from divcon.core.errors import ConfigError, ModelError
from divcon.lm import Message, Model, Request, Sampling, Store
from divcon.lm.api import retry
from divcon.lm.api.engine import OpenAIEngine
from divcon.lm.api.limits import Limits
from divcon.lm.api.spec import ApiSpec
from divcon.lm.cost.prices import Price

from ...fakes.chat_upstream import SPELLINGS

Answer = Callable[[dict[str, Any], int], tuple[int, Any]]
"""From a request's body and its number to a status and a reply."""


def reply(text: str | None = "The answer is 18.", **usage: int) -> dict[str, Any]:
    counts = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17} | usage
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": "stop", "message": message, "logprobs": None}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": counts}


class Upstream:
    """What the server was asked, and how many requests it had at once."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.running = self.most = 0
        self.lock = threading.Lock()


@contextmanager
def serving(answer: Answer) -> Iterator[tuple[Upstream, str]]:
    upstream = Upstream(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with upstream.lock:
                upstream.bodies.append(body)
                upstream.keys.append(self.headers["authorization"])
                number = len(upstream.bodies) - 1
                upstream.running += 1
                upstream.most = max(upstream.most, upstream.running)
            status, content = upstream.answer(body, number)
            with upstream.lock:
                upstream.running -= 1
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield upstream, f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "LONGEST", 0.01)


def asked(n: int = 1, questions: int = 1) -> list[Request]:
    how = Sampling(temperature=0.7, top_p=0.9, max_tokens=64, stop=("Q:",))
    return [Request((Message("user", f"Question {i}?"),), how, n) for i in range(questions)]


def test_asks_what_it_was_told_and_reads_what_it_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    cached: dict[str, Any] = {"prompt_tokens_details": {"cached_tokens": 8}}
    with serving(lambda body, number: (200, reply(**cached))) as (upstream, url), Store() as store:
        model = Model("api", OpenAIEngine(ApiSpec("m", base_url=url, api_key_env="SOME_KEY")), store)
        ((completion,),) = model(asked())
    (body,) = upstream.bodies
    assert body["messages"] == [{"role": "user", "content": "Question 0?"}]
    assert (body["model"], body["temperature"], body["top_p"]) == ("m", 0.7, 0.9)
    assert (body["max_tokens"], body["stop"]) == (64, ["Q:"])
    assert upstream.keys == ["Bearer sk-secret"]
    assert completion.text == "The answer is 18."
    usage = completion.usage
    assert (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens) == (12, 8, 5)


def test_it_works_where_an_event_loop_is_running() -> None:
    """As in a notebook."""

    async def notebook() -> str:
        with Store() as store:
            ((completion,),) = Model("api", OpenAIEngine(ApiSpec("m", base_url=url)), store)(asked())
        return completion.text

    with serving(lambda body, number: (200, reply())) as (_, url):
        assert asyncio.run(notebook()) == "The answer is 18."


def test_samples_of_one_prompt_are_asked_for_one_by_one_with_seeds_of_their_own() -> None:
    with serving(lambda body, number: (200, reply())) as (upstream, url), Store() as store:
        Model("api", OpenAIEngine(ApiSpec("m", base_url=url, together=False)), store)(asked(n=4))
    assert len({body["seed"] for body in upstream.bodies}) == 4 and "n" not in upstream.bodies[0]


def many(body: dict[str, Any], number: int) -> tuple[int, Any]:
    """A server that knows `n`."""
    one, n = reply(completion_tokens=7, prompt_tokens=12), body.get("n", 1)
    choices = [
        {**one["choices"][0], "index": i, "message": {"role": "assistant", "content": "x" * i}} for i in range(n)
    ]
    return 200, {**one, "choices": choices}


def test_samples_of_one_prompt_are_asked_for_together_and_share_its_price() -> None:
    price = Price(prompt=1e6, completion=1e6)  # a dollar a token
    with serving(many) as (upstream, url), Store() as store:
        ((*samples,),) = Model("api", OpenAIEngine(ApiSpec("m", base_url=url, price=price)), store)(asked(n=4))
        assert store.spend() == (19.0, 0.0)
    assert [body["n"] for body in upstream.bodies] == [4]
    assert [sample.usage.prompt_tokens for sample in samples] == [12] * 4
    assert sum(sample.usage.completion_tokens for sample in samples) == 7


def test_a_server_that_does_not_know_n_is_asked_for_the_rest() -> None:
    with serving(lambda body, number: (200, reply())) as (upstream, url), Store() as store:
        ((*samples,),) = Model("api", OpenAIEngine(ApiSpec("m", base_url=url)), store)(asked(n=3))
        assert store.ledger.outcomes() == {"stored": 3, "fewer choices than asked": 2}
    assert len(samples) == 3 and [body.get("n", 1) for body in upstream.bodies] == [3, 1, 1]


def test_a_reply_without_usage_is_kept_and_its_price_is_unknown() -> None:
    with serving(lambda body, number: (200, reply() | {"usage": None})) as (_, url), Store() as store:
        ((sample,),) = Model(
            "api", OpenAIEngine(ApiSpec("m", base_url=url, price=Price(prompt=1, completion=1))), store
        )(asked())
        assert sample.usage.completion_tokens > 0 and store.spend().known == 0 < store.spend().unknown


def test_reasoning_is_counted_and_its_limit_called_as_the_server_calls_it() -> None:
    details: dict[str, Any] = {"completion_tokens_details": {"reasoning_tokens": 3}}
    with serving(lambda body, number: (200, reply(**details))) as (upstream, url), Store() as store:
        engine = OpenAIEngine(ApiSpec("m", base_url=url, tokens_key="max_completion_tokens"))
        ((sample,),) = Model("api", engine, store)(asked())
    assert sample.usage.reasoning_tokens == 3 and upstream.bodies[0]["max_completion_tokens"] == 64


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_key_that_the_server_repeats_stays_secret(spelling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-sentinel-0123456789")
    repeated = SPELLINGS[spelling]("sk-sentinel-0123456789")
    refusal = {"error": {"message": f"Incorrect API key provided: {repeated}"}}
    with serving(lambda body, number: (401, refusal)) as (_, url), Store() as store:
        with pytest.raises(ConfigError) as caught:
            Model("api", OpenAIEngine(ApiSpec("m", base_url=url, api_key_env="SOME_KEY")), store)(asked())
        told = f"{caught.value}{store.ledger.outcomes()}"
        assert repeated not in told and "sentinel" not in told and "***" in str(caught.value)


def test_no_more_requests_at_once_than_allowed() -> None:
    def slow(body: dict[str, Any], number: int) -> tuple[int, Any]:
        time.sleep(0.05)
        return 200, reply()

    with serving(slow) as (upstream, url), Store() as store:
        Model("api", OpenAIEngine(ApiSpec("m", base_url=url, limits=Limits(concurrency=3))), store)(asked(questions=12))
    assert upstream.most == 3 and len(upstream.bodies) == 12


@pytest.mark.parametrize(
    "trouble",
    [
        (429, {"error": {"message": "slow down"}}),
        (500, {}),
        (503, b"<html>"),
        (200, b'{"id": "x", "choi'),
        (200, reply() | {"choices": []}),
        (200, [1]),
    ],
)
def test_a_failed_call_is_made_again_and_every_attempt_is_kept(trouble: tuple[int, Any]) -> None:
    with serving(lambda body, number: trouble if number < 2 else (200, reply())) as (upstream, url), Store() as store:
        ((completion,),) = Model("api", OpenAIEngine(ApiSpec("m", base_url=url)), store)(asked())
        outcomes = [row[0] for row in store._db.execute("SELECT outcome FROM attempt ORDER BY id")]
    assert completion.text == "The answer is 18." and len(upstream.bodies) == 3
    assert len(outcomes) == 3 and outcomes[2] == "stored" and "stored" not in outcomes[:2]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refused_request_is_not_sent_again(status: int) -> None:
    refusal = {"error": {"message": "no such model"}}
    with serving(lambda body, number: (status, refusal)) as (upstream, url), Store() as store:
        model = Model("api", OpenAIEngine(ApiSpec("m", base_url=url)), store)
        with pytest.raises(ConfigError, match=f"status {status}"):
            model(asked())
    assert len(upstream.bodies) == 1


def test_an_empty_account_is_not_asked_again() -> None:
    empty = {"error": {"message": "you are out", "code": "insufficient_quota"}}
    with serving(lambda body, number: (429, empty)) as (upstream, url), Store() as store:
        model = Model("api", OpenAIEngine(ApiSpec("m", base_url=url)), store)
        with pytest.raises(ConfigError, match="quota"):
            model(asked())
    assert len(upstream.bodies) == 1


def test_what_was_in_flight_when_another_call_failed_is_kept() -> None:
    def answer(body: dict[str, Any], number: int) -> tuple[int, Any]:
        if body["messages"][0]["content"] == "Question 0?":
            time.sleep(0.1)
            return 403, {"error": {"message": "no"}}
        time.sleep(0.3)
        return 200, reply()

    with serving(answer) as (upstream, url), Store() as store:
        with pytest.raises(ConfigError):
            Model("api", OpenAIEngine(ApiSpec("m", base_url=url, limits=Limits(concurrency=4))), store)(
                asked(questions=50)
            )
        assert len(store) == len(upstream.bodies) - 1 == 3
        assert store.unsettled() == 0


def test_a_server_that_is_not_there_is_a_model_error() -> None:
    with Store() as store, pytest.raises(ModelError, match=r"failed 2 times.*no connection"):
        Model("api", OpenAIEngine(ApiSpec("m", base_url="http://127.0.0.1:9/v1", limits=Limits(attempts=2))), store)(
            asked()
        )


def test_credentials_in_an_address_stay_out_of_the_key() -> None:
    assert (
        OpenAIEngine(ApiSpec("m", base_url="http://user:secret@127.0.0.1:8000/v1")).identity(None).host
        == "127.0.0.1:8000"
    )


def test_an_api_takes_no_adapter() -> None:
    with pytest.raises(ConfigError, match="adapter"):
        OpenAIEngine(ApiSpec("m", base_url="http://127.0.0.1:8000/v1")).identity(Path("student"))
