"""Samples a second: divcon's vLLM engine, raw `LLM.generate` in the same vLLM, and divcon's transformers engine.

    python -m bench.serving.vllm MODEL [ROUNDS [ADAPTERS]]

The three take turns on the same prompts, with the prefix cache emptied between turns; each turn draws other samples.
ADAPTERS is how many places for adapters vLLM is opened with, on both sides. Ratios are of tokens a second, medians over
rounds with the range beside them.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from statistics import median

from vllm import SamplingParams

from divcon.lm import Engine, Message, Model, Request, Sampling, Store
from divcon.lm.engines.transformers import Transformers
from divcon.lm.engines.vllm import VLLM
from divcon.lm.local.chat_template import encode
from divcon.tasks import miniature

PROMPTS, SAMPLES = 32, 8
HOW = Sampling(temperature=1.0, max_tokens=64)

Turn = Callable[[int], int]
"""From the number of a round to the tokens that were generated in it."""


def turn_of(engine: Engine, requests: list[Request]) -> Turn:
    """The prompts through an engine of divcon's, store and all."""

    def turn(number: int) -> int:
        with Store() as store:
            completions = Model("bench", engine, store, seed=number)(requests)
        return sum(completion.usage.completion_tokens for of_one in completions for completion in of_one)

    return turn


def raw(engine: VLLM, requests: list[Request], *, seeded: bool) -> Turn:
    """The same prompts through `LLM.generate`, n samples a request."""
    prompts = [{"prompt_token_ids": encode(engine.local.tokenizer, request.messages)} for request in requests]

    def turn(number: int) -> int:
        how = SamplingParams(
            n=SAMPLES,
            temperature=HOW.temperature,
            max_tokens=HOW.max_tokens,
            stop_token_ids=engine.local.stop_tokens,
            seed=1000 * number if seeded else None,
        )
        outputs = engine.engine.generate(prompts, how, use_tqdm=False)
        return sum(len(completion.token_ids) for output in outputs for completion in output.outputs)

    return turn


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(path: str, rounds: int, adapters: int = 0) -> None:
    words = [question.text for question in miniature.questions("train", PROMPTS)]
    ask = "Write down, one below the other, the questions that have to be answered first."
    requests = [Request((Message("user", f"{text}\n\n{ask}"),), HOW, n=SAMPLES) for text in words]
    engine = VLLM(path, cache=4.0, adapters=adapters)
    turns = {
        "divcon, vLLM": turn_of(engine, requests),
        "LLM.generate": raw(engine, requests, seeded=True),
        "LLM.generate, no seeds": raw(engine, requests, seeded=False),
        "divcon, transformers": turn_of(Transformers(path), requests),
    }
    speeds: dict[str, list[float]] = {name: [] for name in turns}
    costs: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(rounds + 1):  # the first warms up
        for name, turn in turns.items():
            engine.engine.reset_prefix_cache()
            started, before = time.perf_counter(), processor_seconds()
            tokens = turn(number)
            took, used = time.perf_counter() - started, processor_seconds() - before
            if number:
                speeds[name].append(tokens / took)
                costs[name].append(1000 * used / tokens)
    print(f"{PROMPTS} prompts, {SAMPLES} samples each, at most {HOW.max_tokens} tokens; {rounds} rounds\n")
    for name in turns:
        print(f"{name:<24}{median(speeds[name]):8.0f} tokens/s {median(costs[name]):8.2f} ms of processor time a token")
    for name in list(turns)[1:]:
        ratios = [a / b for a, b in zip(speeds["divcon, vLLM"], speeds[name], strict=True)]
        print(f"divcon, vLLM / {name}: {median(ratios):.3f} [{min(ratios):.3f}, {max(ratios):.3f}]")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:] or [5]))
