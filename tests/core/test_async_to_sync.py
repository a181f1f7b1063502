"""Coroutines without an event loop: their results, their errors, and streams that somebody leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from divcon.core.async_to_sync import iter_sync, run_sync


async def doubled(n: int) -> int:
    return 2 * n


async def chained(n: int) -> int:
    if n > 3:
        raise ValueError("too many")
    return await doubled(await doubled(n))


async def counting(closed: list[str]) -> AsyncGenerator[int, None]:
    try:
        for n in range(3):
            yield await doubled(n)
    finally:
        closed.append("closed")


def test_a_coroutine_comes_to_its_result_or_raises() -> None:
    assert run_sync(chained(3)) == 12
    with pytest.raises(ValueError, match="too many"):
        run_sync(chained(4))


def test_a_coroutine_that_waits_for_a_loop_is_refused() -> None:
    with pytest.raises(RuntimeError, match="waits for an event loop"):
        run_sync(asyncio.sleep(0))


def test_it_runs_inside_a_loop_and_in_many_threads_at_once() -> None:
    async def inside() -> int:
        return run_sync(chained(2))  # as where a client for threads is used in a notebook

    assert asyncio.run(inside()) == 8
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda n: run_sync(chained(n % 3)), range(300))) == [4 * (n % 3) for n in range(300)]


def test_a_generator_is_closed_when_it_ends_and_when_it_is_left() -> None:
    closed: list[str] = []
    assert list(iter_sync(counting(closed))) == [0, 2, 4] and closed == ["closed"]
    items = iter_sync(counting(closed))
    assert next(items) == 0
    items.close()  # type: ignore[attr-defined]  # it is a generator
    assert closed == ["closed"] * 2


def test_a_loop_that_ends_closes_no_stream_that_began_in_its_thread() -> None:
    closed: list[str] = []

    async def begins() -> Iterator[int]:
        items = iter_sync(counting(closed))
        assert next(items) == 0
        return items

    assert list(asyncio.run(begins())) == [2, 4] and closed == ["closed"]
