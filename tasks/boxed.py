"""Finding the answer that a LaTeX solution puts in a box."""

from __future__ import annotations


def last_boxed(text: str) -> tuple[int, int] | None:
    """Where the content of the last `\\boxed{...}`, `\\fbox{...}` or `\\boxed x` stands. An unclosed box has none."""
    start = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    if start < 0:
        return None
    if text.startswith("\\boxed ", start):
        begin = start + len("\\boxed ")
        end = text.find("$", begin)
        return begin, end if end >= 0 else len(text)
    begin = text.find("{", start)
    depth = 0
    for i in range(begin, len(text)) if begin >= 0 else ():
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return begin + 1, i
    return None
