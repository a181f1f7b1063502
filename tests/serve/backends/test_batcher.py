"""What goes together, what waits, and what is refused: the queue in front of a model of one's own."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from divcon.core.errors import ModelError
from divcon.serve.backends.batcher import Batcher
from divcon.serve.pipeline.errors import APIError


class Work:
    """Doubles numbers, once it is let: each batch waits for its permit."""

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.permits = threading.Semaphore(0 if held else 10**6)
        self.begun = threading.Semaphore(0)

    def __call__(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        self.begun.release()
        assert self.permits.acquire(timeout=30)
        if 13 in items:
            raise ValueError("unlucky")
        return [2 * item for item in items]

    async def until_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=30)


def run(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), 60))


async def settled() -> None:
    """After what is ready has run."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_what_comes_while_a_batch_runs_goes_together_afterwards() -> None:
    async def scene() -> None:
        work = Work(held=True)
        batcher = Batcher(work, most=4, max_queue=10)
        first = asyncio.create_task(batcher.submit(1))
        await work.until_begun()
        rest = [asyncio.create_task(batcher.submit(i)) for i in range(2, 9)]
        await settled()
        assert batcher.queued == 7
        work.permits.release(10)
        assert await asyncio.gather(first, *rest) == [2 * i for i in range(1, 9)]
        assert work.batches == [[1], [2, 3, 4, 5], [6, 7, 8]]
        await batcher.close()

    run(scene)


def test_what_comes_at_once_to_an_idle_worker_is_one_batch_without_delay() -> None:
    async def scene() -> None:
        work = Work()
        batcher = Batcher(work, most=8, max_queue=0)
        started = time.perf_counter()
        assert await asyncio.gather(*(batcher.submit(i) for i in range(8))) == list(range(0, 16, 2))
        assert time.perf_counter() - started < 1.0
        assert work.batches == [list(range(8))]
        await batcher.close()

    run(scene)


def test_a_full_queue_refuses_and_says_when_to_come_again() -> None:
    async def scene() -> None:
        work = Work(held=True)
        batcher = Batcher(work, most=1, max_queue=2)
        tasks = [asyncio.create_task(batcher.submit(1))]
        await work.until_begun()
        tasks += [asyncio.create_task(batcher.submit(i)) for i in (2, 3)]
        await settled()
        with pytest.raises(APIError) as refused:
            await batcher.submit(4)
        assert refused.value.status == 429 and float(refused.value.headers["retry-after"]) >= 1
        work.permits.release(3)
        assert await asyncio.gather(*tasks) == [2, 4, 6]
        await batcher.close()

    run(scene)


def test_several_items_are_queued_all_or_none() -> None:
    async def scene() -> None:
        work = Work(held=True)
        batcher = Batcher(work, most=2, max_queue=3)
        running = asyncio.create_task(batcher.submit(1))
        await work.until_begun()
        with pytest.raises(APIError):
            batcher.put([2, 3, 4, 5])
        assert batcher.queued == 0
        waiting = batcher.put([2, 3, 4])
        work.permits.release(3)
        assert await waiting == [4, 6, 8] and await running == 2
        await batcher.close()

    run(scene)


def test_whoever_gives_up_while_waiting_leaves_a_place() -> None:
    async def scene() -> None:
        work = Work(held=True)
        batcher = Batcher(work, most=1, max_queue=1)
        running = asyncio.create_task(batcher.submit(1))
        await work.until_begun()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(batcher.submit(2), 0.01)
        await settled()
        assert batcher.queued == 0
        later = asyncio.create_task(batcher.submit(3))
        await settled()
        work.permits.release(2)
        assert (await running, await later) == (2, 6)
        assert work.batches == [[1], [3]]
        await batcher.close()

    run(scene)


@pytest.mark.parametrize("most", [1, 2, 3, 8])
def test_a_failure_reaches_the_item_that_it_is_about_and_no_other(most: int) -> None:
    async def scene() -> None:
        work = Work()
        batcher = Batcher(work, most=most, max_queue=10)
        asked = (batcher.submit(i) for i in (1, 2, 13, 4, 5))
        outcomes: list[object] = list(await asyncio.gather(*asked, return_exceptions=True))
        assert isinstance(outcomes.pop(2), ValueError)
        assert outcomes == [2, 4, 8, 10]
        assert await batcher.submit(6) == 12
        await batcher.close()

    run(scene)


@pytest.mark.parametrize("error", [StopIteration(), SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError()])
def test_whatever_the_work_raises_the_worker_goes_on(error: BaseException) -> None:
    def work(items: list[int]) -> list[int]:
        if 0 in items:
            raise error
        return items

    async def scene() -> None:
        batcher = Batcher(work, most=1, max_queue=10)
        with pytest.raises(RuntimeError, match=type(error).__name__):
            await batcher.submit(0)
        assert await batcher.submit(1) == 1
        await batcher.close()

    run(scene)


def test_results_that_are_missing_are_an_error() -> None:
    async def scene() -> None:
        batcher: Batcher[int, int] = Batcher(lambda items: items[1:], most=4, max_queue=4)
        with pytest.raises(RuntimeError, match="1 items went in, and 0 results came out"):
            await batcher.submit(0)
        await batcher.close()

    run(scene)


def test_closing_finishes_what_has_begun_and_fails_what_waits() -> None:
    async def scene() -> None:
        work = Work(held=True)
        batcher = Batcher(work, most=1, max_queue=5)
        running = asyncio.create_task(batcher.submit(1))
        await work.until_begun()
        waiting = asyncio.create_task(batcher.submit(2))
        await settled()
        closing = asyncio.create_task(batcher.close())
        with pytest.raises(ModelError, match="shut down"):
            await waiting
        with pytest.raises(ModelError, match="shut down"):
            await batcher.submit(3)
        work.permits.release()
        assert await running == 2
        await closing
        await batcher.close()
        assert work.batches == [[1]]

    run(scene)


def test_no_thread_is_left() -> None:
    before = threading.active_count()

    async def scene() -> None:
        for _ in range(20):
            batcher = Batcher(Work(), most=4, max_queue=4)
            assert await batcher.submit(1) == 2
            await batcher.close()
            await batcher.close()
        await Batcher(Work(), most=4, max_queue=4).close()

    run(scene)
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_a_loop_that_ends_under_a_running_batch_leaves_nobody_hanging() -> None:
    work = Work(held=True)
    outcomes: list[object] = []

    async def wanting(batcher: Batcher[int, int], item: int) -> None:
        try:
            await batcher.submit(item)
        except asyncio.CancelledError:
            outcomes.append(item)
            raise

    async def scene() -> None:
        batcher = Batcher(work, most=1, max_queue=5)
        tasks = [asyncio.create_task(wanting(batcher, i)) for i in (1, 2)]
        await work.until_begun()
        assert len(tasks) == 2  # and the loop ends without a word

    asyncio.run(scene())
    work.permits.release(5)
    assert sorted(outcomes, key=str) == [1, 2]


def test_batches_are_measured() -> None:
    sizes: list[tuple[int, float]] = []

    async def scene() -> None:
        batcher = Batcher(Work(), most=3, max_queue=9, on_batch=lambda size, seconds: sizes.append((size, seconds)))
        await asyncio.gather(*(batcher.submit(i) for i in (1, 2, 3, 13)), return_exceptions=True)
        await batcher.close()

    run(scene)
    assert [size for size, _ in sizes] == [3, 1] and all(seconds >= 0 for _, seconds in sizes)


@pytest.mark.parametrize("seed", range(3))
def test_a_thousand_who_come_and_go_each_get_their_own(seed: int) -> None:
    chance = random.Random(seed)
    work_done: list[int] = []

    def work(items: list[int]) -> list[int]:
        assert 0 < len(items) <= 16
        time.sleep(chance.random() / 200)
        work_done.extend(items)
        return [item * item for item in items]

    async def one(batcher: Batcher[int, int], item: int) -> int | None:
        await asyncio.sleep(chance.random() / 5)
        try:
            return await batcher.submit(item)
        except APIError:
            return None

    async def scene() -> None:
        batcher = Batcher(work, most=16, max_queue=200)
        tasks = [asyncio.create_task(one(batcher, i)) for i in range(1000)]
        gone = set()
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0.002)
            for i in chance.sample(range(1000), 5):
                if not tasks[i].done():
                    tasks[i].cancel()
                    gone.add(i)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        refused = sum(outcome is None for outcome in outcomes)
        for i, outcome in enumerate(outcomes):
            assert outcome in (i * i, None) or (i in gone and isinstance(outcome, asyncio.CancelledError))
        assert gone and refused < 1000 and batcher.queued == 0
        assert len(work_done) == len(set(work_done))
        assert {i for i, outcome in enumerate(outcomes) if outcome == i * i} <= set(work_done)
        await batcher.close()

    run(scene)
