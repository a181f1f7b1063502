"""JSON and YAML documents, read without trust: any of them may be damaged, hostile, or of another shape than expected.

Every file of a run, a student, a ranker or a config is read here, so that what is wrong with one is always one
sentence: the file, what is wrong, and what to do.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Hashable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from .errors import ConfigError

_LONGEST = 2**64
"""What a whole number must be smaller than: longer ones overflow wherever they are counted with."""
_DEEPEST = 100
_MOST_NODES = 1_000_000
"""What a YAML document may hold once its aliases are written out: nine lines of them can stand for 10^9 values."""
_HALF = re.compile("[\ud800-\udfff]")


class Shape(BaseModel):
    """What some keys of a JSON object must be, to the type; it may have others."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


def read(shape: Any, path: Path, remedy: str = "restore it", *, finite: bool = True) -> Any:
    """The JSON value in a file, checked against a shape (a type that pydantic knows).

    Raises ConfigError, which names the file and the remedy, when it cannot be read or is of another shape. `finite` is
    false for files that may hold a loss that is no number.
    """
    try:
        return checked(shape, from_json(text(path), str(path), finite=finite), str(path))
    except ConfigError as error:
        raise ConfigError(f"{error}; {remedy}") from error


def read_optional(shape: Any, path: Path, remedy: str = "restore it", *, finite: bool = True) -> Any | None:
    """The same of a file that need not be there; None where it is not."""
    return read(shape, path, remedy, finite=finite) if path.exists() else None


def checked(shape: Any, values: Any, where: str) -> Any:
    """Values as a shape has them. Raises ConfigError for the first thing that is of another one."""
    try:
        return _adapter(shape).validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part)[:40] for part in first["loc"])
        raise ConfigError(f"{where} is damaged: {f'{place}: ' * bool(place)}{first['msg'][:200]}") from None


@cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)


def text(path: Path) -> str:
    """The text of a file. Raises ConfigError when there is none, or it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"no file {path}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start})") from None
    except (OSError, ValueError) as error:  # a NUL in a path is a ValueError
        raise ConfigError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


def from_json(source: str | bytes, where: str, *, finite: bool = True, foreign: bool = False) -> Any:
    """The value of a JSON text. Raises ConfigError when it is none that can be worked with.

    `foreign` lets pass what other programs write: a key that stands twice, and numbers of more than 64 bits.
    """
    try:
        value = json.loads(
            source,
            parse_int=None if foreign else _integer,
            parse_float=_finite,
            parse_constant=_refuse_constant if finite else None,
            object_pairs_hook=None if foreign else _unique,
        )
    except json.JSONDecodeError as error:
        at = f"line {error.lineno} column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
        raise ConfigError(f"{where} is not JSON: {error.msg} at {at}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{where} is not JSON: it is not UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is not JSON that can be read: {_why(error)}") from None
    _check_values(value, where, math.inf if foreign else _LONGEST)
    return value


def from_yaml(source: str, where: str) -> Any:
    """The value of a YAML text. Raises ConfigError when it is none that can be worked with."""
    try:
        loader = _Loader(source)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_nodes(node)
            value = loader.construct_document(node)
        finally:
            loader.dispose()
    except _NO_YAML as error:
        raise ConfigError(f"{where} is not YAML: {_why(error)}") from None
    _check_values(value, where)
    return value


_NO_YAML = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What PyYAML raises for a bad date, a key that is a list, a tag that its value does not fit, and the like."""


def _why(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return " ".join(str(error).split())[:300]


class _Loader(yaml.SafeLoader):
    """Plain values alone, each key once."""

    def fetch_flow_collection_start(self, kind: Any) -> None:
        """The scanner takes the square of the depth."""
        if self.flow_level > _DEEPEST:
            raise RecursionError
        super().fetch_flow_collection_start(kind)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Iterator[dict[Hashable, Any]]:
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            if key.value in seen:
                raise ValueError(f"the key {key.value[:60]!r} stands twice in line {key.start_mark.line + 1}")
            seen.add(key.value)
    return loader.construct_yaml_map(node)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def _check_nodes(node: yaml.Node) -> None:
    """Raises ValueError when a document refers to itself, or its aliases stand for more than anybody has written."""
    sizes: dict[int, int] = {}

    def size(of: yaml.Node, above: frozenset[int]) -> int:
        if id(of) in above:
            raise ValueError("it holds itself (an alias inside of its anchor)")
        if len(above) > _DEEPEST:
            raise RecursionError
        if id(of) not in sizes:
            sizes[id(of)] = 1 + sum(size(part, above | {id(of)}) for part in _parts(of))
        return sizes[id(of)]

    if size(node, frozenset()) > _MOST_NODES:
        raise ValueError(f"its aliases stand for more than {_MOST_NODES:,} values")


def _parts(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _check_values(value: Any, where: str, most: float = _LONGEST) -> None:
    """Raises ConfigError for texts that no file can hold, numbers of any length, and what is nested too deeply."""
    waiting = [(value, 0)]
    while waiting:
        each, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ConfigError(f"{where} cannot be read: it is nested too deeply")
        if isinstance(each, str) and _HALF.search(each):
            raise ConfigError(f"{where} cannot be read: it holds half a character (a lone surrogate)")
        if isinstance(each, int) and abs(each) >= most:
            raise ConfigError(f"{where} cannot be read: it holds a number of more than 64 bits")
        if isinstance(each, dict):
            waiting += [(part, depth + 1) for pair in each.items() for part in pair]
        elif isinstance(each, list | tuple | set):
            waiting += [(part, depth + 1) for part in each]


def _integer(digits: str) -> int:
    if len(digits) > 20:
        raise ValueError(f"the number {digits[:12]}... has {len(digits):,} digits")
    return int(digits)


def _finite(digits: str) -> float:
    if not math.isfinite(value := float(digits)):
        raise ValueError(f"the number {digits[:20]} is too large")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"the key {twice[:60]!r} stands twice")
    return values
