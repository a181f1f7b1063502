"""Writes docs/reference/python.md: every name that `import divcon` offers, with signatures, returns and errors.

python docs/python_reference.py > docs/reference/python.md
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import divcon
from divcon.commands import Collected
from divcon.eval.analysis.compare import Comparison
from divcon.eval.analysis.summary import CellSummary
from divcon.eval.grid.rows import PhaseCost
from divcon.run import Student
from divcon.serve.client.decomposer import DecomposedQuestion, DistilledDecomposer
from divcon.serve.client.plug import Answer, DecomposedLLM
from divcon.studies.dry_run import Plan

_PARTS = {
    "Calls": ("study", "collect", "distill_student", "plan", "evaluate", "summarize", "decomposer", "plug", "wrap"),
    "Runs and results": ("Run", "Results", "ResultRow"),
    "Functions of one's own": ("Question", "Decomposition", "Decomposer", "Solution", "Solver", "Usage"),
    "Errors": ("ConfigError", "ModelError"),
}

_RETURNED = (
    Collected,
    Plan,
    CellSummary,
    Comparison,
    PhaseCost,
    Student,
    DistilledDecomposer,
    DecomposedQuestion,
    DecomposedLLM,
    Answer,
)
"""Classes of what these calls return."""


def page() -> str:
    """The whole page."""
    lines = ["# Python\n\nMade by `docs/python_reference.py`; a test keeps it current.\n"]
    lines.append(f"```python\n{_example()}\n```\n")
    for heading, names in _PARTS.items():
        lines.append(f"## {heading}\n")
        lines += [text for name in names for text in _entry(f"divcon.{name}", getattr(divcon, name))]
    lines.append("## What calls return\n")
    lines += [text for value in _RETURNED for text in _entry(value.__name__, value)]
    lines.append("## `divcon.methods`\n\nA mapping from the names of methods to what there is to know of each:\n")
    lines += [f"* `{name}`: {method}" for name, method in divcon.methods.items()]
    others = sorted({*divcon.__all__} - {"methods", "__version__"} - {n for names in _PARTS.values() for n in names})
    assert not others, others
    return "\n".join(lines) + "\n"


def _example() -> str:
    """The module's own."""
    return textwrap.dedent(str(divcon.__doc__).partition("\n\n")[2].rpartition("\n\n")[0])


def _entry(name: str, value: Any) -> Iterator[str]:
    if not inspect.isclass(value):
        yield f"### `{name}`\n\n{_call(name, value)}\n{_text(value.__doc__)}\n"
        return
    yield f"### `{name}`\n\n{_text(value.__doc__)}\n"
    rows = [f"| `{field}` | `{kind}` | {text} |" for field, kind, text in _fields(value)]
    if rows:
        yield "\n".join(["| field | type | what it is |", "|---|---|---|", *rows, ""])
    if members := list(_members(name.rpartition(".")[2], value)):
        yield "\n".join([*members, ""])


def _members(name: str, value: type) -> Iterator[str]:
    for member, inner in vars(value).items():
        if isinstance(inner, property | cached_property) and not member.startswith("_"):
            function: Any = inner.fget if isinstance(inner, property) else inner.func
            returns = inspect.signature(function).return_annotation
            if function.__doc__:
                yield f"* `.{member}` (`{_short(returns)}`): {_line(function.__doc__)}"
        elif inspect.isfunction(inner) and inner.__doc__ and (member == "__call__" or not member.startswith("_")):
            call = name if member == "__call__" else f".{member}"
            yield f"* `{call}{_method(inner)}`: {_line(inner.__doc__)}"


def _call(name: str, function: Any) -> str:
    signature = inspect.signature(function)
    parts: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        parts.append(_parameter(parameter))
    inside = "".join(f"\n    {part}," for part in parts)
    plain = name.rpartition(".")[2]
    return f"```python\ndef {plain}({inside}\n) -> {_short(signature.return_annotation)}: ...\n```\n"


def _parameter(parameter: inspect.Parameter) -> str:
    star = "*" * (parameter.kind is parameter.VAR_POSITIONAL) + "**" * (parameter.kind is parameter.VAR_KEYWORD)
    kind = "" if parameter.annotation is parameter.empty else f": {_short(parameter.annotation)}"
    default = "" if parameter.default is parameter.empty else f" = {_short(repr(parameter.default))}"
    return f"{star}{parameter.name}{kind}{default}"


def _method(function: Any) -> str:
    signature = inspect.signature(function)
    inside = ", ".join(_parameter(each) for name, each in signature.parameters.items() if name not in ("self", "cls"))
    return f"({inside}) -> {_short(signature.return_annotation)}"


def _fields(value: type) -> Iterator[tuple[str, str, str]]:
    """The annotated fields of a class, with the docstring behind each."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(value)))
    body = tree.body[0].body  # type: ignore[attr-defined]  # a class
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            told = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
            yield node.target.id, ast.unparse(node.annotation).replace("|", "\\|"), _line(str(told)).replace("|", "\\|")


def _text(text: str | None) -> str:
    return inspect.cleandoc(text or "")


def _line(text: str | None) -> str:
    return " ".join((text or "").split())


def _short(what: object) -> str:
    """Without the modules that names are in, and with the formatter's quotes."""
    return re.sub(r"\bdivcon(?:\.\w+)+\.(\w+)", r"\1", str(what)).replace("'", '"')


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201  # a script's output
