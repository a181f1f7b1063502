"""The adapter bytes of one short training under what stands in for other processors, with --reproducible and without.

    python -m bench.training.processors [TOKENS] > docs/results/processors.md

A processor is emulated by the kernels it would choose: ATen's by ATEN_CPU_CAPABILITY, MKL's by MKL_CBWR. Where
qemu-x86_64 is installed (Debian's qemu-user), two other processors run the same program instruction by instruction.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime

from divcon.lm.local.environment import REPRODUCIBLE

SETTINGS: tuple[dict[str, str], ...] = (
    {},
    {"OMP_NUM_THREADS": "1"},
    {"OMP_NUM_THREADS": "2"},
    {"ATEN_CPU_CAPABILITY": "default"},
    {"ATEN_CPU_CAPABILITY": "avx2"},
    {"MKL_CBWR": "COMPATIBLE"},
)
EMULATED = ("Haswell", "EPYC")
"""Processors of qemu's: Intel's first with AVX2, and AMD's."""
EMULATED_TOKENS = 300
"""Emulation takes a hundred times as long."""


def short_training(settings: dict[str, str], tokens: int, *, reproducible: bool, emulator: tuple[str, ...] = ()) -> str:
    """What one training prints, or why there was none."""
    free = {name: value for name, value in os.environ.items() if name not in (*REPRODUCIBLE, "OMP_NUM_THREADS")}
    words = [*emulator, sys.executable, "-m", "bench.training.short", str(tokens)]
    words += ["--reproducible"] * reproducible
    done = subprocess.run(words, env=free | settings, capture_output=True, text=True, check=False)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def row(name: str, printed: str) -> str:
    digest, seconds, used, capability, mkl, threads = printed.split()
    return f"| {name} | `{digest}` | {seconds} | {used} | {capability} | {mkl} | {threads} |"


def main(tokens: int = 100_000) -> None:
    print("# The same training on other processors\n")
    print(
        f"`python -m bench.training.processors {tokens}`, {datetime.now(UTC):%Y-%m-%d}, seed 0, {platform.machine()}.\n"
    )
    print("| environment | adapter | seconds | of processor time | vector instructions | MKL | threads |")
    print("|---|---|---:|---:|---|---|---:|")
    for reproducible in (False, True):
        for settings in SETTINGS:
            if reproducible and any(REPRODUCIBLE.get(name, value) != value for name, value in settings.items()):
                continue  # it contradicts itself, and is refused
            name = " ".join(f"{key}={value}" for key, value in settings.items()) or "nothing set"
            name += ", --reproducible" * reproducible
            print(row(name, short_training(settings, tokens, reproducible=reproducible)), flush=True)
    if not (qemu := shutil.which("qemu-x86_64")):
        return
    for reproducible in (False, True):
        for processor in (None, *EMULATED):
            emulator = (qemu, "-cpu", processor) if processor else ()
            name = f"{EMULATED_TOKENS} tokens, " + (f"emulated {processor}" if processor else "this processor")
            name += ", --reproducible" * reproducible
            printed = short_training({}, EMULATED_TOKENS, reproducible=reproducible, emulator=emulator)
            print(row(name, printed) if len(printed.split()) == 6 else f"| {name} | {printed} | | | | | |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
