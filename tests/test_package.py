"""The folders, the links and the packaging agree with one another."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import divcon

from .paths import ROOT

SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
FLOORS = ["configs", "prompts", "core", "tasks", "lm", "decompose", "solve", "distill", "eval", "studies", "serve"]
"""From the ground up: a folder imports from those before it. The CLI stands on top of all."""


def test_every_folder_of_code_is_a_listed_package() -> None:
    folders = {path.parent.relative_to(ROOT) for name in FLOORS for path in (ROOT / name).rglob("*.py")}
    listed = {Path(folder) for package, folder in SETUPTOOLS["package-dir"].items() if package != "divcon"}
    assert folders == listed
    assert set(SETUPTOOLS["packages"]) == SETUPTOOLS["package-dir"].keys()


def test_every_link_points_home() -> None:
    links = {path.name: path.resolve() for path in (ROOT / "divcon").iterdir() if path.is_symlink()}
    assert links == {name: (ROOT / name).resolve() for name in FLOORS}


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_run_downwards_only(floor: str) -> None:
    below = set(FLOORS[: FLOORS.index(floor) + 1])
    for file in (ROOT / floor).rglob("*.py"):
        depth = len(file.relative_to(ROOT).parts) - 1
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == depth + 1:
                reached = {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
                assert reached <= below, f"{file.relative_to(ROOT)} imports {reached} from above"


@pytest.mark.skipif(
    "DIVCON_INSTALLED" not in os.environ, reason="this run tests the sources; make test-wheel the wheel"
)
def test_the_wheel_is_what_is_tested() -> None:
    assert Path(divcon.__file__).is_relative_to(Path(os.environ["DIVCON_INSTALLED"]).resolve())


def test_help_needs_no_heavy_library() -> None:
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from divcon.cli import main\n"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0\n"
        "assert not {'torch', 'openai', 'sympy', 'transformers', 'pydantic', 'numpy'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
