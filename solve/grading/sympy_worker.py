"""The process that compares expressions by computer algebra: fed by `checks`, run as a script of its own.

`math-verify` reads LaTeX into SymPy. What models write can make either run for ever or out of memory, so nothing of it
happens in the caller's process. This one loads the library once and forks a child that reads requests; the kernel ends
the child when an expression passes its limit of processor time, and the next fork is ready in milliseconds.

A request is a line, `[number, pairs]`. Replies are lines: `[number]` when the request was read, then `[number, same]`
for each pair. `null` says that a child died: of the pair whose turn it was, if it had read a request, and with it the
pairs behind. The process ends when its input does.

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
_UNLIMITED = 3
"""The exit status of a child that cannot be limited."""


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
        if status in (0, signal.SIGKILL) or os.waitstatus_to_exitcode(status) == _UNLIMITED:
            return  # the caller is done, or somebody has ended the child, or it cannot be held to its limits
        os.write(replies, b"null\n")


def _limit() -> None:
    try:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        memory = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        for none in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
            resource.setrlimit(none, (0, 0))
    except (OSError, ValueError):
        os._exit(_UNLIMITED)
    # No handler: Python would run one between two bytecodes, and the power of two large numbers is a single one.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _work(requests: BinaryIO, replies: int) -> None:
    for line in requests:
        number, pairs = json.loads(line)
        _say(replies, [number])
        for one, other in pairs:
            _alarm(SECONDS, STALLED)
            same = _same(one, other)
            _alarm(0, 0)
            _say(replies, [number, same])


def _say(replies: int, what: list[int | bool]) -> None:
    os.write(replies, json.dumps(what).encode() + b"\n")


def _alarm(seconds: float, stalled: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, stalled)


def _same(one: str, other: str) -> bool:
    """Whether either is right where the other is the gold answer.

    `math-verify` is not symmetric: it lets a prediction be an equation or a set where the gold answer is not.
    """
    from math_verify import verify

    a, b = _parsed(one), _parsed(other)
    if not a or not b:
        return False
    if _is_equation(a[0]) != _is_equation(b[0]):
        # Only one is an equation: it is what it says something is worth, if it says that of a name or of a sum.
        a, b = _worth(a[0]), _worth(b[0])
    if not a or not b:
        return False
    if verify(a, b, timeout_seconds=None) or _is_one_complex(a[0], b[0]):
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


def _is_one_complex(one: Any, other: Any) -> bool:
    """Whether two expressions without other letters are equal where `i` is the imaginary unit.

    `math-verify` takes it for a letter.
    """
    from sympy import E, Expr, I, expand_complex, simplify

    if not all(isinstance(each, Expr) for each in (one, other)):
        return False
    letters = one.free_symbols | other.free_symbols
    if not {letter.name for letter in letters} <= {"i", "e"} or not (letters or one.has(I) or other.has(I)):
        return False
    put = {letter: I if letter.name == "i" else E for letter in letters}
    return bool(simplify(expand_complex(one.subs(put) - other.subs(put))) == 0)


def _is_equation(parsed: Any) -> bool:
    from math_verify.grader import is_equation

    return not isinstance(parsed, str) and is_equation(parsed)


def _worth(parsed: Any) -> list[Any]:
    """The value that an equation gives a name (`x = 5`) or works out (`5! = 120`); anything else is its own value.

    An equation about something else (`3x + 2y = 5`) is worth nothing, or a gold answer like it would be met by `5`.
    """
    from math_verify import verify
    from math_verify.grader import take_first_relation, take_last_relation

    if not _is_equation(parsed):
        return [parsed]
    left, right = take_first_relation(parsed).lhs, take_last_relation(parsed).rhs
    if _is_name(left):
        return [right]
    holds = not getattr(left, "free_symbols", True) and verify([left], [right], timeout_seconds=None)
    return [right] if holds else []


def _is_name(left: Any) -> bool:
    """A symbol, a function of symbols, or a tuple of symbols."""
    from sympy import Function, Symbol, Tuple

    if isinstance(left, (Function, Tuple)):
        return all(isinstance(part, Symbol) for part in left.args)
    return isinstance(left, Symbol)


if __name__ == "__main__":
    # Whatever a library prints must not pass for a reply.
    replies = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    serve(sys.stdin.fileno(), replies)
