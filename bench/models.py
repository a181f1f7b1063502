"""Which families of models work with what, from the tests that try each of them in small.

    python -m bench.models > docs/reference/models.md

Every family has its real class and a config in its published form with small sizes, random weights, and the chat
template that TRL ships for it. A cell is the outcome of one test of `tests/lm/local/test_families.py`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Mapping
from datetime import date
from importlib.metadata import version
from pathlib import Path

from divcon.lm.local import environment
from tests.fakes.families import FAMILIES

TESTS = "tests/lm/local/test_families.py"
COLUMNS = {
    "test_a_student_is_trained_in_the_context_in_which_it_is_asked": "`thinking` heeded",
    "test_an_adapter_learns_on_it_and_is_asked": "LoRA",
    "test_no_adapter_lies_where_none_belongs": "adapter only where text passes",
    "test_all_of_it_learns_and_the_whole_model_loads_again": "full",
    "test_it_is_served_whole_and_as_a_stream": "generate, serve",
    "test_its_size_is_what_a_token_of_text_passes": "FLOPs / counter",
}
_WITH = ("transformers", "peft", "trl", "torch")


def outcomes(report: Path) -> Mapping[str, Mapping[str, str]]:
    """What each test said of each family: what it recorded, `works`, or the sentence of its failure."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for case in ElementTree.parse(report).iter("testcase"):
        named = re.fullmatch(r"(\w+)\[(.+)\]", case.attrib["name"])
        if named:
            found[named[2]][named[1]] = _outcome(case)
    return found


def _outcome(case: ElementTree.Element) -> str:
    failed = case.find("failure") if case.find("failure") is not None else case.find("error")
    if failed is not None:
        return f"**no**: {failed.attrib.get('message', '').splitlines()[0]}"
    return next((recorded.attrib["value"] for recorded in case.iter("property")), "works")


def table(found: Mapping[str, Mapping[str, str]]) -> list[str]:
    """A row for each family."""
    header = ["family", "class", "chat template", *COLUMNS.values()]
    rows = [_row(name, found[name]) for name in FAMILIES]
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]


def _row(name: str, outcome: Mapping[str, str]) -> list[str]:
    family = FAMILIES[name]
    template = f"TRL's `{family.template}`" if family.template else "plain, of the tests"
    flops = outcome["test_its_size_is_what_a_token_of_text_passes"]
    if family.dense:
        outcome = {**outcome, "test_its_size_is_what_a_token_of_text_passes": f"{flops} (its class asks every expert)"}
    return [name, f"`{type(family.config()).__name__}`", template, *(outcome[test] for test in COLUMNS)]


def main() -> None:
    """Run the tests of every family, and write the page."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            TESTS,
            "-m",
            "",
            "-o",
            "junit_family=xunit1",
            f"--junitxml={report}",
        ]
        subprocess.run(command, check=False, stdout=sys.stderr)
        found = outcomes(report)
    versions = ", ".join(f"{name} {version(name)}" for name in _WITH)
    made = f"{date.today().isoformat()}, {environment.current().processor}"
    print(PAGE.format(table="\n".join(table(found)), versions=versions, made=made))


PAGE = """# Families of models

Each family in small: its real class, a config in its published form with small sizes, random weights. So a cell says
that the mechanics hold, not what such a model knows. `python -m bench.models > docs/reference/models.md` makes this
page from the tests, with {versions} (seed 0, {made}).

{table}

* **`thinking` heeded**: the values of `thinking` that its template follows; another is refused in a sentence. A
  template without a switch still works where `thinking` is not set, and reasoning is found in its replies by its marks.
  In every case a student is trained in exactly the context in which it is asked.
* **LoRA**: an adapter learns, is kept, is loaded and asked. **full**: all weights learn, and the model loads again.
* **adapter only where text passes**: no adapter lies on a tower of pictures, on a router of experts, or on a layer that
  a kernel reads past the adapter (`conv1d` and `out_proj` of state-space layers).
* **generate, serve**: the endpoint answers whole and as a stream, and both say the same.
* **FLOPs / counter**: FLOPs by divcon's size of the model (active experts, tied embeddings, no towers) over what
  torch's counter saw, for a prompt of 48 tokens; for families that scan, for one token behind a prompt, because the
  scan itself is in neither the size nor the papers' formula.
"""


if __name__ == "__main__":
    main()
