"""Decompositions that are made once: for threads and for an event loop, remembered, forgotten, and failed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from divcon.lm.types import Usage
from divcon.serve.backends.batcher import Batcher
from divcon.serve.backends.decomposer_cache import BatchedDecomposer, BlockingDecomposer
from divcon.serve.pipeline.types import DecomposeRequest, DecomposeResult


class Making:
    """Makes decompositions when it is let, or fails."""

    def __init__(self, *, fails: int = 0) -> None:
        self.asked: list[str] = []
        self.let = threading.Event()
        self.let.set()
        self.fails = fails

    def __call__(self, wanted: Sequence[DecomposeRequest]) -> list[DecomposeResult]:
        self.asked += [each.question for each in wanted]
        self.let.wait(30)
        if self.fails:
            self.fails -= 1
            raise OSError("no memory left")
        return [DecomposeResult((each.question,), "asked", each.question, Usage(3, 2)) for each in wanted]


def wants(question: str) -> DecomposeRequest:
    return DecomposeRequest(question, 4)


def test_threads_that_want_one_decomposition_at_once_have_it_made_once() -> None:
    making = Making()
    making.let.clear()
    decomposer = BlockingDecomposer(making)
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(decomposer, [wants("a"), wants(f"b{i % 2}")]) for i in range(8)]
        making.let.set()
        found = [each.result(30) for each in waiting]
    assert sorted(making.asked) == ["a", "b0", "b1"]
    assert [one.made.id for one, _ in found] == ["a"] * 8
    assert sum(not one.was_there for both in found for one in both) == 3


def test_a_failure_is_not_remembered() -> None:
    making = Making(fails=1)
    decomposer = BlockingDecomposer(making)
    with pytest.raises(OSError, match="no memory"):
        decomposer([wants("a"), wants("b")])
    assert [one.was_there for one in decomposer([wants("a"), wants("b"), wants("a")])] == [False, False, True]


def test_threads_are_not_told_of_one_anothers_failures() -> None:
    making = Making()

    def picky(wanted: Sequence[DecomposeRequest]) -> list[DecomposeResult]:
        made = making(wanted)
        if any(each.question == "bad" for each in wanted):
            raise KeyboardInterrupt if len(wanted) == 1 else OSError("no memory left")
        return made

    decomposer = BlockingDecomposer(picky)
    making.let.clear()
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(decomposer, [wants("bad"), wants("good")]), pool.submit(decomposer, [wants("good")])]
        making.let.set()
        assert both[1].result(30)[0].made.id == "good"
        assert isinstance(both[0].exception(30), OSError)
    with pytest.raises(KeyboardInterrupt):
        decomposer([wants("bad")])
    assert decomposer([wants("good")])[0].was_there


def test_what_was_not_asked_for_longest_is_forgotten_first() -> None:
    making = Making()
    decomposer = BlockingDecomposer(making, most=2)
    for question in ("a", "b", "a", "c", "a", "b"):
        decomposer([wants(question)])
    assert making.asked == ["a", "b", "c", "b"]


def test_in_an_event_loop_a_timeout_of_one_is_none_of_the_others() -> None:
    making = Making()
    making.let.clear()

    async def scene() -> None:
        decomposer = BatchedDecomposer(Batcher(making, most=4, max_queue=8), most=10)
        patient = [asyncio.create_task(decomposer(wants("a"), 30.0)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            await decomposer(wants("a"), 0.05)
        making.let.set()
        assert [each.was_there for each in await asyncio.gather(*patient)] == [False, True]
        assert (await decomposer(wants("a"), 0.05)).was_there and len(decomposer) == 1
        assert not (await decomposer(wants("a"), 30.0, "another caller")).was_there

    asyncio.run(scene())
    assert making.asked == ["a", "a"]


def test_in_an_event_loop_a_failure_is_not_remembered() -> None:
    making = Making(fails=1)

    async def scene() -> None:
        decomposer = BatchedDecomposer(Batcher(making, most=4, max_queue=8), most=10)
        with pytest.raises(OSError, match="no memory"):
            await decomposer(wants("a"), 30.0)
        assert not (await decomposer(wants("a"), 30.0)).was_there

    asyncio.run(scene())
