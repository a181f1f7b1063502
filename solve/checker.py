"""The process that compares expressions by computer algebra: fed by `checks`, run as a script of its own.

`math-verify` reads LaTeX into SymPy. What models write can make either run for ever or out of memory, so nothing of it
happens in the caller's process. This one loads the library once and forks a child that reads requests; the kernel ends
the child when an expression passes its limit of processor time, and the next fork is ready in milliseconds.

A request is a line: a JSON list of pairs. A reply is a line for each pair, `true` or `false`; `null` means that the
child died of the pair before it could say, and that it has forgotten the ones behind. It ends when its input does.

Nothing but the standard library is imported until the process runs, and nothing of divcon.
"""

from __future__ import annotations

import functools
import gc
import json
import logging
import os
import resource
import signal
import sys
from typing import Any, BinaryIO

SECONDS = 3.0
"""Processor time a pair; a pair that needs more has no verdict."""
STALLED = 30.0
"""Wall time a pair, for one that waits instead of computing."""
MEMORY = 2 << 30
"""Bytes of address space."""


def serve(requests: int, replies: int) -> None:
    """Answer requests until they end."""
    import math_verify  # the children inherit it

    del math_verify
    logging.disable(logging.CRITICAL)
    gc.freeze()
    while True:
        child = os.fork()
        if child == 0:
            _limit()
            _work(os.fdopen(requests, "rb"), replies)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if status in (0, signal.SIGKILL):
            return  # the caller is done, or somebody from outside has ended the child
        os.write(replies, b"null\n")


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for none in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(none, (0, 0))
    # No handler: Python would run one between two bytecodes, and the power of two large numbers is a single one.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _work(requests: BinaryIO, replies: int) -> None:
    for line in requests:
        for one, other in json.loads(line):
            _alarm(SECONDS, STALLED)
            same = _same(one, other)
            _alarm(0, 0)
            os.write(replies, b"true\n" if same else b"false\n")


def _alarm(seconds: float, stalled: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, stalled)


def _same(one: str, other: str) -> bool:
    """Whether either is right where the other is the gold answer.

    `math-verify` is not symmetric: it lets a prediction be an equation or a set where the gold answer is not. An
    equation about something else (`3x + 2y = 5`) is not its right side, so it equals no plain value in either
    direction.
    """
    from math_verify import verify

    a, b = _parsed(one), _parsed(other)
    if not a or not b or (_is_equation(a[0]) != _is_equation(b[0]) and not (_has_value(a[0]) and _has_value(b[0]))):
        return False
    if verify(a, b, timeout_seconds=None):
        return True
    return not _is_symmetric(a[0], b[0]) and verify(b, a, timeout_seconds=None)


@functools.lru_cache(maxsize=1024)
def _parsed(answer: str) -> list[Any]:
    """What `math-verify` reads. Its other way to read, of plain expressions, ends in `eval` and is left out."""
    from math_verify import LatexExtractionConfig, parse

    if answer.count("{") != answer.count("}"):
        return []  # it would be read up to somewhere
    latex = [LatexExtractionConfig(boxed_match_priority=0)]
    found: list[Any] = parse(f"\\boxed{{{answer}}}", latex, parsing_timeout=None)
    return found


def _is_symmetric(one: Any, other: Any) -> bool:
    """Whether the order of comparing two does not matter: two equations, or two that are neither that nor sets."""
    from sympy import Expr

    both = [one, other]
    return all(map(_is_equation, both)) or all(isinstance(each, (str, Expr)) for each in both)


def _is_equation(parsed: Any) -> bool:
    from math_verify.grader import is_equation

    return not isinstance(parsed, str) and is_equation(parsed)


def _has_value(parsed: Any) -> bool:
    """Whether an equation gives a name, or a number worked out (`5! = 120`), its value; all else is its own value."""
    from math_verify.grader import is_assignment_relation, take_first_relation

    if not _is_equation(parsed) or is_assignment_relation(parsed):
        return True
    left = take_first_relation(parsed).lhs
    return not left.free_symbols or left.is_Function


if __name__ == "__main__":
    # Whatever a library prints must not pass for a reply.
    replies = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    serve(sys.stdin.fileno(), replies)
