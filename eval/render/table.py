"""A table as Markdown, LaTeX (booktabs), CSV and Parquet, and how its numbers are written."""

from __future__ import annotations

from collections.abc import Sequence
from math import isinf, isnan
from pathlib import Path

from ..stats.intervals import Estimate
from . import escape

Table = tuple[list[str], list[list[str]]]
"""A header and rows of cells."""
Places = frozenset[tuple[int, int]]
"""Rows and columns of a table's body."""
INCOMPLETE = "\N{DAGGER}"
"""Stands beside the numbers of a cell that was not asked every question."""


def markdown(table: Table, bold: Places = frozenset()) -> str:
    """A table in which no name or text is markup."""
    header, rows = table

    def cell(text: str, place: tuple[int, int]) -> str:
        return f"**{escape.markdown(text)}**" if place in bold else escape.markdown(text)

    marked = [[cell(text, (i, j)) for j, text in enumerate(row)] for i, row in enumerate(rows)]
    lines = [[*map(escape.markdown, header)], ["---"] * len(header), *marked]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def latex(table: Table, caption: str, bold: Places = frozenset(), note: str = "") -> str:
    """A floating table for `booktabs`, with a note below; needs no other package."""
    header, rows = table
    marked = [
        [rf"\textbf{{{escape.latex(cell)}}}" if (i, j) in bold else escape.latex(cell) for j, cell in enumerate(row)]
        for i, row in enumerate(rows)
    ]
    body = "\n".join(" & ".join(row) + r" \\" for row in marked)
    head = " & ".join(map(escape.latex, header)) + r" \\"
    return (
        "\\begin{table}\n\\centering\n\\footnotesize\n\\setlength{\\tabcolsep}{4pt}\n"
        f"\\caption{{{escape.latex(caption)}}}\n\\begin{{tabular}}{{{_columns(rows)}}}\n\\toprule\n"
        f"{head}\n\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"
        + (f"\n\\smallskip\n\\raggedright\\footnotesize {escape.latex(note)}\n" if note else "")
        + "\\end{table}\n"
    )


def _columns(rows: Sequence[Sequence[str]]) -> str:
    """Words to the left, numbers to the right."""
    return "".join(
        "r" if any(cell[:1] in "0123456789+-" for cell in of if cell) else "l" for of in zip(*rows, strict=True)
    )


def save(numbers: tuple[list[str], list[list[object]]], as_csv: Path, as_parquet: Path) -> None:
    """Numbers, unrounded."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    header, rows = numbers
    columns = pa.table([list(column) for column in zip(*rows, strict=True)], names=header)
    as_csv.write_text(escape.csv(header, rows), encoding="utf-8", newline="")
    pq.write_table(columns, as_parquet, write_page_checksum=True)


def percent(estimate: Estimate) -> str:
    """`73.5 [67.0, 79.1]`, in per cent."""
    value, low, high = (100 * part for part in estimate)
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def points(estimate: Estimate) -> str:
    """`-3.5 [-7.0, +0.5]`, in percentage points."""
    value, low, high = (100 * part for part in estimate)
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def decimal(estimate: Estimate) -> str:
    """`0.735 [0.670, 0.791]`, as it is; what cannot be told is called unknown."""
    return "unknown" if isnan(estimate.value) else "{:.3f} [{:.3f}, {:.3f}]".format(*estimate)


def number(value: float | None) -> str:
    """Three significant digits; what nobody knows is called so."""
    return "unknown" if value is None else f"{value:.3g}"


def questions(estimate: Estimate | None) -> str:
    """`12,300 [11,900, 12,800]`, to three digits; `never` where nothing is saved."""
    if estimate is None:
        return "unknown"
    value, low, high = ("never" if isinf(n) else f"{float(f'{n:.3g}'):,.0f}" for n in estimate)
    return value if value == low == high else f"{value} [{low}, {high}]"
