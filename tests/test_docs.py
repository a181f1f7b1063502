"""What the documentation shows is true."""

from __future__ import annotations

import ast
import re
import runpy
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import divcon
from divcon import commands
from divcon.cli import main
from divcon.distill.method_catalogue import METHODS
from divcon.distill.methods import TRAIN, distil
from divcon.eval.config import load
from divcon.lm import Store

from .distill.test_methods import RECIPE, course
from .paths import ROOT

DOCS = ROOT
PAGES = [DOCS / "README.md", *DOCS.glob("docs/**/*.md"), DOCS / "CONTRIBUTING.md"]


@pytest.mark.parametrize(
    ("maker", "page"), [("reference.py", "reference.md"), ("python_reference.py", "reference/python.md")]
)
def test_the_reference_is_current(maker: str, page: str) -> None:
    made = runpy.run_path(str(DOCS / "docs" / maker))["page"]()
    assert (DOCS / "docs" / page).read_text(encoding="utf-8") == made, "make docs writes it again"


def test_every_setting_says_what_it_is_for() -> None:
    page = (DOCS / "docs" / "reference.md").read_text(encoding="utf-8")
    silent = set(re.findall(r"^\| `(\w+)` \|.*\|  \|$", page, flags=re.MULTILINE))
    assert silent <= {"source", "engine", "kind"}  # their one value says it


def example(page: str) -> dict[str, Any]:
    """What the only Python block of a page leaves."""
    text = (DOCS / "docs" / "how-to" / page).read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    left: dict[str, Any] = {}
    exec(code, left)
    return left


def test_the_example_of_ones_own_solver_runs(capsys: pytest.CaptureFixture[str]) -> None:
    example("own-solver.md")
    assert capsys.readouterr().out == "{'none → last number': [1.0], 'first sentence → last number': [1.0]}\n"


@pytest.mark.model
def test_the_example_of_ones_own_engine_takes_the_llms_place(tmp_path: Path) -> None:
    engine = example("own-engine.md")["Mine"]()
    overrides = ["grid.decomposers=[none]", "grid.solvers=[llm]", "grid.samples=0"]
    found = commands.evaluate("miniature", overrides=overrides, limit=1, run=tmp_path / "run", llm=engine)
    assert all(row.solutions[0].startswith("The answer is ") and row.answer for row in found.rows)
    with Store(tmp_path / "run" / "store.sqlite") as store:
        assert len(store) == len(found.rows) == 4


def test_the_example_of_ones_own_method_distils(tmp_path: Path) -> None:
    try:
        example("own-method.md")
        recipe = RECIPE.model_copy(update={"method": "kd-then-nt", "max_train_tokens": 200})
        trained = distil("kd-then-nt", course(tmp_path / "stages", recipe), tmp_path / "student")
        assert trained.steps > 0 and (tmp_path / "student" / "adapter_config.json").is_file()
        assert str(METHODS["kd-then-nt"]) == "kd, then negative training from its student"
    finally:
        METHODS.pop("kd-then-nt", None)
        TRAIN.pop("kd-then-nt", None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if "://" not in link and not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_is_shown_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"```\n(.*?)```", text, flags=re.DOTALL) + re.findall(r"^ {4}(.*)$", text, flags=re.MULTILINE)
    shown = re.findall(r"^divcon ([a-z]+)", "\n".join(blocks), flags=re.MULTILINE)
    assert set(shown) <= set(main.commands)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_setting_that_is_shown_is_known(page: Path) -> None:
    shown = re.findall(r"--set '([^']+)'", page.read_text(encoding="utf-8"))
    for override in shown:
        load("gsm8k-local", [override])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_number_is_still_to_come(page: Path) -> None:
    assert not re.findall(r"@[A-Z]+@|TODO|TBD|<!-- results -->", page.read_text(encoding="utf-8"))


BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_imported_from_divcon_is_there(page: Path) -> None:
    """In every block of Python; what is not divcon's need not be installed."""
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        tree = ast.parse(block)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "divcon":
                home = import_module(node.module or "")
                for name in node.names:
                    assert hasattr(home, name.name) or find_spec(f"{node.module}.{name.name}"), (
                        f"{node.module}.{name.name}"
                    )
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "divcon":
                assert hasattr(divcon, node.attr), f"divcon.{node.attr}"


FINDING = re.compile(r"<!-- finding: make results -->\n(.*?)\n<!-- finding: end -->", re.DOTALL)


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_the_finding_is_the_one_that_was_made_of_the_runs(page: str) -> None:
    """Nobody writes it by hand: `bench/miniature/finding.py` does, by the rules of `eval/analysis/conclusion.py`."""
    kept = (DOCS / "docs" / "results" / "finding.md").read_text(encoding="utf-8")
    (shown,) = FINDING.findall((DOCS / page).read_text(encoding="utf-8"))
    assert shown.strip() and kept == f"# The default study over seeds\n\n{shown}\n"
    assert len(re.findall(r"\d+ seeds \(0, 1, 2, 3, 4\)", shown)) == 1


def test_nothing_that_is_kept_names_a_path_of_the_machine_that_made_it() -> None:
    kept = [path for folder in ("docs", "configs", "tests/frozen") for path in (DOCS / folder).rglob("*")]
    texts = [path for path in kept if path.suffix in (".md", ".yaml", ".json", ".jsonl", ".csv", ".txt", ".tex")]
    pattern = re.compile(r"(?:^|[\s\"':=\[(])/(?:home|root|tmp|work|Users|mnt|data\d*)/\w", re.MULTILINE)
    assert len(texts) > 100
    assert [path.name for path in texts if pattern.search(path.read_text(encoding="utf-8"))] == []
