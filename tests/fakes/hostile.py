"""Answers that were written to hurt whoever reads them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, islice
from pathlib import Path

KINDS: dict[str, Callable[[int, Path], str]] = {
    "power of powers": lambda n, _: f"{n % 8 + 2}^{n % 9 + 9}^9",
    "power of powers in braces": lambda n, _: f"9^{{9^{{{n + 9}}}}}",
    "factorial of a power": lambda n, _: f"({n + 10}^{{10}})!",
    "high power": lambda n, _: f"{n + 3}^{{{n + 10**8}}}",
    "deep": lambda n, _: "(" * (3000 + n) + "1" + ")" * (3000 + n),
    "deep groups": lambda n, _: "{" * (3000 + n) + "1" + "}" * (3000 + n),
    "long number": lambda n, _: str(n % 9 + 1) * 100_000,
    "long text": lambda n, _: f"{n} and so on " * (2**20 // 12),
    "import": lambda n, marker: f"__import__('os').system('touch {marker}{n}')",
    "import in LaTeX": lambda n, marker: f"\\text{{__import__('pathlib').Path('{marker}{n}').touch()}}",
    "attributes": lambda n, _: f"().__class__.__bases__[0].__subclasses__()[{n}]",
    "nul": lambda n, _: f"{n}\x00",
    "lone surrogate": lambda n, _: f"{n}\ud800",
    "open brace": lambda n, _: "\\frac{" * 30 + str(n),
}


def hostile(n: int, marker: Path) -> list[str]:
    """So many of them, all different; one that is run as code leaves a file whose name begins with `marker`."""
    kinds = list(KINDS.values())
    return list(islice((kinds[i % len(kinds)](i, marker) for i in count()), n))
