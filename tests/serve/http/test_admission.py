"""What a key may still do, and how many requests run at once: limits that hold whatever comes."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divcon.core.errors import ConfigError
from divcon.serve.http.admission import AdmissionQueue, MemoryBudget
from divcon.serve.http.keys import ANYONE, Caller
from divcon.serve.http.quotas import Quotas, Reservation
from divcon.serve.pipeline.errors import APIError

from ...paths import ROOT

NOON = 1_800_014_400.0
"""Twelve o'clock by UTC."""
HALF_A_DAY = 43_200.0


class Clock:
    """A time that passes when it is told to."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def a_minute(limit: float) -> Caller:
    return Caller("alice", limit, None)


def a_day(dollars: float, name: str = "alice") -> Caller:
    return Caller(name, None, dollars)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def allowance(clock: Clock) -> Iterator[Quotas]:
    with Quotas(clock=clock, steady=clock) as made:
        yield made


def refused(call: Callable[[], object]) -> APIError:
    with pytest.raises(APIError) as caught:
        call()
    return caught.value


# Requests a minute


def test_a_minutes_requests_may_come_at_once_and_the_next_is_told_when(allowance: Quotas, clock: Clock) -> None:
    for _ in range(3):
        allowance.request(a_minute(3))
        clock.now += 10
    error = refused(lambda: allowance.request(a_minute(3)))
    assert (error.status, error.code, error.headers) == (429, "rate_limit_exceeded", {"retry-after": "30"})
    assert str(error) == "the key 'alice' may make 3 requests a minute; try again in 30 s"
    clock.now += 30
    allowance.request(a_minute(3))
    assert refused(lambda: allowance.request(a_minute(3))).retry_after == 10


def test_a_request_that_was_refused_does_not_count(allowance: Quotas, clock: Clock) -> None:
    allowance.request(a_minute(1))
    for _ in range(50):
        refused(lambda: allowance.request(a_minute(1)))
    clock.now += 60
    allowance.request(a_minute(1))


def test_less_than_one_a_minute_is_one_in_a_longer_while(allowance: Quotas, clock: Clock) -> None:
    allowance.request(a_minute(0.25))
    assert refused(lambda: allowance.request(a_minute(0.25))).retry_after == 240
    clock.now += 240
    allowance.request(a_minute(0.25))


def test_keys_have_minutes_of_their_own_and_some_have_no_limit(allowance: Quotas) -> None:
    for name in "ab":
        allowance.request(Caller(name, 1, None))
    for _ in range(1000):
        allowance.request(ANYONE)


def test_a_limit_that_is_lowered_holds_at_once(allowance: Quotas, clock: Clock) -> None:
    for _ in range(10):
        allowance.request(a_minute(10))
        clock.now += 1
    assert refused(lambda: allowance.request(a_minute(2))).retry_after == 58


@given(st.floats(0.3, 12), st.lists(st.floats(0, 40) | st.just(0.0) | st.none(), max_size=80))
def test_no_minute_has_more_requests_than_allowed(limit: float, pauses: list[float | None]) -> None:
    clock = Clock()
    let_in: list[float] = []
    with Quotas(clock=clock, steady=clock) as allowance:
        for pause in pauses:
            clock.now += pause or 0
            try:
                allowance.request(a_minute(limit))
                let_in.append(clock.now)
            except APIError as error:
                assert error.retry_after is not None and error.retry_after > 0
                if pause is None:  # as long as it was asked to wait, and not a moment longer but for rounding
                    clock.now += error.retry_after + 1e-6
                    allowance.request(a_minute(limit))
                    let_in.append(clock.now)
    for start in let_in:
        assert sum(start <= time < start + 60 for time in let_in) <= max(1, limit)


def test_memory_does_not_grow_with_requests(allowance: Quotas, clock: Clock) -> None:
    for _ in range(5000):
        clock.now += 0.5
        with suppress(APIError):
            allowance.request(a_minute(7))
        allowance.settle(allowance.reserve(a_day(1), 0.5), 0.0)
    assert len(allowance._minutes["alice"]._times) <= 7
    assert allowance._db.execute("SELECT count(*) FROM spent").fetchone() == (1,)


# Dollars a day


def test_dollars_count_at_their_worst_until_it_is_known_what_they_were(allowance: Quotas) -> None:
    alice = a_day(1.0)
    first = allowance.reserve(alice, 0.6)
    assert allowance.spent(alice) == 0.6
    refused(lambda: allowance.reserve(alice, 0.6))
    allowance.settle(first, 0.1)
    assert allowance.spent(alice) == pytest.approx(0.1)
    allowance.settle(allowance.reserve(alice, 0.6), None)
    assert allowance.spent(alice) == pytest.approx(0.7)


def test_a_spent_day_ends_at_midnight(allowance: Quotas, clock: Clock) -> None:
    alice = a_day(1.0)
    allowance.reserve(alice, 0.75)
    error = refused(lambda: allowance.reserve(alice, 0.5))
    assert (error.status, error.code, error.retry_after) == (429, "insufficient_quota", HALF_A_DAY)
    assert "$0.2500 of $1 left until midnight UTC" in str(error)
    clock.now += HALF_A_DAY - 1
    assert refused(lambda: allowance.reserve(alice, 0.5)).retry_after == 1
    clock.now += 1
    allowance.reserve(alice, 1.0)


def test_what_no_day_allows_is_not_told_to_wait(allowance: Quotas) -> None:
    for worst in (1.5, float("inf"), float("nan"), -1.0):
        error = refused(lambda worst=worst: allowance.reserve(a_day(1.0), worst))  # type: ignore[misc]
        assert (error.code, "retry-after" in error.headers) == ("insufficient_quota", False)
    assert allowance.spent(a_day(1.0)) == 0


def test_a_request_counts_on_the_day_it_was_sent(allowance: Quotas, clock: Clock) -> None:
    alice = a_day(1.0)
    late = allowance.reserve(alice, 1.0)
    clock.now += HALF_A_DAY
    early = allowance.reserve(alice, 0.8)
    allowance.settle(late, 0.2)
    assert allowance.spent(alice) == 0.8
    allowance.settle(early, 0.3)
    assert allowance.spent(alice) == pytest.approx(0.3)


def test_settling_twice_gives_nothing_back_twice(allowance: Quotas) -> None:
    alice = a_day(1.0)
    allowance.reserve(alice, 0.5)
    again = allowance.reserve(alice, 0.4)
    for _ in range(3):
        allowance.settle(again, 0.0)
    assert allowance.spent(alice) == pytest.approx(0.5)


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf"), -3.0])
def test_a_cost_that_cannot_be_is_unknown(allowance: Quotas, nonsense: float) -> None:
    allowance.settle(allowance.reserve(a_day(1.0), 0.5), nonsense)
    assert allowance.spent(a_day(1.0)) == 0.5


def test_what_cost_more_than_its_worst_counts_in_full(allowance: Quotas) -> None:
    allowance.settle(allowance.reserve(a_day(1.0), 0.5), 3.0)
    assert allowance.spent(a_day(1.0)) == 3.0
    assert "$0.0000 of $1 left" in str(refused(lambda: allowance.reserve(a_day(1.0), 0.01)))


def test_without_a_limit_anything_goes_and_nothing_is_written(allowance: Quotas) -> None:
    for worst in (1e9, float("inf"), float("nan")):
        allowance.settle(allowance.reserve(ANYONE, worst), 1.0)
    assert allowance.spent(ANYONE) == 0


Step = tuple[str, float, float, int]
steps = st.tuples(st.sampled_from("ab"), st.floats(0, 0.6), st.floats(0, 1.5) | st.just(-1.0), st.integers(0, 5))


@given(st.lists(steps, max_size=40))
def test_settled_and_open_dollars_pass_the_days_only_by_what_requests_cost_beyond_their_worst(done: list[Step]) -> None:
    """Each step settles an open request at a share of its worst (unknown below 0), then tries to send another."""
    clock = Clock()
    pending: list[Reservation] = []
    counted = {"a": 0.0, "b": 0.0}
    beyond = {"a": 0.0, "b": 0.0}
    with Quotas(clock=clock, steady=clock) as allowance:
        for name, worst, share, which in done:
            if which < len(pending):
                settled = pending.pop(which)
                cost = settled.worst * share if share >= 0 else None
                allowance.settle(settled, cost)
                counted[settled.name] += 0.0 if cost is None else cost - settled.worst
                beyond[settled.name] += max(0.0, 0.0 if cost is None else cost - settled.worst)
            if counted[name] + worst <= 1.0 - 1e-9:
                pending.append(allowance.reserve(a_day(1.0, name), worst))
                counted[name] += worst
            elif counted[name] + worst > 1.0 + 1e-9:
                refused(lambda name=name, worst=worst: allowance.reserve(a_day(1.0, name), worst))  # type: ignore[misc]
            for each in "ab":
                assert allowance.spent(a_day(1.0, each)) == pytest.approx(max(0.0, counted[each]), abs=1e-9)
                assert counted[each] <= 1.0 + beyond[each] + 1e-9


def test_dollars_outlast_the_server(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "new" / "spent.sqlite"
    with Quotas(path, clock) as before:
        before.settle(before.reserve(a_day(1.0), 0.9), 0.25)
    with Quotas(path, clock) as after:
        assert after.spent(a_day(1.0)) == pytest.approx(0.25)


def test_what_was_in_flight_when_the_server_was_killed_counts_at_its_worst(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "spent.sqlite"
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from divcon.serve.http.quotas import Quotas\n"
        "from divcon.serve.http.keys import Caller\n"
        f"quotas = Quotas(Path(sys.argv[1]), lambda: {NOON})\n"
        "alice = Caller('alice', None, 1.0)\n"
        "quotas.settle(quotas.reserve(alice, 0.5), 0.125)\n"
        "quotas.reserve(alice, 0.5)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = os.environ.get("DIVCON_INSTALLED") or ROOT
    killed = subprocess.run([sys.executable, "-c", code, str(path)], cwd=root)
    assert killed.returncode == -signal.SIGKILL
    with Quotas(path, clock) as allowance:
        assert allowance.spent(a_day(1.0)) == 0.625


def test_servers_that_share_a_file_do_not_pass_the_limit_together(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "spent.sqlite"

    def serve(_: int) -> int:
        sent = 0
        with Quotas(path, clock) as allowance:
            for _ in range(40):
                with suppress(APIError):
                    allowance.reserve(a_day(1.0), 1 / 64)
                    sent += 1
        return sent

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(serve, range(4))) == 64


def test_a_damaged_file_is_refused_at_the_start(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "spent.sqlite"
    path.write_bytes(b"not a database at all, " * 100)
    with pytest.raises(ConfigError, match=r"spent\.sqlite: file is not a database; restore that file"):
        Quotas(path)
    path.unlink()
    with Quotas(path, clock) as allowance:
        for i in range(300):
            allowance.reserve(a_day(1.0, f"key-{i}-{'x' * 50}"), 0.5)
    data = bytearray(path.read_bytes())
    data[4096 + 64 : -64] = bytes(len(data) - 4096 - 128)
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"spent\.sqlite: .*(damaged|malformed)"):
        Quotas(path)


def test_a_database_of_another_kind_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE spent (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="a database of another kind"):
        Quotas(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "in-the-way").write_text("")
    for path in (tmp_path, tmp_path / "in-the-way" / "spent.sqlite"):
        with pytest.raises(ConfigError, match="cannot keep what keys have spent"):
            Quotas(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes where it likes")
def test_a_file_that_may_only_be_read_is_refused_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "spent.sqlite"
    Quotas(path).close()
    path.chmod(0o400)
    with pytest.raises(ConfigError, match="readonly"):
        Quotas(path)


def test_what_cannot_be_written_down_is_not_sent(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with Quotas(tmp_path / "spent.sqlite", clock) as allowance:
        begun = allowance.reserve(a_day(1.0), 0.5)
        allowance._db.execute("PRAGMA query_only=ON")
        error = refused(lambda: allowance.reserve(a_day(1.0), 0.25))
        assert (error.status, error.retry_after) == (503, 5.0)
        allowance.settle(begun, 0.1)
        assert allowance.spent(a_day(1.0)) == 0.5
    assert len(caplog.messages) == 2


# Requests at once


class Visitor:
    """A request that stays until it is let go."""

    def __init__(self, gate: AdmissionQueue) -> None:
        self.inside = False
        self.may_go = asyncio.Event()
        self.task = asyncio.create_task(self._visit(gate))

    async def _visit(self, gate: AdmissionQueue) -> None:
        async with gate.place():
            self.inside = True
            try:
                await self.may_go.wait()
            finally:
                self.inside = False

    async def leave(self) -> None:
        self.may_go.set()
        await self.task


async def settle(turns: int = 5) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


async def visitors(gate: AdmissionQueue, count: int) -> list[Visitor]:
    """So many, one after another."""
    made = []
    for _ in range(count):
        made.append(Visitor(gate))
        await settle()
    return made


def test_so_many_at_once_and_the_others_in_their_order() -> None:
    async def main() -> None:
        gate = AdmissionQueue(2, 3, queue_timeout=60)
        came = await visitors(gate, 5)
        for first in range(4):
            inside = [visitor.inside for visitor in came]
            assert inside == [first <= i < first + 2 for i in range(5)]
            assert (gate.running, gate.waiting) == (sum(inside), max(0, 3 - first))
            await came[first].leave()
            await settle()
        await came[4].leave()
        assert (gate.running, gate.waiting) == (0, 0)

    asyncio.run(main())


def test_one_too_many_is_told_at_once() -> None:
    async def main() -> None:
        gate = AdmissionQueue(1, 1, queue_timeout=60)
        came = await visitors(gate, 3)
        assert came[2].task.done()
        error = came[2].task.exception()
        assert isinstance(error, APIError) and (error.status, error.retry_after) == (429, 1.0)
        assert str(error) == "the server is busy: 1 running, 1 waiting; try again in 1 s"
        for visitor in came[:2]:
            await visitor.leave()

    asyncio.run(main())


def test_who_has_waited_too_long_is_told_so_and_leaves_no_trace() -> None:
    async def main() -> None:
        gate = AdmissionQueue(1, 2, queue_timeout=0.02)
        first, second = await visitors(gate, 2)
        with pytest.raises(APIError, match=r"no place became free in 0\.02 s"):
            await second.task
        assert (gate.running, gate.waiting) == (1, 0)
        (third,) = await visitors(gate, 1)
        await first.leave()
        await settle()
        assert third.inside
        await third.leave()
        assert gate.running == 0

    asyncio.run(main())


def test_a_place_is_given_back_when_the_request_fails() -> None:
    async def main() -> None:
        gate = AdmissionQueue(1, 0, queue_timeout=0)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                async with gate.place():
                    _ = 1 / 0
        assert gate.running == 0

    asyncio.run(main())


def test_who_gives_up_waiting_is_passed_over() -> None:
    async def main() -> None:
        gate = AdmissionQueue(1, 2, queue_timeout=60)
        first, second, third = await visitors(gate, 3)
        second.task.cancel()
        await settle()
        assert second.task.cancelled() and gate.waiting == 1
        await first.leave()
        await settle()
        assert third.inside
        await third.leave()
        assert gate.running == 0

    asyncio.run(main())


def test_a_place_that_comes_together_with_the_end_of_its_waiter_goes_to_the_next() -> None:
    async def main() -> None:
        gate = AdmissionQueue(1, 2, queue_timeout=60)
        first, second, third = await visitors(gate, 3)
        first.may_go.set()
        await asyncio.sleep(0)  # first has handed its place to second, who has not woken yet
        second.task.cancel()
        await settle()
        assert second.task.cancelled() and third.inside and gate.running == 1
        await third.leave()
        assert gate.running == 0

    asyncio.run(main())


def test_how_long_to_wait_follows_from_how_long_requests_take() -> None:
    async def main() -> None:
        clock = Clock()
        gate = AdmissionQueue(2, 3, queue_timeout=60, clock=clock)
        for _ in range(30):
            async with gate.place():
                clock.now += 6
        came = await visitors(gate, 6)
        error = came[5].task.exception()
        assert isinstance(error, APIError) and error.retry_after == pytest.approx(12)  # 3 wait, and it is the fourth
        for visitor in came[:5]:
            visitor.may_go.set()
        await asyncio.gather(*(visitor.task for visitor in came[:5]))

    asyncio.run(main())


Move = tuple[str, int]
moves = st.tuples(st.sampled_from(["come", "turn", "cancel", "go"]), st.integers(0, 7))


async def _crowd(gate: AdmissionQueue, at_once: int, waiting: int, done: list[Move]) -> None:
    came: list[Visitor] = []
    for what, which in done:
        if what == "come":
            came.append(Visitor(gate))
        elif what == "turn":
            await (asyncio.sleep(0.001) if which == 0 else settle(which))
        elif came and what == "go":
            came[which % len(came)].may_go.set()
        elif came:
            came[which % len(came)].task.cancel()
        inside = sum(visitor.inside for visitor in came)
        assert inside <= gate.running <= at_once and 0 <= gate.waiting <= waiting
    await settle()
    assert sum(visitor.inside for visitor in came) == gate.running  # every place is somebody's
    assert gate.waiting == 0 or gate.running == at_once  # nobody waits beside a free one
    for visitor in came:
        visitor.may_go.set()
    ended = await asyncio.gather(*(visitor.task for visitor in came), return_exceptions=True)
    assert all(end is None or isinstance(end, APIError | asyncio.CancelledError) for end in ended)
    assert (gate.running, gate.waiting) == (0, 0)


@settings(max_examples=400)
@given(st.integers(1, 3), st.integers(0, 4), st.sampled_from([60.0, 0.001, 0.0]), st.lists(moves, max_size=60))
def test_no_place_is_lost_whoever_gives_up_and_when(
    at_once: int, waiting: int, patience: float, done: list[Move]
) -> None:
    asyncio.run(_crowd(AdmissionQueue(at_once, waiting, patience), at_once, waiting, done))


def test_requests_hold_so_many_bytes_together_and_give_them_back() -> None:
    room = MemoryBudget(100)
    with room.taken() as mine:
        mine(60)
        with pytest.raises(APIError) as refused, room.taken() as yours:
            yours(30)
            yours(30)
        assert refused.value.status == 429
        assert room.held == 60
    assert room.held == 0
