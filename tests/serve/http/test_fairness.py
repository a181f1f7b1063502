"""One key does not keep the others out, whatever it does with what it has: real sockets, and the gate by itself."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divcon import commands
from divcon.serve.http.admission import AdmissionQueue, MemoryBudget
from divcon.serve.http.service import Service
from divcon.serve.pipeline.errors import APIError
from divcon.serve.pipeline.pipeline import RequestTrace

from ...fakes.chat_upstream import ANSWER, chatting
from ...fakes.serving import Served, chat, eventually, read, request, serving
from ...fakes.upstream import Server
from ..pipeline.test_pipeline import request as chain_request
from ..pipeline.test_pipeline import settings as chain_settings

NAMES = ("hostile", "honest", "watcher")


@pytest.fixture(scope="module")
def upstream() -> Iterator[Server]:
    with chatting() as running:
        yield running


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """A header for each name, and where their file is."""
    file = tmp_path_factory.mktemp("fair") / "keys.json"
    found = {name: commands.add_key(file, name, metrics=name == "watcher") for name in NAMES}
    return {"file": {"path": str(file)}, **{name: {"authorization": f"Bearer {key}"} for name, key in found.items()}}


@pytest.fixture(scope="module")
def served(upstream: Server, keys: dict[str, dict[str, str]]) -> Iterator[Served]:
    """Room for four at once, and for eight that wait."""
    sets = {"limits.concurrency": 4, "limits.max_queue": 8, "limits.queue_timeout": 3.0}
    words = ("--upstream", upstream.url, "--model", "m", "--keys", keys["file"]["path"])
    with serving(*words, sets={**sets, "limits.body_bytes": 4096, "limits.held_bytes": 16384}) as running:
        yield running


@pytest.fixture(scope="module")
def hasty(upstream: Server, keys: dict[str, dict[str, str]]) -> Iterator[Served]:
    """A stream may take a second."""
    words = ("--upstream", upstream.url, "--model", "m", "--keys", keys["file"]["path"])
    with serving(*words, sets={"limits.stream_timeout": 1.0, "upstream.max_bytes": 10**9}) as running:
        yield running


def figure(of: Served, keys: dict[str, dict[str, str]], name: str) -> float:
    """What its metrics say."""
    text = of.get("/metrics", **keys["watcher"]).body.decode()
    found = [line.rsplit(" ", 1)[1] for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(found[0]) if found else 0.0


@pytest.mark.parametrize(
    ("fault", "stream"),
    [("hang", False), ("hang-mid", True), ("endless", True)],
    ids=["answers that do not come", "streams without an end", "streams that nobody reads"],
)
def test_a_key_that_takes_all_it_can_keeps_no_other_key_out(
    served: Served, keys: dict[str, dict[str, str]], fault: str, stream: bool
) -> None:
    with ExitStack() as stack:
        for _ in range(12):
            connection = stack.enter_context(served.connect(rcvbuf=4096))
            connection.sendall(chat(f"fault:{fault}", keys["hostile"], stream=stream))
        assert eventually(lambda: figure(served, keys, "divcon_running") >= 2)
        for _ in range(5):
            reply = served.chat("2 + 3?", keys["honest"])
            assert reply.status == 200 and ANSWER in json.loads(reply.body)["choices"][0]["message"]["content"]
        assert figure(served, keys, "divcon_running") == 2, "half of the places are for others"
        refused = served.chat("2 + 3?", keys["hostile"])
        assert (refused.status, refused.error["code"]) == (429, "key_share")
        assert int(refused.headers["retry-after"]) >= 1
    assert eventually(lambda: figure(served, keys, "divcon_running") == 0)
    assert served.chat("2 + 3?", keys["hostile"]).status == 200
    assert figure(served, keys, 'divcon_limited_total{limit="key_share"}') >= 1


def test_a_key_that_sends_and_does_not_end_keeps_no_other_key_out(
    served: Served, keys: dict[str, dict[str, str]]
) -> None:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 3900}]}).encode()
    half = request("POST", "/v1/chat/completions", body, keys["hostile"])[:-1]
    with ExitStack() as stack:
        for _ in range(6):
            stack.enter_context(served.connect()).sendall(half)
        reply = served.exchange(half)
        assert (reply.status, reply.error["code"]) == (429, "key_share")
        assert served.exchange(request("POST", "/v1/chat/completions", body, keys["honest"])).status == 200


def test_a_stream_that_takes_too_long_ends_with_an_error(hasty: Served, keys: dict[str, dict[str, str]]) -> None:
    before = figure(hasty, keys, 'divcon_limited_total{limit="stream_timeout"}')
    reply = hasty.chat("fault:hang-mid", keys["honest"], stream=True)
    *chunks, error, done, rest = reply.body.split(b"\n\n")
    assert reply.status == 200 and len(chunks) > 1 and (done, rest) == (b"data: [DONE]", b"")
    found = json.loads(error.removeprefix(b"data: "))["error"]
    assert found["code"] == "stream_timeout" and "1 s" in found["message"]
    assert eventually(lambda: figure(hasty, keys, "divcon_running") == 0)
    assert figure(hasty, keys, 'divcon_limited_total{limit="stream_timeout"}') == before + 1


def test_a_stream_that_does_not_begin_in_time_is_an_error(hasty: Served, keys: dict[str, dict[str, str]]) -> None:
    reply = hasty.chat("fault:hang", keys["honest"], stream=True)
    assert (reply.status, reply.error["code"]) == (504, "stream_timeout")


def test_who_reads_slowly_does_not_hold_a_place_for_long(hasty: Served, keys: dict[str, dict[str, str]]) -> None:
    with hasty.connect(rcvbuf=4096) as connection:
        connection.sendall(chat("fault:endless", keys["honest"], stream=True))
        end = time.monotonic() + 15.0
        while figure(hasty, keys, "divcon_running") != 1:
            assert time.monotonic() < end
        while figure(hasty, keys, "divcon_running") != 0:
            assert time.monotonic() < end
            connection.recv(4096)


def test_an_answer_in_one_piece_is_not_cut_by_the_time_of_a_stream(
    hasty: Served, keys: dict[str, dict[str, str]]
) -> None:
    with hasty.connect() as connection:
        connection.sendall(chat("fault:drip", keys["honest"]))
        connection.settimeout(1.8)
        with suppress(TimeoutError):
            read(connection)
            raise AssertionError("it cannot have come")
        assert figure(hasty, keys, "divcon_running") == 1


# -- the gate by itself --


class Visitor:
    """A request of a caller that stays until it is let go."""

    def __init__(self, gate: AdmissionQueue, caller: str) -> None:
        self.caller = caller
        self.inside = False
        self.may_go = asyncio.Event()
        self.task = asyncio.create_task(self._visit(gate))

    async def _visit(self, gate: AdmissionQueue) -> None:
        async with gate.place(self.caller):
            self.inside = True
            try:
                await self.may_go.wait()
            finally:
                self.inside = False


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


moves = st.tuples(st.sampled_from(["come", "come", "turn", "cancel", "go"]), st.sampled_from("abc"), st.integers(0, 9))


async def _crowd(at_once: int, waiting: int, share: float, done: list[tuple[str, str, int]]) -> None:
    gate = AdmissionQueue(at_once, waiting, 60.0, share=share)
    most = max(1, int(at_once * share))
    came: list[Visitor] = []
    for what, caller, which in done:
        if what == "come":
            came.append(Visitor(gate, caller))
        elif came and what == "go":
            came[which % len(came)].may_go.set()
        elif came and what == "cancel":
            came[which % len(came)].task.cancel()
        await settled()
        inside = Counter(visitor.caller for visitor in came if visitor.inside)
        assert inside.total() == gate.running <= at_once and gate.waiting <= waiting
        assert all(count <= most for count in inside.values())
        stuck = {visitor.caller for visitor in came if not visitor.inside and not visitor.task.done()}
        assert gate.running == at_once or all(inside[each] == most for each in stuck)
    for visitor in came:
        visitor.may_go.set()
    await asyncio.gather(*(visitor.task for visitor in came), return_exceptions=True)
    assert (gate.running, gate.waiting) == (0, 0) and not gate._places


@settings(max_examples=200)
@given(st.integers(1, 5), st.integers(0, 6), st.sampled_from([0.1, 0.5, 1.0]), st.lists(moves, max_size=40))
def test_no_caller_has_more_than_its_share_and_no_place_is_free_while_one_may_have_it(
    at_once: int, waiting: int, share: float, done: list[tuple[str, str, int]]
) -> None:
    asyncio.run(_crowd(at_once, waiting, share, done))


def test_who_has_the_fewest_places_is_let_in_first() -> None:
    async def main() -> None:
        gate = AdmissionQueue(2, 8, 60.0)
        inside = [Visitor(gate, "a") for _ in range(2)]
        await settled()
        waiting = [Visitor(gate, caller) for caller in "aaab"]
        await settled()
        inside[0].may_go.set()
        await settled()
        assert [visitor.inside for visitor in waiting] == [False, False, False, True]
        for visitor in (*inside, *waiting):
            visitor.may_go.set()
        await asyncio.gather(*(visitor.task for visitor in waiting))

    asyncio.run(main())


def test_other_limits_hold_for_all_that_comes_and_let_in_who_waits() -> None:
    async def main() -> None:
        gate = AdmissionQueue(1, 8, 60.0)
        came = [Visitor(gate, "a") for _ in range(4)]
        await settled()
        gate.resize(3, 8, 60.0)
        await settled()
        assert [visitor.inside for visitor in came] == [True, True, True, False]
        gate.resize(1, 8, 60.0)
        for visitor in came[:2]:
            visitor.may_go.set()
        await settled()
        assert not came[3].inside
        came[2].may_go.set()
        await settled()
        assert came[3].inside
        came[3].may_go.set()
        await asyncio.gather(*(visitor.task for visitor in came))

    asyncio.run(main())


def test_one_caller_holds_a_share_of_what_there_is_room_for() -> None:
    room = MemoryBudget(100, share=0.5, least=60)
    with room.taken("a") as mine, room.taken("b") as yours:
        mine(60)
        with pytest.raises(APIError, match="of one key"):
            mine(1)
        yours(40)
        with pytest.raises(APIError, match="as it can"):
            yours(1)
    assert room.held == 0


def test_without_keys_nobody_is_kept_from_a_place_that_is_free(upstream: Server) -> None:
    sets: dict[str, Any] = {"limits.concurrency": 2, "limits.max_queue": 0}
    with serving("--upstream", upstream.url, "--model", "m", sets=sets) as served, ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(served.connect()).sendall(chat("fault:hang"))
        assert eventually(lambda: b"divcon_running 2.0" in served.get("/metrics").body)


class Busy:
    """A local model that never comes to an end, for as many samples as it gets."""

    def __init__(self) -> None:
        self.samples: Counter[int] = Counter()

    async def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self.samples[body.get("n") or 1] += 1
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    def stream(self, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        raise NotImplementedError

    async def warm(self) -> None: ...

    async def close(self) -> None: ...


def test_one_key_takes_a_share_of_a_local_models_queue() -> None:
    """Eight choices a request: a fair share of places would fill the queue of the model."""

    async def main() -> None:
        local = {"path": "miniature/llm", "concurrency": 32, "max_queue": 224}
        of = chain_settings(decomposer=None, upstream=None, local=local, keys="keys.json")
        endpoint, busy = Service(of), Busy()
        endpoint.answerers["local"] = busy

        def ask(caller: str, n: int) -> asyncio.Task[Any]:
            return asyncio.create_task(endpoint.answer(chain_request(of, n=n), RequestTrace(caller=caller)))

        hostile = [ask("hostile", 8) for _ in range(32)]
        await settled()
        assert busy.samples[8] * 8 == 128, "half of the queue"
        refused = [task.exception() for task in hostile if task.done()]
        assert len(refused) == 16 and all(isinstance(each, APIError) and each.code == "key_share" for each in refused)
        honest = ask("honest", 1)
        await settled()
        assert busy.samples[1] == 1 and not honest.done()
        for task in (*hostile, honest):
            task.cancel()
        await asyncio.gather(*hostile, honest, return_exceptions=True)
        await endpoint.close()

    asyncio.run(main())
