"""Comparisons by computer algebra: what they may cost, and what they leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from divcon.core.errors import ModelError
from divcon.lm import Store
from divcon.solve.grading.grade import MATH
from divcon.solve.grading.limits import explosive, refused
from divcon.solve.grading.sympy_pool import EquivalencePool
from divcon.solve.grading.sympy_worker import STALLED

from ...fakes.hostile import KINDS, hostile

ENDLESS = ("1", "\\frac{2^{20} \\sqrt{5} - 4}{2^{2^{2012}}}")
EQUAL = ("\\frac{1}{\\sqrt{2}}", "\\frac{\\sqrt{2}}{2}")


@pytest.fixture
def checks() -> Iterator[EquivalencePool]:
    started = EquivalencePool(workers=2)
    yield started
    started.close()


def running(checks: EquivalencePool) -> list[int]:
    return [worker._process.pid for worker in checks._idle if worker._process]


def is_alive(pid: int) -> bool:
    """Whether a process or any child it left in its session runs."""
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_check_past_its_limit_has_no_outcome_and_the_others_have(checks: EquivalencePool) -> None:
    began = time.monotonic()
    assert checks([EQUAL, ENDLESS, ("x+1", "1+x"), ("x", "y")]) == [True, None, True, False]
    assert time.monotonic() - began < 2 * STALLED
    assert checks([ENDLESS, EQUAL[::-1]]) == [None, True]  # remembered, and symmetric


def test_no_process_outlives_its_owner(checks: EquivalencePool) -> None:
    checks([EQUAL])
    pids = running(checks)
    assert pids and all(map(is_alive, pids))
    checks.close()
    deadline = time.monotonic() + 5
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(is_alive, pids))


KILLED = """
from divcon.solve.grading.sympy_pool import EquivalencePool
checks = EquivalencePool(workers=1)
checks([("x+x", "2x")])
print(checks._idle[0]._process.pid, flush=True)
checks([("1", r"\\frac{2^{20} \\sqrt{5} - 4}{2^{2^{2012}}}")] * 9)
"""


def test_no_process_outlives_one_that_is_killed_while_it_waits() -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        pid = int(owner.stdout.readline())
        time.sleep(0.3)
        assert is_alive(pid)
        owner.kill()
    deadline = time.monotonic() + 2 * STALLED  # on a busy machine its last check takes that long
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(pid)


def test_a_child_of_its_owner_starts_processes_of_its_own(checks: EquivalencePool) -> None:
    assert checks([EQUAL]) == [True]
    before = running(checks)
    checks.abandon()  # what a fork calls in the child
    assert checks([("x+x", "2x")]) == [True] and not set(before) & set(running(checks))
    for pid in before:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def test_a_child_that_dies_while_nothing_is_asked_shifts_no_outcome(checks: EquivalencePool) -> None:
    assert checks([EQUAL]) == [True]
    for pid in running(checks):
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
        os.kill(int(child), signal.SIGTERM)
    time.sleep(0.3)
    pairs = [("x+x", "2x"), ("x", "y"), ("a b", "b a"), ("x", "z"), ("y+y", "2y")]
    assert checks(pairs) == [True, False, True, False, True]


def test_a_process_that_was_killed_is_started_again(checks: EquivalencePool) -> None:
    assert checks([EQUAL]) == [True]
    for pid in running(checks):
        os.killpg(pid, signal.SIGKILL)
    assert checks([("x+x", "2x")]) == [True]


def test_a_process_that_cannot_start_is_named(checks: EquivalencePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("divcon.solve.grading.sympy_pool.sys.executable", "/bin/false")
    with pytest.raises(ModelError, match="is math-verify installed"):
        checks([EQUAL])


def test_a_store_remembers_for_the_next_process(checks: EquivalencePool, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store() as store:
        with checks.remembering(store):
            assert checks([EQUAL, ENDLESS]) == [True, None]
        checks.forget()
        monkeypatch.setattr(EquivalencePool, "_checked", lambda self, pairs: dict.fromkeys(pairs, False))
        with checks.remembering(store):
            assert checks([ENDLESS, EQUAL, ("x", "y")]) == [None, True, False]


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_answers_are_no_answers_and_cost_nothing(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but harmless nonsense is turned away by counting; that nonsense is compared in a process of its own."""
    answer = KINDS[kind](7, tmp_path / "ran")
    if kind not in ("import", "import in LaTeX", "attributes", "open brace"):
        monkeypatch.setattr(
            "divcon.solve.grading.equivalence.EQUIVALENCE", lambda pairs: [pytest.fail("asked") for _ in pairs]
        )
        assert refused(answer) or explosive(answer)
    assert MATH(answer, "18") in ("wrong", "unreadable", "timed out")
    assert MATH("18", answer) in ("wrong", "timed out")


def test_no_hostile_answer_runs(tmp_path: Path) -> None:
    answers = hostile(4 * len(KINDS), tmp_path / "ran")
    assert "right" not in MATH.verdicts([(answer, ("18",)) for answer in answers])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("expression", ["2^{4950}", "2^{2^3}", "e^{x^2}", "100!", "(5!)!", "x^{10}y^{20}"])
def test_what_can_be_worked_out_is_not_explosive(expression: str) -> None:
    assert not explosive(expression)
