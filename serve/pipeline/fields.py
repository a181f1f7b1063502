"""The fields of a chat-completions body: each is read, or refused in a sentence that names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import APIError


def integer(body: Mapping[str, Any], field: str, default: int, least: int = 1, most: int | None = None) -> int:
    """A whole number; the default where it is null or not there. Raises APIError for anything else."""
    value = body.get(field)
    if value is None:
        return default
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or value < least or (most is not None and value > most):
        upto = "" if most is None else f" to {most}"
        raise APIError(400, f"{field} must be a whole number from {least}{upto}", param=field)
    return int(value)


def number(body: Mapping[str, Any], field: str, default: float, least: float, most: float) -> float:
    """A number; the default where it is null or not there. Raises APIError for anything else."""
    value = body.get(field)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise APIError(400, f"{field} must be a number from {least:g} to {most:g}", param=field)
    return float(value)


def boolean(body: Mapping[str, Any], field: str) -> bool:
    """True or false; false where it is null or not there. Raises APIError for anything else."""
    value = body.get(field)
    if value is not None and not isinstance(value, bool):
        raise APIError(400, f"{field} must be true or false", param=field)
    return bool(value)


def messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages: objects with a role, and a content that is a text, a list of parts or null. Raises APIError."""
    found = body.get("messages")
    if not isinstance(found, list) or not found:
        raise APIError(400, "messages must be a list with at least one message", param="messages")
    for i, turn in enumerate(found):
        where = f"messages[{i}]"
        if not isinstance(turn, dict):
            raise APIError(400, f"{where} must be an object", param=where)
        if not isinstance(turn.get("role"), str):
            raise APIError(400, f"{where}.role must be a string", param=f"{where}.role")
        _check_content(turn.get("content"), f"{where}.content")
    return found


def _check_content(content: Any, where: str) -> None:
    if not (content is None or isinstance(content, str | list)):
        raise APIError(400, f"{where} must be a string or a list of parts", param=where)
    for i, part in enumerate(content if isinstance(content, list) else ()):
        if not isinstance(part, dict):
            raise APIError(400, f"{where}[{i}] must be an object", param=f"{where}[{i}]")
