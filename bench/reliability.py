"""What becomes of a run whose server or process fails.

    python -m bench.reliability [faults|money|throughput|kills|processes [COUNT]]...

COUNT is how many calls, histories, kills or processes. `money` needs no socket; everything else runs against
`tests/fakes/upstream.py` on this machine. docs/reliability.md holds the figures.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from openai import AsyncOpenAI

from divcon.eval.grid.rows import ResultRow
from divcon.lm import Message, Model, Request, Sampling, Store
from divcon.lm.api import retry
from divcon.lm.api.engine import OpenAIEngine
from divcon.lm.api.limits import Limits
from divcon.lm.api.spec import ApiSpec
from divcon.lm.cost.prices import Price
from tests.fakes.histories import check, random_history
from tests.fakes.upstream import COMPLETION_PRICE, PROMPT_PRICE, misbehaving

PRICE = Price(prompt=PROMPT_PRICE, completion=COMPLETION_PRICE)


def asked(questions: int, n: int = 1) -> list[Request]:
    how = Sampling(temperature=0.7, max_tokens=40)
    return [Request((Message("user", f"What is {i} and {i}?"),), how, n) for i in range(questions)]


@contextmanager
def stored() -> Iterator[Store]:
    """A store on disk, for as long as a block lasts."""
    with tempfile.TemporaryDirectory() as scratch, Store(Path(scratch) / "store.sqlite") as store:
        yield store


def faults(calls: int = 10_000) -> None:
    """Thirty per cent of the calls go wrong."""
    retry.LONGEST = 0.2
    limits = Limits(concurrency=64, timeout=5.0, attempts=60, timeouts=30)
    with misbehaving(faults=0.3, seed=3, hang=12.0) as server, stored() as store:
        began = time.monotonic()
        engine = OpenAIEngine(ApiSpec("m", base_url=server.url, limits=limits, price=PRICE))
        Model("api", engine, store)(asked(calls))
        seconds, bill, spend = time.monotonic() - began, server.bill(), store.spend()
        print(f"{calls:,} calls wanted, {bill['requests']:,} requests, {seconds:.0f} s; samples kept: {len(store):,}")
        print(f"faults: {json.dumps(bill['faults'])}")
        print(f"the ledger's known ${spend.known:.6f}; the server's clear bill ${bill['said']:.6f}")
        print(f"the ledger's unknown, at worst ${spend.unknown:.6f}; the server's unclear bill ${bill['unclear']:.6f}")
        print(f"attempts without an outcome: {store.unsettled()}")


def money(histories: int = 5_000) -> None:
    """The ledger's range against the bill, through random histories of kills, failures and misreports."""
    tried = Counter[str]()
    began = time.monotonic()
    for seed in range(histories):
        history = random_history(seed)
        tried["batches" if history.is_batched else "calls"] += 1
        tried["kills"] += sum(run.lives is not None for run in history.runs)
        tried["faults"] += len(history.calls)
        check(seed)
    print(
        f"{tried['calls']:,} histories of calls and {tried['batches']:,} of batches, {time.monotonic() - began:.0f} s;"
    )
    print(
        f"{tried['kills']:,} runs were to be killed, {tried['faults']:,} faults to happen; every bill was in its range,"
    )
    print("and nothing delivered was bought twice")


def throughput(calls: int = 2_000, latency: float = 0.1) -> None:
    """No faults; each call takes a tenth of a second. The SDK alone and bare sockets take turns with us."""
    for concurrency in (32, 64, 128):
        ideal = calls / concurrency * latency
        ours, theirs, sockets, processor, again = [], [], [], [], []
        for _ in range(3):
            with misbehaving(latency=latency) as server, stored() as store:
                engine = OpenAIEngine(
                    ApiSpec("m", base_url=server.url, limits=Limits(concurrency=concurrency), price=PRICE)
                )
                model = Model("api", engine, store)
                model(asked(1))  # the client is imported and connected
                took = timed(lambda model=model: model(asked(calls + 1)[1:]))
                ours.append(ideal / took[0])
                processor.append(1000 * took[1] / calls)
                again.append((calls + 1) / timed(lambda model=model: model(asked(calls + 1)))[0])
                assert server.bill()["requests"] == calls + 1
            with misbehaving(latency=latency) as server:
                theirs.append(ideal / timed(lambda url=server.url, n=concurrency: asyncio.run(bare(url, calls, n)))[0])
            with misbehaving(latency=latency) as server:
                took = timed(lambda url=server.url, n=concurrency: asyncio.run(barest(url, calls, n)))
                sockets.append(ideal / took[0])
        print(
            f"{concurrency} at once: {100 * statistics.median(ours):.1f} % of the ideal "
            f"(the SDK alone: {100 * statistics.median(theirs):.1f} %, bare sockets: "
            f"{100 * statistics.median(sockets):.1f} %), {statistics.median(processor):.2f} ms of "
            f"processor time a call; again from the store: {statistics.median(again):,.0f} samples a second, 0 requests"
        )


async def bare(url: str, calls: int, concurrency: int) -> None:
    """The same calls by the SDK and nothing else."""
    client = AsyncOpenAI(api_key="none", base_url=url, max_retries=0)
    waiting = iter(range(calls))

    async def work() -> None:
        for i in waiting:
            await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": f"What is {i} and {i}?"}], max_tokens=40, seed=i
            )

    await asyncio.gather(*(work() for _ in range(concurrency)))
    await client.close()


async def barest(url: str, calls: int, concurrency: int) -> None:
    """The same calls by sockets that are kept open: what the server and the machine allow."""
    place = urlsplit(url)
    waiting = iter(range(calls))

    async def work() -> None:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        for i in waiting:
            turn = [{"role": "user", "content": f"What is {i} and {i}?"}]
            body = json.dumps({"model": "m", "messages": turn, "max_tokens": 40, "seed": i}).encode()
            head = f"POST {place.path}/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            said = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in said.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
        writer.close()

    await asyncio.gather(*(work() for _ in range(concurrency)))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return time.monotonic() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def study(folder: Path, url: str, store: Path | None = None, concurrency: int = 8) -> Path:
    """A study whose LLM is the server, of which everything but training is run."""
    questions = [json.dumps({"id": str(i), "question": f"What is {i} and {i}?", "answer": "7"}) for i in range(40)]
    (folder / "train.jsonl").write_text("\n".join(questions[:20]), encoding="utf-8")
    (folder / "test.jsonl").write_text("\n".join(questions[20:]), encoding="utf-8")
    llm = {"engine": "openai", "model": "m", "base_url": url, "concurrency": concurrency, "together": False}
    config = {
        "train": {"source": "jsonl", "path": str(folder / "train.jsonl")},
        "tests": {"mine": {"source": "jsonl", "path": str(folder / "test.jsonl")}},
        "llm": {**llm, "price": {"prompt": PROMPT_PRICE, "completion": COMPLETION_PRICE}},
        "student": {"engine": "transformers", "path": "miniature/base"},
        "grid": {"decomposers": ["none", "llm"], "solvers": ["llm"], "samples": 4},
        "solve": {"max_tokens": 40},
        "decompose": {"max_tokens": 40},
        **({"store": str(store)} if store else {}),
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def start(config: Path, run: Path) -> subprocess.Popen[bytes]:
    """Collect and evaluate in a process of its own."""
    code = "import sys; from divcon import commands; c, r = sys.argv[1:]; "
    code += "commands.collect(c, run=r); commands.evaluate(c, run=r)"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code, str(config), str(run)], env=environment, stderr=subprocess.PIPE
    )


def rows(run: Path) -> list[ResultRow]:
    """The results without what a clock says."""
    from divcon.eval.grid import results

    return [row.drop_timings() for row in results.read(run / "results.parquet")]


def kills(times: int = 50, concurrency: int = 8) -> None:
    """kill -9 at random points of collecting and evaluating, until there is nothing left to kill."""
    with tempfile.TemporaryDirectory() as scratch, misbehaving(latency=0.15) as server:
        folder = Path(scratch)
        config = study(folder, server.url, concurrency=concurrency)
        calm = folder / "calm"
        assert start(config, calm).wait() == 0
        needed = server.bill()["requests"]
        killed = lost = billed = rounds = 0
        chance = random.Random(0)
        while killed < times:
            run, rounds = folder / f"killed{rounds}", rounds + 1
            before = server.bill()["requests"]
            while True:
                process = start(config, run)
                kept = count(run)
                try:
                    process.wait(chance.uniform(1.5, 6.0))
                    assert process.returncode == 0, process.stderr and process.stderr.read().decode()[-500:]
                    break
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    killed += 1
                    lost += max(0, kept - count(run))
            billed += server.bill()["requests"] - before - needed
            assert rows(run) == rows(calm), "the tables differ"
        print(f"{killed} kills over {rounds} runs of {needed} calls; completed samples lost: {lost}")
        print(
            f"billed beyond need: {billed} calls, {billed / killed:.2f} a kill ({concurrency} in flight); tables equal"
        )


def count(run: Path) -> int:
    if not (run / "store.sqlite").is_file():
        return 0
    with Store(run / "store.sqlite") as store:
        return len(store)


def processes(number: int = 4) -> None:
    """Several processes run one study on one store."""
    with tempfile.TemporaryDirectory() as scratch, misbehaving(latency=0.02) as server:
        folder = Path(scratch)
        config = study(folder, server.url, folder / "shared.sqlite")
        running = [start(config, folder / f"run{i}") for i in range(number)]
        for process in running:
            assert process.wait() == 0, process.stderr and process.stderr.read().decode()[-500:]
        bill = server.bill()
        with Store(folder / "shared.sqlite") as store:
            kept, spend = len(store), store.spend()
        tables = [rows(folder / f"run{i}") for i in range(number)]
        assert all(table == tables[0] for table in tables), "the tables differ"
        print(f"{number} processes: {bill['requests']} requests for {kept} samples, bought twice: {bill['twice']}")
        print(f"the ledger {spend}, the server's bill ${bill['said']:.4f}")


ALL: dict[str, Callable[..., None]] = {each.__name__: each for each in (faults, money, throughput, kills, processes)}


if __name__ == "__main__":
    words = sys.argv[1:] or list(ALL)
    for i, word in enumerate(words):
        if word.isdigit():
            continue
        print(f"\n{word}")
        ALL[word](*map(int, [count for count in words[i + 1 : i + 2] if count.isdigit()]))
