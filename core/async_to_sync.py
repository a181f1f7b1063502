"""Coroutines run without an event loop, where they never wait for one: the same code for both kinds of callers."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Awaitable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def run_sync(awaited: Awaitable[T]) -> T:
    """What a coroutine comes to that never waits for a loop. It may block the thread as any call does.

    Raises what it raises, and RuntimeError for one that does wait for a loop.
    """
    steps = awaited.__await__()
    try:
        next(steps)
    except StopIteration as end:
        result: T = end.value
        return result
    raise RuntimeError("this coroutine waits for an event loop")


def iter_sync(items: AsyncGenerator[T, Any]) -> Iterator[T]:
    """The items of an asynchronous generator that never waits for a loop; it is closed when nobody asks on."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)  # a loop that runs in this thread would close the generator at its own end
    try:
        first: Awaitable[T] | None = anext(items)
    finally:
        sys.set_asyncgen_hooks(*hooks)
    try:
        while True:
            try:
                item = run_sync(first or anext(items))
            except StopAsyncIteration:
                return
            first = None
            yield item
    finally:
        run_sync(items.aclose())
