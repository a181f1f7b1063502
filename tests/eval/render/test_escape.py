"""Names and texts in Markdown, LaTeX, CSV and figures: nothing in them is executed, or breaks what they stand in."""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divcon.eval.render import escape
from divcon.eval.render.table import latex, markdown

HOSTILE = (
    "a|b",
    "`code`",
    "``",
    "<script>alert(1)</script>",
    "<!-- x",
    "&lt;b&gt;",
    "[x](http://a.example)",
    "![x](http://a.example/y.png)",
    "[1](http://a.example)",
    "http://a.example",
    "www.a.example",
    "**b** _i_ __b__ ~~s~~ *",
    "\\",
    "a\\|b",
    "a\nb",
    "a\r\n\r\n# b",
    "\u2028| x |",
    "$x",
    r"\frac{",
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    " =1",
    "\uff1d1",
    'a"b,c',
    "nul \x00",
    "lone \ud800",
    "\u202ebackwards",
    "[4pt]",
    "*",
    "--",
    "50 % of {a} & #b ~ ^ _",
)
texts = st.text(alphabet=st.characters()) | st.sampled_from(HOSTILE) | st.lists(st.sampled_from(HOSTILE)).map("".join)


def read_markdown(source: str) -> tuple[list[list[str]], set[str]]:
    """The cells of a table's rows as a reader sees them, and the kinds of markup in them."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(source)
    assert [token.type for token in tokens if token.level == 0 and token.nesting >= 0] == ["table_open"]
    rows: list[list[str]] = []
    kinds: set[str] = set()
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append("".join(child.content for child in token.children or ()))
            kinds |= {child.type for child in token.children or ()}
    return rows, kinds - {"text", "text_special", "softbreak"}


@given(texts, texts)
def test_a_markdown_table_shows_every_text_as_it_is_and_runs_none(one: str, other: str) -> None:
    rows, kinds = read_markdown(markdown(([one, "n"], [[other, "1"], [one, other]])))
    shown = [" ".join(escape.line(text).split()) for text in (one, other)]
    assert [[" ".join(cell.split()) for cell in row] for row in rows] == [
        [shown[0], "n"],
        [shown[1], "1"],
        shown,
    ]
    assert not kinds


@pytest.mark.parametrize("text", ["http://a.example", "HTTPS://a.example", "www.a.example", "see http://a.example/x"])
def test_no_name_becomes_a_link_by_itself(text: str) -> None:
    assert not re.search(r"(?i)https?://|www\.", escape.markdown(text))


@pytest.mark.parametrize("text", ["-3.5 [-7.0, +0.5]*", "73.5 [67.0, 79.1]", "1.28e+08", "12,300 [never, never]", "60"])
def test_numbers_stay_readable_in_the_source(text: str) -> None:
    assert escape.markdown(text) == text


def test_what_looks_like_a_number_and_is_none_is_escaped() -> None:
    assert escape.markdown("1 [2, 3](http://a.example)") != "1 [2, 3](http://a.example)"
    assert escape.latex("1e+05 x") == "1e+05 x"


values = st.none() | st.integers() | st.floats() | st.booleans() | texts


@given(st.lists(st.lists(values, min_size=2, max_size=2)))
def test_no_text_in_a_csv_is_a_formula_and_every_number_stays_one(rows: list[list[object]]) -> None:
    written = escape.csv(["a", "b"], rows)
    header, *read = csv.reader(io.StringIO(written, newline=""))
    assert header == ["a", "b"] and len(read) == len(rows)
    for row, cells in zip(rows, read, strict=True):
        for value, cell in zip(row, cells, strict=True):
            if isinstance(value, str):
                assert cell.removeprefix("'") == value.removeprefix("'").encode("utf-8", "backslashreplace").decode()
                is_number = re.fullmatch(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?", cell, re.ASCII)
                assert is_number or not re.match(r"[\s\0-\x1f]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]", cell)
            else:
                assert cell == ("" if value is None else str(value))


@given(texts)
def test_latex_gets_one_line_whose_braces_match_and_no_command_but_ours(text: str) -> None:
    found = escape.latex(text)
    bare = re.sub(r"\\[_%&#${}]", "", found)
    assert len(found.splitlines()) < 2 and not re.search("[\0-\x1f\x7f]", found)
    assert bare.count("{") == bare.count("}") and not re.search('[%&#~^_<>|"]', re.sub(r"10\^\{", "", bare))
    ours = {"textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textbar", "char"}
    assert set(re.findall(r"\\([A-Za-z]+)", bare)) <= ours | {"textdagger", "rightarrow", "times"}


def test_a_cell_that_begins_like_an_argument_does_not_become_one_of_the_row_before() -> None:
    source = latex((["a"], [["[4pt]"], ["*"]]), "")
    assert "{[}4pt]" in source and "{*}" in source


@given(texts)
def test_a_label_is_one_short_line(text: str) -> None:
    found = escape.label(text)
    assert 0 < len(found) < 50 and len(found.splitlines()) == 1
    found.encode("utf-8")
