"""How much processor time `divcon --help` takes, beside a bare interpreter, interleaved.

python bench/startup.py [ROUNDS]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

COMMANDS = {
    "divcon --help": [sys.executable, "-m", "divcon", "--help"],
    "python -c pass": [sys.executable, "-c", "pass"],
}


def processor_seconds(command: list[str]) -> float:
    """User and system time of one run."""
    before = os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main(rounds: int) -> None:
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds + 1):
        for name, command in COMMANDS.items():
            taken[name].append(processor_seconds(command))
    for name, seconds in taken.items():
        counted = [1000 * second for second in seconds[1:]]  # the first run warms the caches
        print(f"{name}: median {statistics.median(counted):.0f} ms, {min(counted):.0f} to {max(counted):.0f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
