"""What a local computation's bytes depend on besides its inputs: the processor, its threads, the libraries.

Kernels are chosen when torch is loaded: by what the processor can do (ATen), by its maker (MKL), by how many threads
share a sum. So equal seeds train other students on another processor. `prepare` sets what has to be set before torch is
loaded; `current` says what a computation in this process runs under.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ...core.errors import ConfigError

COURTEOUS = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Threads that wait for others sleep instead of spinning: with a busy neighbour a training takes a third of the time,
without one as long as before (`bench/training/contention.py`)."""
REPRODUCIBLE = {"MKL_CBWR": "COMPATIBLE", "ATEN_CPU_CAPABILITY": "default", "CUDA_VISIBLE_DEVICES": ""}
"""The kernels that every x86-64 processor has, summing in one order whatever the number of threads; and no GPU."""
PACKAGES = ("torch", "transformers", "peft", "trl", "numpy")
"""Libraries whose release may change a computation."""


@dataclass(frozen=True)
class Environment:
    """Where something was generated or trained."""

    processor: str
    """The processor's name, as the system gives it."""
    capability: str
    """The vector instructions that torch uses: `DEFAULT`, `AVX2`, `AVX512` ..."""
    mkl: str
    """MKL_CBWR, or `auto`: MKL chooses by the processor's maker."""
    threads: int
    """Of torch, for one operation."""
    python: str
    packages: Mapping[str, str]
    """Releases of `PACKAGES`."""

    @property
    def is_reproducible(self) -> bool:
        """Whether neither the processor nor the number of threads decides the bytes."""
        return self.capability == "DEFAULT" and self.mkl == REPRODUCIBLE["MKL_CBWR"]

    def differences(self, other: Environment) -> list[str]:
        """In what two environments may compute other bytes, as `capability AVX2, not AVX512`."""
        ignored = {"processor", "threads"} if self.is_reproducible and other.is_reproducible else set()
        mine, theirs = (_flat(asdict(each)) for each in (self, other))
        return [
            f"{key} {mine.get(key)}, not {theirs.get(key)}"
            for key in dict.fromkeys([*mine, *theirs])
            if key not in ignored and mine.get(key) != theirs.get(key)
        ]


NAMES = tuple(field.name for field in fields(Environment))


def prepare(*, reproducible: bool = False) -> None:
    """Set what must be set before torch is loaded; what the user has set stays.

    Raises ConfigError when `reproducible` comes too late, or contradicts what the user has set.
    """
    if not _is_torch_loaded():
        for name, value in COURTEOUS.items():
            os.environ.setdefault(name, value)
    if reproducible:
        _fix_kernels()


def _fix_kernels() -> None:
    for name, value in REPRODUCIBLE.items():
        if (given := os.environ.get(name, value)) != value:
            raise ConfigError(f"reproducible needs {name}={value}, and the environment says {given!r}: unset it")
    absent = REPRODUCIBLE.keys() - os.environ.keys()
    if _is_torch_loaded() and absent:
        settings = " ".join(f"{name}={value}" for name, value in REPRODUCIBLE.items())
        raise ConfigError(
            f"reproducible comes too late: torch is loaded already; start the process with {settings}, "
            "or set reproducible=false"
        )
    os.environ.update(REPRODUCIBLE)


def current() -> Environment:
    """What a computation in this process runs under. Loads torch."""
    import torch

    return Environment(
        processor=_processor(),
        capability=str(torch.backends.cpu.get_cpu_capability()),
        mkl=os.environ.get("MKL_CBWR", "auto"),
        threads=torch.get_num_threads(),
        python=platform.python_version(),
        packages={name: found for name in PACKAGES if (found := _release(name))},
    )


def _is_torch_loaded() -> bool:
    return "torch" in sys.modules


def _processor() -> str:
    """Linux keeps the name in a file; elsewhere the architecture has to do."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    found = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return found or platform.machine()


def _release(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _flat(values: Mapping[str, object]) -> dict[str, object]:
    packages = values["packages"]
    assert isinstance(packages, Mapping)
    return {**{key: value for key, value in values.items() if key != "packages"}, **packages}
