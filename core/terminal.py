"""The one place that prints: text of models, servers and files reaches a terminal as text, never as commands to it.

Control characters move the cursor, set titles and colours and can type for the user; format characters reorder or hide
what is read. They are shown as escapes (`\\x1b`, `\\u202e`). Files and `--json` keep the data as they are.
"""

from __future__ import annotations

import json
import logging
import re
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TextIO

import click

_ACTS = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of control, format, surrogate, line separator and paragraph separator."""
_KEPT = "\n\t"


def visible(text: str) -> str:
    """The text with every character that a terminal would act on, or hide, as an escape; lines and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return _UNUSUAL.sub(lambda found: _escaped(found[0]), text.replace("\r\n", "\n"))


_UNUSUAL = re.compile(r"[^ -~\n\t]")


@lru_cache(maxsize=4096)
def _escaped(character: str) -> str:
    if unicodedata.category(character) not in _ACTS or character in _KEPT:
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def echo(text: object, *, err: bool = False, file: TextIO | None = None) -> None:
    """Print a line for a person."""
    click.echo(visible(str(text)), err=err, file=file)


def json_text(value: Any, indent: int | None = None) -> str:
    """The value as JSON that a terminal can show: all but printable ASCII is escaped, and the data are unchanged."""
    return json.dumps(value, indent=indent).replace("\x7f", "\\u007f")


def echo_json(value: Any, indent: int) -> None:
    """Print a value as JSON."""
    click.echo(json_text(value, indent))


class _Record(logging.LogRecord):
    """A log record whose message is visible, whoever logs it."""

    def getMessage(self) -> str:  # noqa: N802  # the library's name
        return visible(super().getMessage())


@contextmanager
def libraries_visible() -> Iterator[None]:
    """For the length of a block, what libraries warn of and log is made visible too."""
    formats, makes = warnings.formatwarning, logging.getLogRecordFactory()

    def formatted(*args: Any, **options: Any) -> str:
        return visible(formats(*args, **options))

    warnings.formatwarning = formatted
    logging.setLogRecordFactory(_Record)
    try:
        yield
    finally:
        warnings.formatwarning = formats
        logging.setLogRecordFactory(makes)
