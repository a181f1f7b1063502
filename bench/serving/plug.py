"""What `divcon.plug` takes of the processor: answers one after another, eight at a time, and streams.

    python bench/serving/plug.py [ANSWERS]

The upstream answers at once (`tests/fakes/chat_upstream.py`) and is another process's; the decomposer is a function.
Two versions are compared by taking turns: PYTHONPATH=CHECKOUT python bench/serving/plug.py.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import openai

import divcon
from divcon.decompose import Decomposition
from divcon.lm import Usage
from divcon.tasks import Question
from tests.fakes.chat_upstream import chatting


def asks(questions: Sequence[Question]) -> list[Decomposition]:
    return [Decomposition(("How many at first?", "How many go?"), "asked", "", Usage(7, 5)) for _ in questions]


def main(answers: int) -> None:
    with chatting() as server, openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        plug = divcon.plug(asks, client, "m")
        plug.answer("How many?")
        work: dict[str, Callable[[], object]] = {
            f"{answers} answers": lambda: [plug.answer(f"Question {i}: how many?") for i in range(answers)],
            "eight at a time": lambda: plug.answers([f"Other {i}: how many?" for i in range(answers)], concurrency=8),
            f"{answers // 3} streams": lambda: [
                list(plug.stream(f"Third {i}: how many?")) for i in range(answers // 3)
            ],
        }
        for name, does in work.items():
            wall, processor = time.perf_counter(), time.process_time()
            does()
            print(f"{name}: {time.perf_counter() - wall:.2f} s, {time.process_time() - processor:.2f} s of processor")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 600)
