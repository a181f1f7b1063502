"""A training beside other work: what OpenMP's waiting threads cost when they spin, sleep, or are none.

    python -m bench.training.contention [ROUNDS [TOKENS]] > docs/results/contention.md

Each round runs every setting once on the quiet machine and once with one busy neighbour, taking turns.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from statistics import median

from divcon.lm.local import environment

SETTINGS = {
    "spin, as by default": {},
    "sleep (OMP_WAIT_POLICY=PASSIVE, which divcon sets)": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
NEIGHBOURS = {"quiet": 0, "one busy neighbour": 1}


@contextmanager
def busy(neighbours: int) -> Iterator[None]:
    """So many processes that do nothing but compute."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(neighbours)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def seconds(settings: dict[str, str], tokens: int) -> tuple[float, float]:
    """Of one training, by the clock and of processor time."""
    free = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS")}
    words = [sys.executable, "-m", "bench.training.short", str(tokens), "--unprepared"]
    done = subprocess.run(words, env=free | settings, capture_output=True, text=True, check=True)
    _, clock, used, *_ = done.stdout.split()
    return float(clock), float(used)


def main(rounds: int = 3, tokens: int = 100_000) -> None:
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for around, neighbours in NEIGHBOURS.items():
            for name, settings in SETTINGS.items():
                with busy(neighbours):
                    found.setdefault((name, around), []).append(seconds(settings, tokens))
    print("# A training beside other work\n")
    machine = f"{environment.current().processor}, {os.cpu_count()} cores, {platform.system()}"
    print(f"`python -m bench.training.contention {rounds} {tokens}`, {datetime.now(UTC):%Y-%m-%d}, {machine}.")
    print(f"Medians of {rounds} rounds [least, most]; processor time after the semicolon.\n")
    print("| threads that wait | " + " | ".join(NEIGHBOURS) + " |")
    print("|---|" + "---:|" * len(NEIGHBOURS))
    for name in SETTINGS:
        print(f"| {name} | " + " | ".join(_cell(found[name, around]) for around in NEIGHBOURS) + " |")


def _cell(found: list[tuple[float, float]]) -> str:
    clock, used = zip(*found, strict=True)
    return f"{median(clock):.1f} s [{min(clock):.1f}, {max(clock):.1f}]; {median(used):.1f} s"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
