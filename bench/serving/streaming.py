"""What listening costs, and what asking together saves: a model of one's own behind the endpoint, on one thread.

    OMP_NUM_THREADS=1 python -m bench.serving.streaming heard [ROUNDS]
    OMP_NUM_THREADS=1 python -m bench.serving.streaming together [ROUNDS]

`heard` generates the same 32 samples with and without a listener to every one; `together` asks 64 questions at once
through the queue, and then one after the other. Rounds take turns, and the first is not counted.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import Callable
from statistics import median

from divcon.lm import Completion, Message, Request, Sampling
from divcon.lm.engines.transformers import Transformers
from divcon.lm.types import SampleRequest
from divcon.serve.backends.batcher import Batcher
from divcon.tasks import miniature

AT_ONCE = 32
ASKERS = 64
TOKENS = 48
_ASK = "List the questions to ask first."

Turn = Callable[[], list[Completion]]


def draws(count: int, sampling: Sampling) -> list[SampleRequest]:
    texts = [question.text for question in miniature.questions("train", count)]
    asked = [Request((Message("user", f"{text}\n\n{_ASK}"),), sampling) for text in texts]
    return [SampleRequest(request, 0, hashlib.sha256(str(i).encode()).hexdigest()) for i, request in enumerate(asked)]


def turns_of_hearing() -> dict[str, Turn]:
    engine = Transformers("miniature/llm", dtype="float32", concurrency=AT_ONCE)
    wanted = draws(AT_ONCE, Sampling(temperature=1.5, max_tokens=256))
    return {
        "heard": lambda: engine.stream(wanted, None, lambda draw, text: True),
        "not heard": lambda: engine.stream(wanted, None),
    }


def turns_of_asking() -> dict[str, Turn]:
    engine = Transformers("miniature/base", dtype="float32", concurrency=AT_ONCE)
    wanted = draws(ASKERS, Sampling(temperature=1.0, max_tokens=TOKENS))

    async def together() -> list[Completion]:
        batcher: Batcher[SampleRequest, Completion] = Batcher(lambda some: engine.stream(some, None), AT_ONCE, ASKERS)
        try:
            return list(await asyncio.gather(*map(batcher.submit, wanted)))
        finally:
            await batcher.close()

    return {
        "together": lambda: asyncio.run(together()),
        "one at a time": lambda: [one for draw in wanted for one in engine.stream([draw], None)],
    }


def main(what: str, rounds: int = 9) -> None:
    turns = {"heard": turns_of_hearing, "together": turns_of_asking}[what]()
    speeds: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(rounds + 1):
        for name, turn in turns.items():
            started = time.perf_counter()
            tokens = sum(completion.usage.completion_tokens for completion in turn())
            if number:
                speeds[name].append(tokens / (time.perf_counter() - started))
    print(f"{rounds} rounds that take turns; medians [lowest, highest]")
    for name, of in speeds.items():
        print(f"{name:<14}{median(of):8.0f} [{min(of):.0f}, {max(of):.0f}] tokens/s")
    first, second = speeds
    ratios = [a / b for a, b in zip(speeds[first], speeds[second], strict=True)]
    print(f"{first} / {second}: {median(ratios):.3f} [{min(ratios):.3f}, {max(ratios):.3f}]")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
