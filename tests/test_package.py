"""The folders, the links, the floors and the packaging agree with one another."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import divcon

from .paths import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["tool"]
SETUPTOOLS = PROJECT["setuptools"]
FOLDERS = sorted(path.name for path in (ROOT / "divcon").iterdir() if path.is_symlink())
CONTRACTS = {contract["name"]: contract for contract in PROJECT["importlinter"]["contracts"]}


def test_every_folder_of_code_is_a_listed_package() -> None:
    folders = {path.parent.relative_to(ROOT) for name in FOLDERS for path in (ROOT / name).rglob("*.py")}
    listed = {Path(folder) for package, folder in SETUPTOOLS["package-dir"].items() if package != "divcon"}
    assert folders == listed
    assert set(SETUPTOOLS["packages"]) == SETUPTOOLS["package-dir"].keys()


def test_every_requirement_has_bounds_on_both_sides() -> None:
    """Without a lower one, a resolver falls back to a version of years ago."""
    extras = PYPROJECT["project"]["optional-dependencies"]
    wanted = [*PYPROJECT["project"]["dependencies"], *(each for extra in extras.values() for each in extra)]
    assert [each for each in wanted if ">=" not in each or "<" not in each] == []
    assert {"vllm", "qlora", "tensorboard", "trackio", "wandb"} <= extras.keys()
    assert not any(each.startswith("litellm") for each in wanted)


def test_every_link_points_home() -> None:
    links = {path.name: path.resolve() for path in (ROOT / "divcon").iterdir() if path.is_symlink()}
    assert links == {name: (ROOT / name).resolve() for name in FOLDERS}


def test_every_package_stands_on_a_floor() -> None:
    """The contract of floors cannot be exhaustive over folders within folders: a new one must be listed by hand."""
    listed = {name.strip() for floor in CONTRACTS["floors"]["layers"] for name in floor.split(":")}
    parents = {name.rpartition(".")[0] for name in listed if name.count(".") == 2}
    packages = {name for name in SETUPTOOLS["packages"] if not name.startswith("divcon.tasks.")}
    assert packages - {"divcon"} <= listed | parents
    assert {name for name in parents if name != "divcon"} <= {f"divcon.{name}" for name in _with_own_floors()}


def _with_own_floors() -> Iterator[str]:
    for contract in CONTRACTS.values():
        for container in contract.get("containers", ()):
            assert contract["exhaustive"], contract["name"]
            yield container.removeprefix("divcon.")


def test_no_modules_import_one_another_in_a_circle() -> None:
    modules = {_name(file): file for name in ("divcon", *FOLDERS) for file in (ROOT / name).rglob("*.py")}
    imports = {name: set(_imported(file, name, modules)) - {name} for name, file in modules.items()}
    assert sum(map(len, imports.values())) > 500
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as circle:
        pytest.fail(" -> ".join(circle.args[1]))


def _name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "divcon" else ("divcon", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(file: Path, name: str, modules: dict[str, Path]) -> Iterator[str]:
    """The modules that a module imports, wherever in it, also for its types alone."""
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = [*package[: len(package) - node.level + 1], *(node.module.split(".") if node.module else ())]
            for alias in node.names:
                found = ".".join([*above, alias.name])
                yield found if found in modules else ".".join(above)


@pytest.mark.skipif(
    "DIVCON_INSTALLED" not in os.environ, reason="this run tests the sources; make test-wheel the wheel"
)
def test_the_wheel_is_what_is_tested() -> None:
    assert Path(divcon.__file__).is_relative_to(Path(os.environ["DIVCON_INSTALLED"]).resolve())


def loaded_by(code: str) -> set[str]:
    """The top-level modules that some code loads in a process of its own."""
    told = "import sys\n" + code + "\nprint(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", told], check=True, cwd=ROOT, capture_output=True, text=True)
    return set(done.stdout.splitlines()[-1].split())


def test_help_needs_no_heavy_library() -> None:
    asked = "from click.testing import CliRunner\nfrom divcon.cli import main\n"
    loaded = loaded_by(asked + "assert CliRunner().invoke(main, ['--help']).exit_code == 0")
    assert not {"torch", "openai", "sympy", "transformers", "pydantic", "numpy"} & loaded


def test_a_call_loads_what_it_needs_and_no_more() -> None:
    """What draws reports or reads their tables is not loaded to serve, nor is the SDK: the server needs none."""
    heavy = {"matplotlib", "pyarrow", "openai"}
    assert not heavy & loaded_by("import divcon\ndivcon.plug")
    assert not heavy & loaded_by("import divcon.serve.http.start")


def test_a_class_of_the_package_has_a_name_of_its_own() -> None:
    """Whoever searches for a class finds one."""
    homes: dict[str, list[str]] = {}
    for name, node in _definitions():
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            homes.setdefault(node.name, []).append(name)
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


def test_a_module_and_a_folder_beside_it_have_names_of_their_own() -> None:
    folders = {path.parent for name in FOLDERS for path in (ROOT / name).rglob("__init__.py")}
    assert [folder for folder in folders if folder.with_suffix(".py").exists()] == []


BANNED = frozenset(["said", "told", "made", "found", "asked", "own", "of", "beside", "whole"])
"""Words that say nothing of what something is."""


def test_no_public_function_or_class_is_called_by_a_word_that_says_nothing() -> None:
    assert [f"{name}.{node.name}" for name, node in _definitions() if node.name.lower() in BANNED] == []


def _definitions() -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """The functions and classes that stand at the top of a module, with the module's name."""
    for name in ("divcon", *FOLDERS):
        for file in sorted((ROOT / name).glob("*.py") if name == "divcon" else (ROOT / name).rglob("*.py")):
            for node in ast.parse(file.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    yield _name(file), node
