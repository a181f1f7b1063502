"""Pieces of the report's page."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .tables import Table


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
        svg = drawing[drawing.index("<svg") :]
        return [f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>"]


def table(table: Table) -> str:
    """A table that scrolls sideways where it is wider than the page."""
    header, rows = table
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "\n".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>"


CSS = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0; color: #222; background: #fff; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.lead { font-size: 1.05rem; border-left: 4px solid #0072B2; padding-left: 1rem; }
.note, figcaption { color: #555; font-size: .85rem; }
figure { margin: 1rem 0; } figure svg { width: 100%; height: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th { white-space: normal; vertical-align: bottom; }
td:nth-child(-n+3), th:nth-child(-n+3) { text-align: left; }
details { margin: .4rem 0; } .cases details { margin-left: 1rem; } summary { cursor: pointer; }
dt { font-weight: 600; margin-top: .4rem; } dd { margin-left: 1rem; white-space: pre-wrap; }
main:has(.only:checked) .cases .agree { display: none; }
pre { background: #f5f5f5; padding: 1rem; overflow-x: auto; }
"""
