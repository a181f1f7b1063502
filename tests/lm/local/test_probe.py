"""Whether a server serves an adapter is told from log-probabilities: noise is let pass, the bare base is not."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from divcon.core.errors import ConfigError
from divcon.lm.local.probe import FILE, check_served

N = 60


def served(change: Sequence[float]) -> Callable[[Sequence[int], bool], list[float]]:
    return lambda tokens, adapted: [-1.0 + (part if adapted else 0.0) for part in change]


def check(folder: Path, measured: Sequence[float], change: Sequence[float]) -> None:
    (folder / FILE).write_text(json.dumps({"tokens": [*range(N + 1)], "change": list(measured)}), encoding="utf-8")
    check_served(folder, None, served(change), "the server")


@pytest.mark.parametrize("size", [0.08, 0.3, 1.0])
def test_the_adapter_passes_with_noise_and_the_base_does_not(tmp_path: Path, size: float) -> None:
    rng = random.Random(0)
    measured = [rng.gauss(0, size) for _ in range(N)]
    noise = [rng.gauss(0, 0.01) for _ in range(N)]
    check(tmp_path, measured, [a + b for a, b in zip(measured, noise, strict=True)])
    with pytest.raises(ConfigError, match="does not serve the adapter"):
        check(tmp_path, measured, noise)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_what_is_no_number_is_refused_whatever_was_measured(tmp_path: Path, wrong: float) -> None:
    for measured in ([0.5] * N, [0.0] * N):
        with pytest.raises(ConfigError, match="does not serve the adapter"):
            check(tmp_path, measured, [wrong, *[0.5] * (N - 1)])


def test_a_file_that_holds_no_numbers_is_damaged(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"tokens": [1, 2], "change": [NaN]}', encoding="utf-8")
    with pytest.raises(ConfigError, match=FILE):
        check_served(tmp_path, None, served([0.1]), "the server")
