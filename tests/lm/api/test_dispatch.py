"""What buying rests on: when to try again, how fast to ask, what it costs, who pays twice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import sqlite3
import subprocess
import sys
import threading
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from divcon.core.errors import ConfigError
from divcon.lm import Message, Model, Request, Sampling, Scripted, Store, Usage
from divcon.lm.api import retry
from divcon.lm.api.engine import OpenAIEngine
from divcon.lm.api.rate_limit import AdaptiveConcurrency, RateLimiter
from divcon.lm.api.response import read, stated, usage
from divcon.lm.api.retry import CallError, asked_to_wait, pause, refusal
from divcon.lm.api.spec import ApiSpec
from divcon.lm.api.token_estimate import at_most
from divcon.lm.cost.prices import Price, Quote, listed
from divcon.lm.recorder import Charge, Lease, Purchase, Spend
from divcon.lm.settings import ModelSettings, OpenAISettings
from divcon.lm.store.ledger import BudgetError
from divcon.lm.store.store import FORMAT
from divcon.lm.types import Completion

from ...fakes.upstream import misbehaving

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
ASKED = Request((Message("user", "How many?"),), Sampling(temperature=0.7, max_tokens=10), n=3)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "600"}, retry.LONGEST),
        ({"retry-after": "Fri, 20 Nov 2026 12:00:09 GMT"}, 9.0),
        ({"retry-after": "Fri, 20 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_a_server_may_ask_to_wait_in_many_ways(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_to_wait(headers, NOW) == seconds


@given(st.integers(1, 500), st.none() | st.floats(0, retry.LONGEST))
def test_a_pause_is_never_longer_than_the_longest(failures: int, asked: float | None) -> None:
    assert 0 <= pause(failures, asked) <= retry.LONGEST


@pytest.mark.parametrize(
    ("status", "code", "again", "crowded", "billed"),
    [
        (429, None, True, True, "no"),
        (429, "insufficient_quota", False, False, "no"),
        (503, None, True, True, "perhaps"),
        (500, None, True, False, "perhaps"),
        (502, None, True, False, "perhaps"),
        (504, None, True, False, "perhaps"),
        (520, None, True, False, "perhaps"),
        (524, None, True, False, "perhaps"),
        (529, None, True, True, "perhaps"),
        (408, None, True, False, "perhaps"),
        (499, None, False, False, "perhaps"),
        (400, None, False, False, "no"),
        (400, "content_filter", False, False, "perhaps"),
        (401, "invalid_api_key", False, False, "no"),
        (404, "model_not_found", False, False, "no"),
    ],
)
def test_what_is_tried_again_and_what_may_have_been_billed(
    status: int, code: str | None, again: bool, crowded: bool, billed: str
) -> None:
    error = refusal(status, code, "no", {})
    assert (error.again, error.crowded, error.billed) == (again, crowded, billed)


def test_a_crowd_is_halved_once_a_complaint_and_grows_back_one_by_one() -> None:
    crowd = AdaptiveConcurrency(16)
    crowd.crowded(now=10.0)
    crowd.crowded(now=10.5)
    assert crowd.allowed == 8
    for _ in range(9):
        crowd.served()
    assert crowd.allowed == 9
    for second in range(20, 30):
        crowd.crowded(now=float(second))
    assert crowd.allowed == 1
    for _ in range(1000):
        crowd.served()
    assert crowd.allowed == 16


def test_no_more_than_allowed_have_a_place() -> None:
    async def run() -> int:
        crowd, most = AdaptiveConcurrency(3), 0

        async def call() -> None:
            nonlocal most
            async with crowd.place():
                most = max(most, crowd.running)
                await asyncio.sleep(0.001)

        await asyncio.gather(*(call() for _ in range(20)))
        return most

    assert asyncio.run(run()) == 3


def test_a_rate_spreads_what_it_allows() -> None:
    now = 100.0
    rate = RateLimiter(60, clock=lambda: now)
    waits = [rate.wait() for _ in range(5)]
    assert waits == [0.0, 0.0, 0.0, 1.0, 2.0]  # what two seconds allow at once, then one a second
    now = 200.0
    assert rate.wait() == 0.0
    assert RateLimiter(None).wait(10**9) == 0.0


def test_prices_come_with_their_source_or_not_at_all() -> None:
    price = listed("gpt-4o-mini", "https://api.openai.com/v1")
    assert price and price.prompt == pytest.approx(0.15) and price.completion == pytest.approx(0.6)
    assert price.cached == pytest.approx(0.075) and price.source.startswith("genai-prices 0.")
    assert listed("nobody-knows", "https://api.openai.com/v1") is None
    assert listed("gpt-4o-mini", "http://127.0.0.1:8000/v1") is None


def test_a_student_may_be_priced_by_its_share_of_the_parameters() -> None:
    """Divide-or-Conquer: $0.001 and $0.002 a thousand tokens, times 13 / 175."""
    settings = OpenAISettings.model_validate(
        {"engine": "openai", "model": "m", "price": {"prompt": 1.0, "completion": 2.0, "scale": 13 / 175}}
    )
    price = settings.rates()
    assert price and price.dollars(Usage(10**6, 0)) == pytest.approx(13 / 175)
    assert price.dollars(Usage(0, 10**6)) == pytest.approx(26 / 175)
    assert price.rates()["prompt"] == pytest.approx(13 / 175)


@pytest.mark.parametrize(
    "settings",
    [
        {"base_url": "https://user:sk-sentinel@host/v1"},
        {"base_url": "https://host/v1?key=sk-sentinel"},
        {"api_key_env": "sk-sentinel-0123"},
        {"api_key": "sk-sentinel"},
    ],
)
def test_a_key_in_a_config_is_refused_without_repeating_it(settings: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(ModelSettings).validate_python({"engine": "openai", "model": "m", **settings})
    assert "sentinel" not in caught.value.errors(include_input=False)[0]["msg"]


def test_a_budget_needs_a_price() -> None:
    settings = OpenAISettings(engine="openai", model="m", base_url="http://127.0.0.1:8000/v1")
    with pytest.raises(ConfigError, match="max_usd cannot be kept: the price of m is unknown"):
        settings.open(budget=1.0)


def test_what_is_reserved_counts_until_it_is_settled() -> None:
    with Store() as store:
        draws = Model("m", Scripted("x"), store).draws([ASKED])[0]
        lease, quote = Lease("me", 60), Quote(0.4, "{}")
        first, second = store.reserve(draws[:2], Purchase("m", lease, quote, budget=1.0)).attempts
        assert store.spend() == Spend(0.0, 0.8)
        with pytest.raises(BudgetError, match=r"between \$0.0000 and \$0.8000"):
            store.reserve(draws[2:], Purchase("m", lease, quote, budget=1.0))
        store.settle([(first, Completion("x", "stop", Usage(1, 1)))], [Charge(0.1)])
        store.fail([second], "timed out")
        assert store.spend() == Spend(0.1, 0.4)
        (account,) = store.ledger.accounts()
        assert (account.attempts, account.stored, account.failed, account.unknown) == (2, 1, 1, 1)


def test_a_sample_is_bought_by_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    with Store(path) as mine, Store(path) as theirs:
        draws = Model("m", Scripted("x"), mine).draws([ASKED])[0]
        first, second = mine.reserve(draws[:2], Purchase("m", Lease("me", 60))).attempts
        wanted = theirs.reserve(draws, Purchase("m", Lease("them", 60)))
        assert [attempt.draw for attempt in wanted.attempts] == draws[2:] and wanted.busy == draws[:2]
        made = Completion("x", "stop", Usage(1, 1))
        mine.settle([(first, made)])
        mine.fail([second], "status 500")
        again = theirs.reserve(draws[:2], Purchase("m", Lease("them", 60)))
        assert again.stored == [(draws[0], made)] and [attempt.draw for attempt in again.attempts] == [draws[1]]


def test_the_leases_of_a_process_that_died_are_free_at_once() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with Store() as store:
        draws = Model("m", Scripted("x"), store).draws([ASKED])[0]
        store.reserve(draws[:1], Purchase("m", Lease(f"{platform.node()}/{gone.pid}/x", 600)))
        store.reserve(draws[1:2], Purchase("m", Lease(f"another machine/{gone.pid}/x", 600)))
        store.reserve(draws[2:], Purchase("m", Lease(f"{platform.node()}/{os.getpid()}/x", 600)))
        assert store.reserve(draws, Purchase("m", Lease("me", 60))).busy == draws[1:]


def test_a_failure_elsewhere_ends_the_wait_for_what_another_process_buys(tmp_path: Path) -> None:
    with Store(tmp_path / "s.sqlite") as store, misbehaving() as server:
        model = Model(
            "m",
            OpenAIEngine(ApiSpec("m", base_url=server.url, price=Price(prompt=2.0, completion=8.0), budget=0.0001)),
            store,
        )
        (busy,) = model.draws([replace(ASKED, n=1)])[0]
        store.reserve([busy], Purchase("m", Lease("another machine/1/x", 600)))
        with pytest.raises(BudgetError):
            model([busy.request, *(replace(ASKED, n=1, template=str(i)) for i in range(20))])


def test_a_lease_ends_with_its_time() -> None:
    with Store() as store:
        draws = Model("m", Scripted("x"), store).draws([ASKED])[0]
        store.reserve(draws, Purchase("m", Lease("dead", -1)))
        assert len(store.reserve(draws, Purchase("m", Lease("me", 60))).attempts) == 3


def test_several_processes_may_create_a_store_at_once(tmp_path: Path) -> None:
    failed: list[Exception] = []

    def create(path: Path) -> None:
        try:
            with Store(path) as store:
                len(store)
        except ConfigError as error:
            failed.append(error)

    for number in range(30):  # one store in ten used to refuse
        path = tmp_path / f"{number}.sqlite"
        threads = [threading.Thread(target=create, args=[path]) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []


@pytest.mark.parametrize("version", [1, FORMAT - 2, FORMAT + 1])
def test_a_store_of_another_format_is_refused_and_left_alone(tmp_path: Path, version: int) -> None:
    path = tmp_path / "store.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.executescript(f"CREATE TABLE sample (key TEXT PRIMARY KEY); PRAGMA user_version={version};")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=f"it has format {version}, this divcon writes format {FORMAT}"):
        Store(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b'{"choices": 5}', b'{"choices": [5]}', b'{"choices": [{"message": []}]}', b"[" * 10**5],
)
def test_a_reply_without_a_sample_is_a_failed_call(body: bytes) -> None:
    with pytest.raises(CallError):
        read(body, 1, 10, 10, 0.1)


@given(st.integers(3, 10**4), st.integers(1, 9))
def test_what_samples_are_billed_is_together_what_the_call_was(tokens: int, n: int) -> None:
    choices = ",".join(f'{{"message": {{"content": "{"x" * i}"}}}}' for i in range(n))
    usage = f'{{"prompt_tokens": 100, "completion_tokens": {tokens}}}'
    reply = read(f'{{"choices": [{choices}], "usage": {usage}}}'.encode(), n, 5, 10**4, 0.1)
    assert sum(usage.prompt_tokens for usage in reply.billed) == 100
    assert sum(usage.completion_tokens for usage in reply.billed) == tokens
    assert all(completion.usage.prompt_tokens == 100 for completion in reply.completions)


BODY = {"prompt_tokens": 100, "completion_tokens": 20}


@pytest.mark.parametrize(
    ("changes", "believed"),
    [
        ({}, Usage(100, 20)),
        ({"total_tokens": 120}, Usage(100, 20)),
        ({"total_tokens": 17}, Usage(100, 20)),  # a sum that is wrong, of counts that are not
        ({"prompt_tokens_details": {"cached_tokens": 64}}, Usage(100, 20, 64)),
        ({"prompt_tokens_details": None, "completion_tokens_details": []}, Usage(100, 20)),
        ({"completion_tokens": 150}, Usage(100, 150)),
        (
            {"completion_tokens": 9_000, "completion_tokens_details": {"reasoning_tokens": 8_950}},
            Usage(100, 9_000, reasoning_tokens=8_950),
        ),
        (
            {"completion_tokens_details": {"reasoning_tokens": 900}, "total_tokens": 1_020},
            Usage(100, 920, reasoning_tokens=900),
        ),
        ({"completion_tokens_details": {"reasoning_tokens": 900}}, None),
        ({"total_tokens": 1_020}, Usage(100, 920, reasoning_tokens=900)),  # reasoning that only the total counts
        ({"total_tokens": 10**7}, None),
        ({"total_tokens": -1}, None),
        ({"completion_tokens": 9_000}, None),
        ({"prompt_tokens": 0}, None),
        ({"prompt_tokens": 3}, None),
        ({"prompt_tokens": 10**6}, None),
        ({"prompt_tokens": -100}, None),
        ({"prompt_tokens": True}, None),
        ({"prompt_tokens": 100.0}, None),
        ({"completion_tokens": float("nan")}, None),
        ({"completion_tokens": "20"}, None),
        ({"completion_tokens": 10**400}, None),
        ({"prompt_tokens_details": {"cached_tokens": 101}}, None),
        ({"prompt_tokens_details": {"cached_tokens": -1}}, None),
        ({"completion_tokens_details": {"reasoning_tokens": 1e9}}, None),
    ],
)
def test_a_usage_is_believed_where_it_can_be_true(changes: dict[str, Any], believed: Usage | None) -> None:
    assert usage({**BODY, **changes}, most=64, prompt=110) == believed


@pytest.mark.parametrize(
    ("body", "most"),
    [
        (b'{"usage": {"prompt_tokens": 5, "completion_tokens": 1000000000000}}', Usage(5, 10**12)),
        (b'{"choices": [{"usage": {"prompt_tokens": 5, "completion_tokens": 9000}}]}', Usage(5, 9000)),
        (b'data: {"usage": null}\n\ndata: {"usage": {"prompt_tokens": 5, "completion_tokens": 70}}', Usage(5, 70)),
        (b'{"usage": {"prompt_tokens": 5, "completion_tokens": 9000}, "choi', Usage(5, 9000)),
        (b'{"usage": {"input_tokens": 5, "output_tokens": "70"}}', Usage(5, 70)),
        (b'{"usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 99}}', Usage(5, 94)),
        (b'{"usage": {"prompt_tokens": 5, "completion_tokens": 2.5}}', Usage(5, 3)),
        (b'{"usage": {"prompt_tokens": -5, "completion_tokens": 1e999}}', None),
        (b'{"choices": [{"message": {"content": "{\\"completion_tokens\\": 900000}"}}]}', None),
        (b"<html>\xff", None),
    ],
)
def test_the_most_tokens_that_a_body_speaks_of_are_found_wherever_they_stand(body: bytes, most: Usage | None) -> None:
    """But for what a model wrote, which could say anything."""
    assert stated(body) == most


@given(st.text() | st.text("\ufdfa\ufb1d\U0001d160\uac00\ud800"))
def test_a_prompt_is_reserved_for_at_a_token_a_byte_of_whatever_form_a_tokenizer_reads(text: str) -> None:
    reserved = at_most([Message("user", text)])
    for form in (text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFKC", text)):
        assert len(form.encode(errors="surrogatepass")) + 1_000 < reserved  # and a template's own words


def test_what_is_sent_with_every_request_is_reserved_for() -> None:
    price = Price(prompt=1e6, completion=1e6)  # a dollar a token
    with Store() as store:
        draws = Model("m", Scripted("x"), store).draws([ASKED])[0]
    tools = [{"type": "function", "function": {"name": "f", "description": "x" * 5_000}}]
    plain, larger = (
        ApiSpec("m", base_url="http://127.0.0.1:9/v1", price=price, extra=extra).quote(draws)
        for extra in ({}, {"tools": tools})
    )
    assert plain and larger and larger.dollars > plain.dollars + 5_000


@pytest.mark.parametrize("name", ["n", "max_tokens", "max_completion_tokens", "best_of", "model"])
def test_what_a_call_costs_is_not_changed_behind_the_ledger(name: str) -> None:
    with pytest.raises(ConfigError, match=f"extra holds {name}"):
        ApiSpec("m", base_url="http://127.0.0.1:9/v1", extra={name: 8})
