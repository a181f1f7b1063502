"""The endpoint before clients and an upstream that misbehave: an answer or a well-formed error, and no traces."""

from __future__ import annotations

import base64
import hashlib
import json
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import product
from typing import Any
from urllib.parse import quote, quote_plus

import openai
import pytest

from ...fakes.chat_upstream import ANSWER, FAULTS, RETRY_AFTER, SPELLINGS, chatting
from ...fakes.serving import SECRET, Reply, Served, chat, eventually, read, request, serving
from ...fakes.upstream import Server

BOTH = {  # what comes of a fault: without a stream, and with one
    "hang": ("504", "504"),
    "hang-mid": ("504", "breaks"),
    "drip": ("504", "answers"),
    "endless": ("502", "breaks"),
    "close": ("502", "502"),
    "reset": ("502", "502"),
    "close-mid": ("502", "breaks"),
    "reset-mid": ("502", "breaks"),
    "truncated": ("502", "502"),
    "no-finish": ("answers", "breaks"),
    "429": ("429", "429"),
    "quota": ("429", "429"),
    "500": ("502", "502"),
    "503": ("502", "502"),
    "400": ("400", "400"),
    "404": ("404", "404"),
    "401": ("502", "502"),
    "401-slashes": ("400", "400"),
    "401-escapes": ("400", "400"),
    "400-key": ("400", "400"),
    "key-in-pieces": ("answers", "answers"),
    "500-endless": ("502", "502"),
    "redirect": ("502", "502"),
    "error": ("answers", "breaks"),
    "html": ("502", "502"),
    "list": ("502", "502"),
    "deep": ("502", "502"),
    "long-number": ("502", "502 breaks"),
    "not-a-number": ("502 answers", "502 breaks answers"),
    "not-utf8": ("502", "breaks"),
    "surrogate": ("502 answers", "breaks answers"),
    "not-http": ("502", "502"),
    "huge-head": ("502", "502"),
    "garbage": ("answers", "breaks"),
    "long-line": ("502", "502 breaks"),
    "large": ("502", "breaks"),
    "bomb": ("502", "502"),
    "no-choices": ("502", "answers"),
    "null-choices": ("502", "answers breaks"),
    "null-content": ("answers", "answers"),
    "null-usage": ("answers", "answers"),
    "odd-usage": ("answers", "answers"),
    "type": ("answers", "502"),
    "gzip": ("502 answers", "502"),
    "no-length": ("answers", "answers"),
    "no-done": ("answers", "answers"),
    "comments": ("answers", "answers"),
    "line-ends": ("answers", "answers"),
    "split": ("answers", "answers"),
    "tool-call": ("answers", "answers"),
    "echo": ("answers", "answers"),
    "echo-headers": ("answers", "answers"),
}
HARMLESS = ("null-usage", "odd-usage", "no-length", "no-done", "comments", "line-ends", "split")
"""Strange, and still the whole answer."""
CASES = list(product(BOTH, (False, True)))
SLOW = list(product(("hang", "hang-mid", "drip"), (False, True)))
QUICK = {
    "upstream.timeout": 1.5,
    "upstream.idle": 1.0,
    "limits.head_timeout": 1.5,
    "limits.body_timeout": 1.0,
    "limits.write_timeout": 1.0,
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Server]:
    with chatting(pause=0.01) as running:
        yield running


@pytest.fixture(scope="module")
def served(upstream: Server) -> Iterator[Served]:
    """An endpoint that loses patience quickly."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096 if hard < 0 else min(4096, hard), hard))
    with serving("--upstream", upstream.url, "--model", "m", sets=QUICK) as running:
        yield running


@pytest.fixture(scope="module")
def patient(upstream: Server) -> Iterator[Served]:
    """An endpoint that waits for its upstream, and does not measure what it says, but has room for two."""
    sets = {"limits.concurrency": 2, "limits.max_queue": 1, "limits.write_timeout": 1.0, "upstream.max_bytes": 10**10}
    with serving("--upstream", upstream.url, "--model", "m", sets=sets) as running:
        yield running


def ask(served: Served, fault: str, stream: bool = False, **fields: Any) -> Reply:
    options: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    return served.chat(f"How many? fault:{fault}", **options, **fields)


@pytest.fixture(scope="module")
def replies(served: Served) -> dict[tuple[str, bool], Reply]:
    """What came of every fault. Those that take their time do so together."""
    with ThreadPoolExecutor(8) as pool:
        slow = dict(zip(SLOW, pool.map(lambda case: ask(served, *case), SLOW), strict=True))
    return slow | {case: ask(served, *case) for case in CASES if case not in slow}


def strict(data: bytes) -> Any:
    """JSON as others read it, which has no NaN."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    return json.loads(data, parse_constant=refuse)


def events(reply: Reply) -> list[Any]:
    """What is in the events of a stream, which must end with [DONE]."""
    *found, last, rest = reply.body.split(b"\n\n")
    assert (last, rest) == (b"data: [DONE]", b"")
    assert all(event.startswith(b"data: ") for event in found)
    return [strict(event.removeprefix(b"data: ")) for event in found]


def text_of(reply: Reply) -> str:
    if not reply.headers["content-type"].startswith("text/event-stream"):
        return str(strict(reply.body)["choices"][0]["message"]["content"])
    choices = [event["choices"][0] for event in events(reply) if event.get("choices")]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def outcome(reply: Reply) -> str:
    """`answers`, `breaks` (a stream that ends with an error), or a status; each well-formed."""
    assert reply.headers["x-request-id"]
    if reply.status != 200:
        assert reply.headers["content-type"] == "application/json" and reply.error
        return str(reply.status)
    if not reply.headers["content-type"].startswith("text/event-stream"):
        assert strict(reply.body)["choices"][0]["message"]["role"] == "assistant"
        return "answers"
    errors = [event["error"] for event in events(reply) if "error" in event]
    if not errors:
        return "answers"
    assert "error" in events(reply)[-1] and len(errors) == 1
    assert errors[0].keys() == {"message", "type", "param", "code"} and errors[0]["message"]
    return "breaks"


def test_every_fault_is_spoken_of() -> None:
    assert BOTH.keys() == FAULTS.keys()


@pytest.mark.parametrize(("fault", "stream"), CASES)
def test_a_fault_of_the_upstream_is_an_answer_or_a_well_formed_error(
    replies: dict[tuple[str, bool], Reply], fault: str, stream: bool
) -> None:
    assert outcome(replies[fault, stream]) in BOTH[fault][stream].split()


@pytest.mark.parametrize("fault", HARMLESS)
def test_what_is_only_strange_arrives_whole(replies: dict[tuple[str, bool], Reply], fault: str) -> None:
    assert text_of(replies[fault, False]) == text_of(replies[fault, True]) == ANSWER


def test_what_a_client_may_act_upon_is_passed_on(replies: dict[tuple[str, bool], Reply]) -> None:
    for stream in (False, True):
        assert replies["429", stream].headers["retry-after"] == str(RETRY_AFTER)
        assert replies["400", stream].error["code"] == "unsupported_value"
        assert "temperature" in replies["400", stream].error["message"]


def test_the_stock_client_gets_its_answer_or_its_own_kind_of_error(served: Served) -> None:
    with openai.OpenAI(api_key="none", base_url=served.url, max_retries=0, timeout=10) as client:
        with ThreadPoolExecutor(2) as pool:
            found = pool.map(lambda case: by_the_stock_client(client, *case), CASES)
        strange = {case: each for case, each in zip(CASES, found, strict=True) if each not in BOTH[case[0]][case[1]]}
    assert not strange


def by_the_stock_client(client: openai.OpenAI, fault: str, stream: bool) -> str:
    turn: Any = {"role": "user", "content": f"How many? fault:{fault}"}
    try:
        if stream:
            for chunk in client.chat.completions.create(model="m", messages=[turn], stream=True):
                assert chunk.object == "chat.completion.chunk"
        else:
            assert client.chat.completions.create(model="m", messages=[turn]).choices
    except openai.APIStatusError as error:
        assert isinstance(error.body, dict) and error.body["message"]
        return str(error.status_code)
    except openai.APIError as error:
        assert stream and error.message
        return "breaks"
    return "answers"


def test_faults_leave_nothing_behind(served: Served, upstream: Server, replies: dict[tuple[str, bool], Reply]) -> None:
    """Neither memory, nor threads, nor files but for as many connections as are kept for the next requests."""

    def at_rest() -> bool:
        return served.size().files <= before.files + 8 and upstream.bill()["running"] == 0

    before = served.size()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda case: ask(served, *case), CASES * 2))
    assert eventually(at_rest), (before, served.size(), upstream.bill())
    assert served.size().megabytes < before.megabytes + 40
    assert served.size().threads <= before.threads + 4
    assert served.get("/healthz").status == 200
    assert text_of(ask(served, "split")) == ANSWER


# -- clients that misbehave --


def test_the_upstream_is_left_when_the_client_leaves_while_it_waits(patient: Served, upstream: Server) -> None:
    before = upstream.bill()
    for stream in (False, True):
        with patient.connect() as connection:
            connection.sendall(chat("fault:hang", stream=stream))
            assert eventually(lambda: upstream.bill()["running"] == 1)
        assert eventually(lambda: upstream.bill()["running"] == 0, 2.0)
    assert upstream.bill()["aborted"] == before["aborted"] + 2


def test_the_upstream_is_left_when_the_client_leaves_in_the_middle_of_a_stream(
    patient: Served, upstream: Server
) -> None:
    before = upstream.bill()
    for fault in ("endless", "hang-mid"):
        with patient.connect() as connection:
            connection.sendall(chat(f"fault:{fault}", stream=True))
            assert b"Mia" in receive(connection, b"Mia") or fault == "endless"
        assert eventually(lambda: upstream.bill()["running"] == 0, 2.0)
    assert upstream.bill()["aborted"] == before["aborted"] + 2


def receive(connection: socket.socket, until: bytes, most: int = 20_000) -> bytes:
    """What arrives up to some bytes, or the end."""
    found = b""
    while until not in found and len(found) < most and (data := connection.recv(4096)):
        found += data
    return found


def test_a_client_that_reads_nothing_of_a_stream_is_left(patient: Served, upstream: Server) -> None:
    before, aborted = patient.size(), upstream.bill()["aborted"]
    with patient.connect(rcvbuf=4096) as connection:
        connection.sendall(chat("fault:endless", stream=True))
        assert eventually(lambda: upstream.bill()["running"] == 1)
        assert eventually(lambda: upstream.bill()["running"] == 0, 6.0)
    assert upstream.bill()["aborted"] == aborted + 1
    assert eventually(lambda: patient.size().files <= before.files)
    assert patient.size().megabytes < before.megabytes + 30


def test_a_client_that_reads_slowly_gets_all_of_it(patient: Served) -> None:
    with patient.connect(rcvbuf=4096) as connection:
        connection.sendall(chat("fault:large", stream=True))
        found, end = 0, time.monotonic() + 3.0
        while time.monotonic() < end:  # some now and then, for longer than a write may take
            found += len(connection.recv(4096))
            time.sleep(0.02)
        connection.settimeout(10.0)
        last = b""
        while not last.endswith(b"0\r\n\r\n"):
            data = connection.recv(2**20)
            assert data, f"ended after {found:,} bytes"
            last, found = (last + data)[-64:], found + len(data)
    assert b"data: [DONE]\n\n" in last and found > 5_000_000


def test_clients_that_take_no_answers_are_left_one_and_all(served: Served) -> None:
    """However much of them is left unsent: what the kernel has no room for may be a little or a lot."""
    before, asked = served.size(), request("GET", "/openapi.json")
    with ExitStack() as stack:
        for requests in range(5, 65, 2):
            connection = stack.enter_context(served.connect(0.2, rcvbuf=4096))
            with suppress(TimeoutError):
                connection.sendall(asked * requests)
        assert eventually(lambda: served.size().files <= before.files + 2, 12.0), (before, served.size())


def test_a_thousand_connections_that_say_nothing_keep_nobody_out(served: Served) -> None:
    before = served.size()
    with ExitStack() as stack:
        silent = [stack.enter_context(served.connect()) for _ in range(1_000)]
        opened = time.monotonic()
        for connection in silent[::2]:
            connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow")
        for _ in range(25):
            began = time.monotonic()
            assert text_of(served.chat("How many?")) == ANSWER
            assert time.monotonic() - began < 1.0
        for connection in silent:
            receive(connection, b"\0")  # to the end: the server closes it
        assert time.monotonic() - opened < QUICK["limits.head_timeout"] + 4.0
    assert eventually(lambda: served.size().files <= before.files + 1)


def test_a_head_that_drips_does_not_get_more_time(served: Served) -> None:
    with served.connect() as connection:
        began, left = time.monotonic(), False
        while not left and time.monotonic() - began < 6.0:
            try:
                connection.sendall(b"G" if time.monotonic() - began < 0.1 else b"E")
                connection.settimeout(0.2)
                left = True
                connection.recv(1024)
            except TimeoutError:
                left = False
            except ConnectionError:
                left = True
    assert left and time.monotonic() - began < QUICK["limits.head_timeout"] + 1.5


def test_a_body_that_drips_is_408(served: Served) -> None:
    head, _, body = chat("How many?").partition(b"\r\n\r\n")
    with served.connect() as connection:
        began = time.monotonic()
        connection.sendall(head + b"\r\n\r\n")
        dripping = threading.Thread(target=drip, args=(connection, body))
        dripping.start()
        reply, took = read(connection), time.monotonic() - began
        dripping.join()
    assert reply.status == 408 and reply.error
    assert took < QUICK["limits.body_timeout"] + 1.0


def drip(connection: socket.socket, data: bytes) -> None:
    """A byte every tenth of a second, until nobody wants them or two seconds have passed."""
    for i in range(min(20, len(data))):
        try:
            connection.sendall(data[i : i + 1])
        except OSError:
            return
        time.sleep(0.1)


def test_a_client_that_sends_half_a_body_and_leaves_is_no_error_of_ours(served: Served) -> None:
    before = len(served.logged())
    with served.connect() as connection:
        connection.sendall(chat("How many?")[:-10])
    assert eventually(lambda: len(served.logged()) > before)
    assert served.logged()[before]["status"] == 499


def test_a_body_that_says_it_is_too_large_is_413_before_it_is_sent(served: Served) -> None:
    for expect in ("", "100-continue"):
        head = request("POST", "/v1/chat/completions", headers={"content-length": str(2**20 + 1), "expect": expect})
        reply = served.exchange(head)
        assert reply.status == 413 and reply.error


def test_a_body_in_chunks_is_413_when_it_gets_too_large(served: Served) -> None:
    head = request("POST", "/v1/chat/completions", headers={"content-length": "", "transfer-encoding": "chunked"})
    chunk = b"10000\r\n" + b" " * 2**16 + b"\r\n"
    reply = served.exchange(head + chunk * 16 + b"1\r\n \r\n")
    assert reply.status == 413 and reply.error


def test_a_body_in_chunks_is_as_good_as_any(served: Served) -> None:
    whole = chat("How many?")
    body = whole.partition(b"\r\n\r\n")[2]
    head = request("POST", "/v1/chat/completions", headers={"content-length": "", "transfer-encoding": "chunked"})
    chunks = b"".join(b"%x\r\n%b\r\n" % (1, body[i : i + 1]) for i in range(len(body)))
    assert text_of(served.exchange(head + chunks + b"0\r\n\r\n")) == ANSWER


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[" * 500_000, None),
        (b'{"messages": ' + b'{"a":' * 100_000, None),
        (b'{"messages": [{"role": "user", "content": "\xff"}]}', None),
        (b'{"model": "m", "n": 1' + b"0" * 5_000 + b', "messages": [{"role": "user", "content": "x"}]}', None),
        (b'{"model": "m", "temperature": NaN, "messages": [{"role": "user", "content": "x"}]}', None),
        (b"[]", None),
        (b'{"model": "m"}', "messages"),
        (b'{"model": "m", "messages": []}', "messages"),
        (b'{"model": "m", "messages": "How many?"}', "messages"),
        (b'{"model": "m", "messages": [{"content": "x"}]}', "messages[0].role"),
        (b'{"model": "m", "messages": [{"role": "user", "content": 7}]}', "messages[0].content"),
        (b'{"messages": [{"role": "user", "content": "x"}]}', "model"),
        (b'{"model": 7, "messages": [{"role": "user", "content": "x"}]}', "model"),
        (b'{"model": "m", "n": 0, "messages": [{"role": "user", "content": "x"}]}', "n"),
        (b'{"model": "m", "stream": "yes", "messages": [{"role": "user", "content": "x"}]}', "stream"),
    ],
    ids=lambda value: value[:24].decode("latin-1") if isinstance(value, bytes) else str(value),
)
def test_a_body_that_is_no_request_is_400(served: Served, body: bytes, param: str | None) -> None:
    reply = served.exchange(request("POST", "/v1/chat/completions", body))
    assert reply.status == 400
    assert param is None or reply.error["param"] == param


def test_what_is_not_json_by_its_own_account_is_415(served: Served) -> None:
    """A page of another site may send a form here without asking; JSON it may not."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        reply = served.chat("How many?", {"content-type": kind})
        assert reply.status == 415 and reply.error
    assert served.chat("How many?", {"content-type": "application/json; charset=utf-8"}).status == 200


def test_another_model_path_or_method_is_an_error_in_the_same_form(served: Served) -> None:
    assert served.chat("How many?", model="gpt-9").error["code"] == "model_not_found"
    assert served.chat("How many?", model="gpt-9").status == 404
    for method, path, status in (("GET", "/v1/nothing", 404), ("GET", "/v1/chat/completions", 405), ("PUT", "/", 404)):
        reply = served.exchange(request(method, path))
        assert reply.status == status and reply.error


POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # without a host
        b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nhost: other\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nx-a: b\x00c\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nx: " + b"y" * 1_000_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        POST + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        POST + b"content-length: -1\r\n\r\n{}",
        POST + b"content-length: two\r\n\r\n{}",
        POST + b"content-length: " + b"9" * 5_000 + b"\r\n\r\n{}",
        POST + b"transfer-encoding: gzip\r\n\r\n{}",
        POST + b"transfer-encoding: chunked\r\n\r\nnothing\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
    ],
    ids=lambda data: data[:48].decode("latin-1").replace("\r\n", " "),
)
def test_what_is_hardly_http_is_refused_or_left(served: Served, data: bytes) -> None:
    with served.connect() as connection:
        try:
            connection.sendall(data)
            found = receive(connection, b"\r\n\r\n")
        except ConnectionError:
            found = b""
    assert not found or found.startswith(b"HTTP/1.1 4")
    assert served.get("/healthz").status == 200


def test_a_length_and_chunks_at_once_do_not_hide_a_second_request(served: Served, upstream: Server) -> None:
    before = upstream.bill()["requests"]
    hidden = chat("How many?")
    with served.connect(3.0) as connection:
        connection.sendall(
            POST + b"content-length: %d\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" % (len(hidden) + 5) + hidden
        )
        found = receive(connection, b"\0")
    assert found.startswith(b"HTTP/1.1 400")
    assert upstream.bill()["requests"] == before


def test_requests_sent_together_are_answered_in_order(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(chat("say:one") + chat("say:two", stream=True) + chat("say:three"))
        file = connection.makefile("rb")
        found = b""
        while b"three" not in found:
            found += file.read1()
    assert found.index(b"one") < found.index(b"two") < found.index(b"three")


def test_an_answer_does_not_wait_for_an_acknowledgement(served: Served) -> None:
    """Forty milliseconds, where the kernel holds the body back until the client has acknowledged the head."""
    took = []
    with served.connect() as connection:
        for _ in range(21):
            began = time.monotonic()
            connection.sendall(chat("How many?"))
            read(connection)
            took.append(time.monotonic() - began)
    assert sorted(took)[5] < 0.03


def test_answers_are_not_mixed_up(served: Served) -> None:
    words = [f"word{i}" for i in range(300)]
    with ThreadPoolExecutor(24) as pool:
        found = pool.map(lambda word: text_of(served.chat(f"say:{word}", stream=word[-1] in "02468")), words)
        assert list(found) == words


# -- who may ask, and what nobody is told --


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://[::1"},
        {"host": "evil.example", "x-forwarded-host": "127.0.0.1", "x-forwarded-for": "127.0.0.1"},
    ],
    ids=str,
)
def test_a_page_of_another_site_is_refused_where_no_key_is_asked_for(
    served: Served, upstream: Server, headers: dict[str, str]
) -> None:
    before = upstream.bill()["requests"]
    reply = served.chat("How many?", headers)
    assert reply.status == 403 and reply.error
    assert upstream.bill()["requests"] == before


def test_who_asks_on_this_machine_is_welcome_by_any_of_its_names(served: Served) -> None:
    port = served.address[1]
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", "localhost", f"[::1]:{port}"):
        assert served.chat("How many?", {"host": host}).status == 200
    assert served.chat("How many?", {"origin": f"http://localhost:{port}"}).status == 200


def test_what_a_proxy_would_add_makes_no_difference(served: Served) -> None:
    spoken = {"x-forwarded-for": "203.0.113.9", "x-forwarded-host": "evil.example", "x-forwarded-proto": "https"}
    spoken |= {"forwarded": "for=203.0.113.9", "x-real-ip": "203.0.113.9", "x-original-url": "/metrics"}
    reply = served.chat("fault:echo-headers", spoken)
    sent = json.loads(text_of(reply))
    assert not [name for name in spoken if name in sent]
    assert "203.0.113.9" not in served.log.read_text() and "evil.example" not in str(reply)


def test_the_upstream_gets_its_own_key_and_not_the_clients(served: Served) -> None:
    sent = json.loads(text_of(served.chat("fault:echo-headers", {"authorization": "Bearer mine", "cookie": "a=b"})))
    assert sent["authorization"] == hashlib.sha256(f"Bearer {SECRET}".encode()).hexdigest()
    assert "cookie" not in sent and "mine" not in str(sent)


def test_what_passes_through_is_what_was_said(served: Served) -> None:
    tools = [{"type": "function", "function": {"name": "add"}}]
    fields: dict[str, Any] = {"temperature": 0.3, "tools": tools, "made_up": {"a": [1]}}
    sent = json.loads(text_of(served.chat("Wie viele? 🍐 fault:echo", seed=7, **fields)))
    assert {name: sent[name] for name in fields} == fields and sent["seed"] == 7
    assert sent["messages"] == [{"role": "user", "content": "Wie viele? 🍐 fault:echo"}]
    assert "divcon" not in sent


def test_the_key_is_nowhere(served: Served, replies: dict[tuple[str, bool], Reply]) -> None:
    pages = [served.get(path) for path in ("/metrics", "/openapi.json", "/healthz", "/v1/models", "/v1/models/m")]
    everything = "\n".join(map(repr, [*replies.values(), *pages])) + served.log.read_text() + served.ready
    encoded = [base64.b64encode(b"x" * i + SECRET.encode())[4:-4].decode() for i in range(3)]
    for form in (SECRET, quote(SECRET), quote(SECRET, safe=""), quote_plus(SECRET), json.dumps(SECRET)[1:-1], *encoded):
        assert form not in everything
    assert SECRET[12:] not in everything


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_client_can_put_the_key_together(served: Served, spelling: str) -> None:
    """From whatever pieces of whichever field, and however the upstream spells it."""
    key = SPELLINGS[spelling](SECRET)
    for size in (1, 2, 5, 23, 900):
        reply = served.chat(f"fault:key-in-pieces say:{spelling}.{size}", stream=True, n=2)
        for text in put_together(events(reply)):
            assert text.startswith("Your key: ") and text.endswith(" ends.") and key not in text and SECRET not in text
        whole = strict(served.chat(f"fault:key-in-pieces say:{spelling}.{size}", n=2).body)
        for text in put_together([whole]):
            assert key not in text and SECRET not in text
    assert key not in served.chat(f"fault:400-key say:{spelling}").error["message"]
    assert key not in served.log.read_text()


def put_together(events: list[Any]) -> list[str]:
    """The texts of each choice, by field."""
    found: dict[str, str] = {}

    def add(path: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, each in value.items():
                add(f"{path}.{name}", each)
        elif isinstance(value, list):
            for each in value:
                add(f"{path}.{each['index']}" if isinstance(each, dict) and "index" in each else path, each)
        elif isinstance(value, str) and len(value) < 5_000 and path.endswith(FIELDS):
            found[path] = found.get(path, "") + value

    for event in events:
        add("", event)
    assert found
    return list(found.values())


FIELDS = ("content", "content.text", "content.token", "arguments")


def test_nothing_that_was_said_is_logged(served: Served) -> None:
    served.chat("A secret pear 4711", user="a-user-4711")
    served.exchange(request("POST", "/v1/chat/completions", b'{"pear": 4711'))
    served.get("/v1/models/4711?pear=4711")
    assert "pear" not in served.log.read_text()
    assert all(isinstance(line, dict) for line in served.logged())


# -- too many, and the end --


def test_what_there_is_no_room_for_is_429(patient: Served, upstream: Server) -> None:
    with ExitStack() as stack:
        for _ in range(3):  # two in work, one that waits
            stack.enter_context(patient.connect()).sendall(chat("fault:hang"))
        assert eventually(lambda: upstream.bill()["running"] == 2)
        reply = None
        assert eventually(lambda: b"divcon_waiting 1.0" in patient.get("/metrics").body)
        reply = patient.chat("How many?")
        assert reply.status == 429 and reply.error and int(reply.headers["retry-after"]) >= 1
        assert patient.get("/healthz").status == 200
    assert eventually(lambda: upstream.bill()["running"] == 0)
    assert patient.chat("How many?").status == 200


def test_who_waits_for_a_place_and_leaves_does_not_get_it(patient: Served, upstream: Server) -> None:
    before = upstream.bill()["requests"]
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(patient.connect()).sendall(chat("fault:hang"))
        assert eventually(lambda: upstream.bill()["running"] == 2)
        with patient.connect() as third:
            third.sendall(chat("How many?"))
            assert eventually(lambda: b"divcon_waiting 1.0" in patient.get("/metrics").body)
        assert eventually(lambda: b"divcon_waiting 0.0" in patient.get("/metrics").body)
    assert eventually(lambda: upstream.bill()["running"] == 0)
    assert upstream.bill()["requests"] == before + 2


def test_a_second_server_on_the_same_port_says_so(served: Served, upstream: Server) -> None:
    command = [sys.executable, "-m", "divcon", "serve", "--upstream", upstream.url, "--model", "m"]
    found = subprocess.run([*command, "--port", str(served.address[1])], capture_output=True, text=True, timeout=60)
    assert found.returncode == 2 and found.stdout == ""
    assert found.stderr.startswith("divcon: ") and found.stderr.count("\n") == 1
    assert str(served.address[1]) in found.stderr and served.get("/healthz").status == 200


def test_told_to_stop_it_finishes_what_is_in_work_and_takes_nothing_new(upstream: Server) -> None:
    with serving("--upstream", upstream.url, "--model", "m") as running, ThreadPoolExecutor(2) as pool:
        idle, silent = running.connect(), running.connect()
        with idle, silent:
            idle.sendall(request("GET", "/healthz"))
            assert read(idle).status == 200
            answers = [pool.submit(ask, running, "drip", stream) for stream in (False, True)]
            assert eventually(lambda: upstream.bill()["running"] == 2)
            running.tell(signal.SIGTERM)
            assert eventually(lambda: not is_open(running), 2.0)
            assert running.outcome() == (0, "")
            assert [text_of(answer.result()) for answer in answers] == [ANSWER, ANSWER]
        assert all(isinstance(line, dict) for line in running.logged())


def is_open(running: Served) -> bool:
    try:
        return running.get("/healthz").status == 200
    except (OSError, EOFError):
        return False


def test_it_can_be_told_twice(upstream: Server) -> None:
    """As by Ctrl+C: the second time, what is in work is given up, not waited for."""
    with serving("--upstream", upstream.url, "--model", "m") as running, running.connect() as waiting:
        waiting.sendall(chat("fault:hang"))
        assert eventually(lambda: upstream.bill()["running"] == 1)
        running.tell(signal.SIGINT)
        assert eventually(lambda: not is_open(running))
        assert running.process.poll() is None
        running.tell(signal.SIGINT)
        running.outcome(5.0)
    assert eventually(lambda: upstream.bill()["running"] == 0)


def test_after_the_grace_it_ends_all_the_same(upstream: Server) -> None:
    with serving("--upstream", upstream.url, "--model", "m", sets={"limits.shutdown_timeout": 1}) as running:
        with running.connect() as waiting:
            waiting.sendall(chat("fault:hang"))
            assert eventually(lambda: upstream.bill()["running"] == 1)
            began = time.monotonic()
            running.tell(signal.SIGTERM)
            running.outcome()
        assert time.monotonic() - began < 4.0
    assert eventually(lambda: upstream.bill()["running"] == 0)


# -- with a decomposer before the upstream --


@pytest.fixture(scope="module")
def decomposing(upstream: Server) -> Iterator[Served]:
    words = ("--decomposer", "miniature/llm", "--upstream", upstream.url, "--model", "m")
    with serving(*words, sets=QUICK) as running:
        yield running


PEARS = "Mia has 4 crates of pears. She eats 7 pears. How many pears are left?"


def test_the_words_of_the_client_are_kept_when_sub_questions_are_added(decomposing: Served) -> None:
    reply = decomposing.chat(f"{PEARS} fault:echo")
    sent = json.loads(text_of(reply))
    assert PEARS in sent["messages"][-1]["content"]
    assert reply.headers["x-divcon-decomposition"] in ("asked", "not-needed", "unreadable")
    assert decomposing.chat(f"{PEARS} fault:echo").headers["x-divcon-decomposition"] in ("cached", "not-needed")


@pytest.mark.parametrize("fault", ["reset", "429", "reset-mid", "hang", "large", "401"])
def test_a_fault_of_the_upstream_is_the_same_behind_a_decomposer(decomposing: Served, fault: str) -> None:
    for stream, expected in zip((False, True), BOTH[fault], strict=True):
        reply = decomposing.chat(f"{PEARS} fault:{fault}", stream=stream)
        assert outcome(reply) in expected.split()
        assert reply.headers["x-divcon-decomposition"]


def test_many_who_leave_while_they_are_decomposed_cost_nobody_an_answer(decomposing: Served, upstream: Server) -> None:
    before = decomposing.size()
    for i in range(20):
        with decomposing.connect() as connection:
            connection.sendall(chat(f"Mia has {i + 3} crates of pears. How many pears are there?"))
    assert text_of(decomposing.chat(PEARS)) == ANSWER
    # Connections to the upstream are kept for seconds.
    assert eventually(lambda: upstream.bill()["running"] == 0 and decomposing.size().files <= before.files + 1, 20.0)
