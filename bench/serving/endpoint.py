"""What `divcon serve` costs its clients, and whether it stays as it began.

    python -m bench.serving.endpoint [latency|throughput|batching|soak] [DECOMPOSER]

Everything runs on this machine, against `tests/fakes/chat_upstream.py`, which answers at once; DECOMPOSER is
`runs/miniature/decomposer` unless said otherwise. The server has a core to itself, the upstream and the clients share
the others. What is compared takes turns. docs/serving.md holds the figures.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice, repeat
from typing import NamedTuple

import psutil

from divcon.tasks.miniature.splits import problems
from tests.fakes.chat_upstream import chatting
from tests.fakes.serving import Served, chat, request, serving
from tests.fakes.upstream import Server

from .load import Load, Send, asking, closed, scheduled

DECOMPOSER = "runs/miniature/decomposer"
PEARS = "Mia has 4 crates of pears. She eats 7 pears. How many pears are left?"
OFF = {"x-divcon-mode": "off"}
KINDS = {
    "directly": chat(PEARS),
    "mode off": chat(PEARS, OFF),
    "remembered decomposition": chat(PEARS),
    "mode off, streamed": chat(PEARS, OFF, stream=True),
}
"""What is asked, by name; the first goes to the upstream itself."""


class Machines(NamedTuple):
    """What is running."""

    served: Served
    upstream: Server

    def url(self, kind: str) -> str:
        return self.upstream.url if kind == "directly" else self.served.url


@contextmanager
def machines(decomposer: str) -> Iterator[Machines]:
    """A server, warm, before its upstream."""
    words = ("--decomposer", decomposer, "--model", "m")
    alone = {"OMP_NUM_THREADS": "1"}  # threads that share a core wait for one another, busily
    with chatting() as behind, serving("--upstream", behind.url, *words, variables=alone) as served:
        made = Machines(served, behind)
        server, *others = sorted(os.sched_getaffinity(0))
        confine(served.process.pid, {server})
        confine(behind.process.pid, set(others))
        confine(os.getpid(), set(others))
        try:
            for kind, asked in KINDS.items():
                load = asyncio.run(closed(made.url(kind), repeat(asking(asked), 300), 4))
                assert load.outcomes == {200: 300}, (kind, load.outcomes)
            yield made
        finally:
            confine(os.getpid(), {server, *others})


def confine(pid: int, cores: set[int]) -> None:
    """Every thread of a process runs on these alone, and so do those that they start."""
    for thread in psutil.Process(pid).threads():
        os.sched_setaffinity(thread.id, cores)


def quantiles(latencies: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile, in milliseconds."""
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    return 1000 * cuts[49], 1000 * cuts[98]


def spread(values: Sequence[float], digits: int = 2) -> str:
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


def latency(decomposer: str, rate: float = 50.0, seconds: float = 20.0, rounds: int = 5) -> None:
    """What the server adds at a rate that leaves it time."""
    kinds = [kind for kind in KINDS if "streamed" not in kind]
    loads: dict[str, list[Load]] = {kind: [] for kind in kinds}
    with machines(decomposer) as running:
        for number in range(rounds):
            for kind in kinds[number % 3 :] + kinds[: number % 3]:
                sends = repeat(asking(KINDS[kind]), int(rate * seconds))
                loads[kind].append(asyncio.run(scheduled(running.url(kind), sends, rate)))
    late = max(load.late for of_kind in loads.values() for load in of_kind)
    print(f"{rate:g} requests a second at their times, {seconds:g} s of each in turns, {rounds} rounds; ", end="")
    print(f"{int(rate * seconds) * rounds:,} requests of each, sent {1000 * late:.1f} ms late at most")
    print("\n| | p50, ms | p99, ms | p50 added, by round | p99 added, by round | not 200 |")
    print("|---|---:|---:|---:|---:|---:|")
    by_round = {kind: [quantiles(load.latencies) for load in loads[kind]] for kind in kinds}
    for kind in kinds:
        p50, p99 = quantiles([each for load in loads[kind] for each in load.latencies])
        added = [(a[0] - b[0], a[1] - b[1]) for a, b in zip(by_round[kind], by_round[kinds[0]], strict=True)]
        more = [spread([pair[i] for pair in added]) if kind != kinds[0] else "" for i in (0, 1)]
        failed = sum(load.outcomes.total() - load.outcomes[200] for load in loads[kind])
        print(f"| {kind} | {p50:.2f} | {p99:.2f} | {' | '.join(more)} | {failed} |")


def throughput(decomposer: str, calls: int = 3_000, rounds: int = 3) -> None:
    """As fast as one core allows."""
    rates: dict[tuple[str, int], list[float]] = {}
    processor: dict[tuple[str, int], list[float]] = {}
    waits: dict[tuple[str, int], list[float]] = {}
    with machines(decomposer) as running:
        for _, connections, kind in itertools.product(range(rounds), (32, 64), KINDS):
            before = running.served.processor()
            load = asyncio.run(closed(running.url(kind), repeat(asking(KINDS[kind]), calls), connections))
            assert load.outcomes == {200: calls}, load.outcomes
            rates.setdefault((kind, connections), []).append(load.rate)
            processor.setdefault((kind, connections), []).append(1000 * (running.served.processor() - before) / calls)
            waits.setdefault((kind, connections), []).append(quantiles(load.latencies)[1])
    print(f"{calls:,} requests, one after the other on each connection, {rounds} rounds; the server on one core")
    print("\n| | connections | requests a second | the server's processor time a request, ms | p99, ms |")
    print("|---|---:|---:|---:|---:|")
    for kind, connections in rates:
        key = kind, connections
        took = "" if kind == "directly" else spread(processor[key])
        print(f"| {kind} | {connections} | {spread(rates[key], 0)} | {took} | {spread(waits[key], 0)} |")


def distinct() -> Iterator[Send]:
    """Questions that nobody asked before."""
    return (asking(chat(problem.text)) for problem in problems("known-known", seed=1))


def batching(decomposer: str, rounds: int = 5) -> None:
    """Questions that come together are decomposed together."""
    sends = distinct()
    calls = {1: 64, 32: 384}
    rates: dict[int, list[float]] = {1: [], 32: []}
    processor: dict[int, list[float]] = {1: [], 32: []}
    with machines(decomposer) as running:
        for connections in (1, 32):
            asyncio.run(closed(running.served.url, islice(sends, 64), connections))
        for number in range(rounds):
            for connections in (1, 32) if number % 2 else (32, 1):
                before = running.served.processor()
                load = asyncio.run(closed(running.served.url, islice(sends, calls[connections]), connections))
                assert load.outcomes == {200: calls[connections]}, load.outcomes
                rates[connections].append(load.rate)
                processor[connections].append(1000 * (running.served.processor() - before) / calls[connections])
    ratios = [together / alone for together, alone in zip(rates[32], rates[1], strict=True)]
    print(f"Questions that differ, each decomposed by {decomposer}, {rounds} rounds in turns; the server on one core")
    print("\n| at once | requests a second | the server's processor time a request, ms |\n|---:|---:|---:|")
    for connections, found in rates.items():
        print(f"| {connections} | {spread(found, 1)} | {spread(processor[connections], 1)} |")
    print(f"\nRatio, by round: {spread(ratios, 1)}")


def soak(decomposer: str, calls: int = 100_000, each: int = 5_000) -> None:
    """A hundred thousand requests of all kinds."""
    draw = random.Random(0)
    question = distinct()
    broken = request("POST", "/v1/chat/completions", b'{"model": "m"')

    def leaving(fault: str, *, stream: bool) -> Send:
        asked = chat(f"{PEARS} fault:{fault}", OFF, stream=stream)
        return lambda caller: caller.leave(asked, draw.uniform(0.002, 0.03))

    kinds: list[tuple[int, Send]] = [
        (40, asking(KINDS["remembered decomposition"])),
        (20, asking(KINDS["mode off"])),
        (15, asking(KINDS["mode off, streamed"])),
        (8, asking(chat(PEARS, stream=True))),
        (4, asking(chat(f"{PEARS} fault:429", OFF))),
        (2, asking(chat(f"{PEARS} fault:reset", OFF))),
        (2, asking(chat(f"{PEARS} fault:reset-mid", OFF, stream=True))),
        (2, asking(broken)),
        (2, asking(request("GET", "/metrics"))),
        (2, leaving("hang", stream=False)),
        (2, leaving("hang-mid", stream=True)),
        (1, leaving("endless", stream=True)),
    ]
    weights, sends = zip(*kinds, strict=True)

    def some() -> Iterator[Send]:
        for number, send in enumerate(draw.choices(sends, weights, k=each)):
            yield next(question) if number % 1_000 == 0 else send

    outcomes: Counter[int] = Counter()
    began = time.perf_counter()
    with machines(decomposer) as running:
        sizes = []
        for number in range(calls // each + 1):  # the first is to warm up
            outcomes += asyncio.run(closed(running.served.url, some(), 32)).outcomes
            time.sleep(0.5)
            sizes.append(running.served.size())
            print(f"{(number + 1) * each:,}: {json.dumps(sizes[-1]._asdict())}", file=sys.stderr)
        bill = running.upstream.bill()
    print(f"{calls:,} requests after {each:,} to warm up, 32 at once, {time.perf_counter() - began:.0f} s; ", end="")
    print(f"outcomes {dict(sorted(outcomes.items()))}, 0 where the client left; at the end, of the upstream: {bill}")
    print("\n| | after the warm-up | at the end | most | last to first |\n|---|---:|---:|---:|---:|")
    for name, digits in (("megabytes", 1), ("files", 0), ("threads", 0)):
        values = [float(getattr(size, name)) for size in sizes]
        shown = [f"{value:.{digits}f}" for value in (values[0], values[-1], max(values))]
        print(f"| {name} | {' | '.join(shown)} | {values[-1] / values[0]:.3f} |")


SECTIONS = {"latency": latency, "throughput": throughput, "batching": batching, "soak": soak}

if __name__ == "__main__":
    names = [word for word in sys.argv[1:] if word in SECTIONS] or list(SECTIONS)
    (place,) = [word for word in sys.argv[1:] if word not in SECTIONS] or [DECOMPOSER]
    for name in names:
        print(f"\n## {name}\n")
        SECTIONS[name](place)
