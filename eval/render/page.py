"""Pieces of the report's page: one file that asks nothing of the network, and in which no text can become markup."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from .table import Places, Table

_FIRST = ("theme.js",)
"""Runs before anything is painted."""
_SCRIPTS = ("elements.js", "address.js", "plot.js", "unpack.js", "browser.js", "start.js")


@dataclass(frozen=True)
class Figures:
    """The figures that were drawn into a report's folder."""

    folder: Path
    drawn: Sequence[str]

    def __call__(self, name: str, caption: str) -> list[str]:
        """One of them, drawn in the page; nothing where the run had nothing for it."""
        if name not in self.drawn:
            return []
        drawing = (self.folder / f"{name}.svg").read_text(encoding="utf-8")
        svg = drawing[drawing.index("<svg") :].replace(
            "<svg", f'<svg role="img" aria-label="{html.escape(caption)}"', 1
        )
        return [f"<figure class={name}>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>"]


def table(table: Table, bold: Places = frozenset()) -> str:
    """A table that scrolls sideways where it is wider than the page."""
    header, rows = table

    def cell(text: str, place: tuple[int, int]) -> str:
        return f"<td>{f'<strong>{html.escape(text)}</strong>' if place in bold else html.escape(text)}</td>"

    head = "".join(f"<th scope=col>{html.escape(name)}</th>" for name in header)
    body = "\n".join(
        "<tr>" + "".join(cell(text, (i, j)) for j, text in enumerate(row)) + "</tr>" for i, row in enumerate(rows)
    )
    return f"<div class=wide tabindex=0><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>"


def folded(title: str, text: str) -> str:
    """A text that is shown on demand."""
    return f"<details><summary>{html.escape(title)}</summary><pre>{html.escape(text)}</pre></details>"


def packed(value: Any) -> str:
    """JSON for the page's script to unpack: gzip in base64, the same bytes for the same value."""
    return base64.b64encode(gzip.compress(_json(value).encode("ascii"), 9, mtime=0)).decode("ascii")


def block(name: str, data: str) -> str:
    """Packed data under a name; browsers neither run it nor show it."""
    return f"<script type=application/octet-stream id={name}>{data}</script>"


def facts(name: str, value: Any) -> str:
    """A small value under a name. Nothing in it can end the block."""
    said = _json(value).replace("<", "\\u003c")
    return f"<script type=application/json id={name}>{said}</script>"


def document(title: str, sections: Sequence[str], blocks: Sequence[str] = ()) -> str:
    """The page: contents, sections, and behind its script the blocks that it takes data from."""
    body, behind = "\n".join(map(_anchored, sections)), "\n".join(blocks)
    contents = "".join(
        f'<li><a href="#{_anchor(name)}">{name}</a></li>' for name in _HEADING.findall("\n".join(sections))
    )
    first, then = (_script(names) for names in (_FIRST, _SCRIPTS))
    policy = (
        f"default-src 'none'; script-src {_hash(first)} {_hash(then)}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>\n"
        f'<meta http-equiv=Content-Security-Policy content="{policy}">\n'
        "<meta name=viewport content='width=device-width, initial-scale=1'>\n"
        f"<title>{html.escape(title)}</title>\n<style>{_file('page.css')}</style>\n<script>{first}</script></head>\n"
        "<body><a class=skip href='#content'>Skip to the content</a>\n"
        f"<header><nav aria-label=Contents><ul>{contents}</ul></nav>"
        "<button type=button id=theme hidden>Dark</button></header>\n"
        f"<main id=content tabindex=-1>\n{body}\n</main>\n<script>{then}</script>\n"
        f"{behind}\n</body></html>\n"
    )


_HEADING = re.compile("<h2>(.*?)</h2>")


def _anchored(section: str) -> str:
    return _HEADING.sub(lambda found: f'<h2 id="{_anchor(found[1])}">{found[1]}</h2>', section)


def _anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


def _json(value: Any) -> str:
    """In ASCII: a lone surrogate, which is no text in UTF-8, survives."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _script(names: Sequence[str]) -> str:
    return '"use strict";\n' + "\n".join(map(_file, names))


def _hash(script: str) -> str:
    """What the policy knows a script by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode('ascii')}'"


def _file(name: str) -> str:
    return (resources.files(__package__) / "web" / name).read_text(encoding="utf-8")
