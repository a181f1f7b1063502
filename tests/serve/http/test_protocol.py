"""HTTP by hand: requests that two servers could read in two ways are refused, and half a connection is enough."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import h11
import pytest

from divcon.serve.http.framing import Strict

from ...fakes.chat_upstream import ANSWER, chatting
from ...fakes.serving import Served, chat, eventually, read, request, serving
from ...fakes.upstream import Server
from .test_faults import receive, text_of

ROUTES = ["/v1/chat/completions", "/v1/models", "/v1/models/m", "/healthz", "/metrics", "/openapi.json"]
BODY = b'{"model": "m", "messages": [{"role": "user", "content": "How many?"}]}'
START = b"POST /v1/chat/completions HTTP/1.1\r\n"
REST = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY
LOCAL = b"host: 127.0.0.1\r\n"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Server]:
    with chatting(latency=0.4, pause=0.01) as running:
        yield running


@pytest.fixture(scope="module")
def served(upstream: Server) -> Iterator[Served]:
    with serving("--upstream", upstream.url, "--model", "m") as running:
        yield running


def sent(served: Served, data: bytes) -> bytes:
    """All that comes back over a connection of its own, up to its end or to a while without more."""
    with served.connect(3.0) as connection:
        connection.sendall(data)
        found = b""
        try:
            while data := connection.recv(65536):
                found += data
                if found.startswith(b"HTTP/1.1 400"):
                    continue
        except (TimeoutError, ConnectionError):
            pass
    return found


# -- redirections --


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS", "PUT"])
def test_nobody_is_sent_elsewhere(served: Served, method: str) -> None:
    for route in (*ROUTES, "/v1", ""):
        for path in (
            f"{route}/",
            f"{route}//",
            f"/{route}/",
            f"{route}/?a=b",
            f"{route}%2f",
            f"//evil.example{route}/",
        ):
            with served.connect() as connection:
                connection.sendall(request(method, path, headers={"host": "localhost", "connection": "close"}))
                head = receive(connection, b"\r\n\r\n")
            assert int(head.split()[1]) not in range(300, 400), (path, head)
            assert b"location" not in head.lower()


def test_a_path_with_a_slash_too_many_is_an_error_in_the_usual_form(served: Served) -> None:
    for path in ("/v1/chat/completions/", "/healthz/", "/v1/models/m/x"):
        reply = served.exchange(request("POST", path, BODY))
        assert reply.status in (404, 405) and reply.error


# -- requests that could be read in two ways --

SMUGGLED = {
    "bare LF between headers": START + LOCAL + b"x-a: b\n" + REST,
    "bare LF after the request line": START.replace(b"\r\n", b"\n") + LOCAL + REST,
    "bare LF everywhere": (START + LOCAL + REST).replace(b"\r\n", b"\n"),
    "bare LF before the body": START + LOCAL + REST.replace(b"\r\n\r\n", b"\r\n\n"),
    "bare CR in a header": START + LOCAL + b"x-a: b\rc\r\n" + REST,
    "bare CR before the request line": b"\r" + START + LOCAL + REST,
    "LF before the request line": b"\n" + START + LOCAL + REST,
    "a folded header": START + LOCAL + b"x-a: b\r\n c\r\n" + REST,
    "a folded header with a tab": START + LOCAL + b"x-a: b\r\n\tcontent-length: 0\r\n" + REST,
    "a folded request line": START + b" x: y\r\n" + LOCAL + REST,
    "two lengths": START + LOCAL + b"content-length: 0\r\n" + REST,
    "two equal lengths": START + LOCAL + b"content-length: %d\r\n" % len(BODY) + REST,
    "a list of lengths": START + LOCAL + REST.replace(b"%d\r\n" % len(BODY), b"%d, %d\r\n" % (len(BODY), len(BODY)), 1),
    "a signed length": START + LOCAL + REST.replace(b"length: ", b"length: +"),
    "a length in hexadecimal": START + LOCAL + REST.replace(b"length: ", b"length: 0x"),
    "a length with an underscore": START + LOCAL + REST.replace(b"length: 7", b"length: 7_"),
    "a length and chunks": START + LOCAL + b"transfer-encoding: chunked\r\n" + REST,
    "chunks that are not chunked": START + LOCAL + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunks in a list": START + LOCAL + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunks said twice": START + LOCAL + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": START.replace(b"1.1", b"1.0") + LOCAL + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a space before a colon": START + LOCAL + b"x-a : b\r\n" + REST,
    "a tab before a colon": START + b"host\t: 127.0.0.1\r\n" + REST,
    "a space before the length's colon": START + LOCAL + REST.replace(b"length:", b"length :"),
    "a header without a colon": START + LOCAL + b"x-a\r\n" + REST,
    "a header without a name": START + LOCAL + b": b\r\n" + REST,
    "a NUL in a value": START + LOCAL + b"x-a: b\0c\r\n" + REST,
    "a NUL in a name": START + LOCAL + b"x-\0a: b\r\n" + REST,
    "an escape in a value": START + LOCAL + b"x-a: \x1b[31m\r\n" + REST,
    "a vertical tab in a value": START + LOCAL + b"x-a: b\x0bc\r\n" + REST,
    "two hosts": START + LOCAL + b"host: evil.example\r\n" + REST,
    "the same host twice": START + LOCAL + LOCAL + REST,
    "no host": START + REST,
    "a user in the host": START + b"host: x@127.0.0.1\r\n" + REST,
    "a user and a password in the host": START + b"host: x:y@127.0.0.1:80\r\n" + REST,
    "a port that is no number": START + b"host: 127.0.0.1:8o\r\n" + REST,
    "a port too high": START + b"host: 127.0.0.1:65536\r\n" + REST,
    "a port of many digits": START + b"host: 127.0.0.1:" + b"9" * 5_000 + b"\r\n" + REST,
    "a negative port": START + b"host: 127.0.0.1:-80\r\n" + REST,
    "two ports": START + b"host: 127.0.0.1:80:80\r\n" + REST,
    "a path in the host": START + b"host: 127.0.0.1/evil\r\n" + REST,
    "a query in the host": START + b"host: 127.0.0.1?evil\r\n" + REST,
    "a fragment in the host": START + b"host: 127.0.0.1#.evil.example\r\n" + REST,
    "a backslash in the host": START + b"host: evil.example\\127.0.0.1\r\n" + REST,
    "a space in the host": START + b"host: 127.0.0.1 evil.example\r\n" + REST,
    "a list of hosts": START + b"host: 127.0.0.1, evil.example\r\n" + REST,
    "half an address": START + b"host: [::1\r\n" + REST,
    "junk behind an address": START + b"host: [::1]x\r\n" + REST,
    "an address that is none": START + b"host: [::z]\r\n" + REST,
    "an address in a host that is none": START.replace(b"/v1", b"http://evil.example/v1") + LOCAL + REST,
    "the same with a user": START.replace(b"/v1", b"http://x@127.0.0.1/v1") + LOCAL + REST,
    "another scheme": START.replace(b"/v1", b"ftp://127.0.0.1/v1") + LOCAL + REST,
    "a target without a path": START.replace(b"/v1/chat/completions", b"v1/chat/completions") + LOCAL + REST,
    "a tunnel": b"CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example:443\r\n\r\n",
    "a fragment in the target": START.replace(b"completions", b"completions#x") + LOCAL + REST,
    "two spaces": START.replace(b" HTTP", b"  HTTP") + LOCAL + REST,
    "a tab for a space": START.replace(b" HTTP", b"\tHTTP") + LOCAL + REST,
    "another version": START.replace(b"1.1", b"1.2") + LOCAL + REST,
    "HTTP/2.0": START.replace(b"1.1", b"2.0") + LOCAL + REST,
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
}
CHUNKED = START + LOCAL + b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
SIZE = b"%x" % len(BODY)
IN_CHUNKS = {
    "an extension with junk": SIZE + b";\x00a\r\n" + BODY + b"\r\n0\r\n\r\n",
    "an extension with LF": SIZE + b";a\nb\r\n" + BODY + b"\r\n0\r\n\r\n",
    "an extension with CR": SIZE + b";a\rb\r\n" + BODY + b"\r\n0\r\n\r\n",
    "an extension without a name": SIZE + b";=b\r\n" + BODY + b"\r\n0\r\n\r\n",
    "an extension with a space": SIZE + b";a b\r\n" + BODY + b"\r\n0\r\n\r\n",
    "an open quotation": SIZE + b';a="b\r\n' + BODY + b"\r\n0\r\n\r\n",
    "white space behind the size": SIZE + b" \r\n" + BODY + b"\r\n0\r\n\r\n",
    "white space before the size": b" " + SIZE + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a signed size": b"+" + SIZE + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a size with 0x": b"0x" + SIZE + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a size too long": b"0" * 30 + SIZE + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "LF behind the size": SIZE + b"\n" + BODY + b"\r\n0\r\n\r\n",
    "LF behind the chunk": SIZE + b"\r\n" + BODY + b"\n0\r\n\r\n",
    "nothing behind the chunk": SIZE + b"\r\n" + BODY + b"0\r\n\r\n",
    "LF behind the last chunk": SIZE + b"\r\n" + BODY + b"\r\n0\n\n",
    "LF in the trailers": SIZE + b"\r\n" + BODY + b"\r\n0\r\na: b\n\r\n",
    "a folded trailer": SIZE + b"\r\n" + BODY + b"\r\n0\r\na: b\r\n c\r\n\r\n",
}


@pytest.mark.parametrize(
    "data", [*SMUGGLED.values(), *(CHUNKED + data for data in IN_CHUNKS.values())], ids=[*SMUGGLED, *IN_CHUNKS]
)
def test_what_could_be_read_in_two_ways_is_400_and_asks_nobody(served: Served, upstream: Server, data: bytes) -> None:
    before = upstream.bill()["requests"]
    found = sent(served, data + chat("a second request"))
    assert found.startswith(b"HTTP/1.1 400 "), found[:200]
    assert found.count(b"HTTP/1.1 ") == 1, "the connection ends there"
    head, _, body = found.partition(b"\r\n\r\n")
    assert json.loads(body)["error"]["message"] and b"connection: close" in head.lower()
    assert upstream.bill()["requests"] == before


FINE = {
    "a port": START + b"host: 127.0.0.1:80\r\n" + REST,
    "an empty port": START + b"host: localhost:\r\n" + REST,
    "an address": START + b"host: [::1]:8080\r\n" + REST,
    "upper case": START + b"HOST: LOCALHOST\r\n" + REST,
    "no space behind a colon": START + b"host:127.0.0.1\r\n" + REST,
    "white space around a value": START + b"host: \t 127.0.0.1 \t \r\n" + REST,
    "an empty value": START + LOCAL + b"x-a:\r\n" + REST,
    "Latin-1 in a value": START + LOCAL + b"x-a: \xe4\r\n" + REST,
    "the whole address": START.replace(b"/v1", b"http://127.0.0.1/v1") + LOCAL + REST,
    "the whole address with a port": START.replace(b"/v1", b"HTTP://LocalHost:80/v1")
    + b"host: localhost:80\r\n"
    + REST,
    "a query": START.replace(b"completions", b"completions?a=http://evil.example/") + LOCAL + REST,
    "HTTP/1.0": START.replace(b"1.1", b"1.0") + LOCAL + REST,
    "an extension": CHUNKED + SIZE + b';a;b=c;d="e; f"\r\n' + BODY + b"\r\n0\r\n\r\n",
    "trailers": CHUNKED + SIZE.upper() + b"\r\n" + BODY + b"\r\n00\r\na: b\r\n\r\n",
}


@pytest.mark.parametrize("data", FINE.values(), ids=FINE)
def test_what_can_be_read_in_one_way_is_answered(served: Served, data: bytes) -> None:
    with served.connect() as connection:
        connection.sendall(data)
        reply = read(connection)
    assert reply.status == 200 and text_of(reply) == ANSWER


def events(data: bytes, step: int) -> list[str]:
    """What h11 makes of bytes that come so many at a time; the last is `refused` where it stops there."""
    connection = h11.Connection(h11.SERVER)
    connection._receive_buffer = Strict()
    found = []
    for i in range(0, len(data), step):
        connection.receive_data(data[i : i + step])
        try:
            while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if not isinstance(event, h11.Data):
                    found.append(type(event).__name__)
        except h11.RemoteProtocolError:
            return [*found, "refused"]
    return found


@pytest.mark.parametrize("step", [1, 2, 7, 10_000])
def test_it_does_not_matter_in_what_pieces_a_request_comes(step: int) -> None:
    for name, data in SMUGGLED.items():
        assert events(data, step) == ["refused"], name
    for name, data in IN_CHUNKS.items():
        assert events(CHUNKED + data, step)[-1] == "refused", name
    for name, data in FINE.items():
        assert events(data, step) == ["Request", "EndOfMessage"], name


# -- half of a connection --


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("question", ["How many?", "fault:drip", "fault:split", "fault:400"])
def test_a_client_that_has_said_all_gets_its_answer(served: Served, question: str, stream: bool) -> None:
    whole = served.chat(question, stream=stream)
    with served.connect() as connection:
        connection.sendall(chat(question, stream=stream))
        connection.shutdown(socket.SHUT_WR)
        half = read(connection)
        assert (half.status, half.body) == (whole.status, whole.body)
        assert connection.recv(1) == b"", "there can be no further request"


def test_requests_sent_together_are_all_answered_when_no_more_can_come(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(chat("say:one") + chat("say:two", stream=True) + request("GET", "/healthz"))
        connection.shutdown(socket.SHUT_WR)
        found = receive(connection, b"\0", most=100_000)
    assert found.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert found.index(b"one") < found.index(b"two") < found.index(b'"ok"')


def test_half_a_request_is_not_waited_for(served: Served) -> None:
    for data in (b"", START, START + LOCAL + REST[:-5], CHUNKED + SIZE + b"\r\n" + BODY):
        with served.connect(3.0) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            assert b"HTTP/1.1 200" not in receive(connection, b"\0")


@pytest.mark.parametrize(
    ("fault", "stream"), [("hang", False), ("hang", True), ("hang-mid", False), ("hang-mid", True), ("endless", True)]
)
def test_a_client_that_left_for_good_costs_nothing_more(
    served: Served, upstream: Server, fault: str, stream: bool
) -> None:
    """Whether it said before that it would say no more, or not."""
    for half_first in (False, True):
        with served.connect() as connection:
            connection.sendall(chat(f"fault:{fault}", stream=stream))
            assert eventually(lambda: upstream.bill()["running"] == 1)
            if half_first:
                connection.shutdown(socket.SHUT_WR)
                time.sleep(0.3)
                assert upstream.bill()["running"] == 1, "it still reads"
                connection.settimeout(0.1)
                with suppress(TimeoutError):
                    connection.recv(100_000)
        assert eventually(lambda: upstream.bill()["running"] == 0, 8.0)


def test_a_slow_answer_waits_for_half_a_connection(served: Served) -> None:
    """The bytes that find out whether somebody is there are those of the answer."""
    with served.connect() as connection:
        connection.sendall(chat("fault:drip", stream=True))
        connection.shutdown(socket.SHUT_WR)
        found = receive(connection, b"\0", most=100_000)
    assert found.startswith(b"HTTP/1.1 200 OK\r\n") and found.count(b"HTTP/1.1") == 1
    head, _, rest = found.partition(b"\r\n\r\n")
    assert b"100" not in head.split(b"\r\n")[0] and rest.endswith(b"0\r\n\r\n")


# -- numbers --

NUMBERS = [
    "9" * 400,
    "-" + "9" * 400,
    "9" * 4_299,
    "9" * 20_000,
    "1e999",
    "-1e999",
    "1e400",
    "NaN",
    "Infinity",
    "-Infinity",
    "-1",
    "0.5",
    "true",
    "false",
    '"1"',
    "[1]",
    "{}",
    "1.0",
    "1e2",
    "18446744073709551616",
    "9223372036854775808",
]
FIELDS = [
    "max_tokens",
    "max_completion_tokens",
    "n",
    "temperature",
    "top_p",
    "seed",
    "logprobs",
    "top_logprobs",
    "presence_penalty",
    "frequency_penalty",
]
MAY = {
    ("temperature", "0.5"),
    ("temperature", "1.0"),
    ("temperature", "1e2"),
    ("presence_penalty", "1e2"),
    ("frequency_penalty", "1e2"),
    ("top_p", "0.5"),
    ("top_p", "1.0"),
    ("seed", "-1"),
    ("logprobs", "true"),
    ("logprobs", "false"),
    ("presence_penalty", "0.5"),
    ("presence_penalty", "-1"),
    ("presence_penalty", "1.0"),
    ("frequency_penalty", "0.5"),
    ("frequency_penalty", "-1"),
    ("frequency_penalty", "1.0"),
}


def with_field(field: str, number: str) -> bytes:
    start = BODY[:-1].decode()
    return request("POST", "/v1/chat/completions", f'{start}, "{field}": {number}}}'.encode())


@pytest.mark.parametrize("field", FIELDS)
def test_a_number_that_cannot_be_is_400_in_one_sentence(served: Served, field: str) -> None:
    for number in NUMBERS:
        reply = served.exchange(with_field(field, number))
        if (field, number) in MAY:
            assert reply.status == 200, number
            continue
        assert reply.status == 400, (number[:20], reply.body[:200])
        said = reply.error["message"]
        assert len(said) < 200 and "\n" not in said and "Traceback" not in said


def test_a_number_is_read_wherever_it_stands(served: Served) -> None:
    for where in (
        '"divcon": {"k": %s}',
        '"divcon": {"max_subquestions": %s}',
        '"divcon": %s',
        '"metadata": {"a": [%s]}',
        '"tools": [{"a": %s}]',
        '"stop": %s',
        '"stream": %s',
        '"stream_options": {"include_usage": %s}',
        '"logit_bias": {"5": %s}',
        '"top_k": %s',
        '"min_p": %s',
        '"unheard_of": %s',
        '"messages": %s',
        '"model": %s',
        '"user": %s',
    ):
        for number in ("9" * 400, "9" * 20_000, "1e999", "NaN"):
            reply = served.exchange(
                request("POST", "/v1/chat/completions", BODY[:-1] + f", {where % number}}}".encode())
            )
            assert reply.status == 400 and len(reply.error["message"]) < 200, (where, number[:9])


@pytest.mark.parametrize("name", ["x-divcon-k", "x-divcon-max-subquestions", "x-divcon-mode", "x-divcon-vote"])
def test_a_number_in_a_header_is_read_as_strictly(served: Served, name: str) -> None:
    for value in ("9" * 400, "9" * 5_000, "-1", "0", "1.5", "1e3", "0x5", "NaN", "٣", "true", "1_0", "+1"):
        reply = served.exchange(chat("How many?", {name: value}))
        assert reply.status == 400 and len(reply.error["message"]) < 300, value
