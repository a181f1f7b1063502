"""Which families of models work with which features, from tests of small copies.

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
from tests.lm.local.test_families import TOKENS

TESTS = "tests/lm/local/test_families.py"
COLUMNS = {
    "test_a_student_is_trained_in_the_context_in_which_it_is_asked": "`thinking`",
    "test_an_adapter_learns_on_it_and_is_asked": "LoRA",
    "test_no_adapter_lies_where_none_belongs": "LoRA placement",
    "test_all_of_it_learns_and_the_whole_model_loads_again": "full",
    "test_it_is_served_whole_and_as_a_stream": "generate, serve",
    "test_its_size_is_what_a_token_of_text_passes": "FLOPs / counter",
}
_WITH = ("transformers", "peft", "trl", "torch")


def outcomes(report: Path) -> Mapping[str, Mapping[str, str]]:
    """The result of each test for each family: what it recorded, `works`, or the sentence of its failure."""
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
    print(PAGE.format(tokens=TOKENS, table="\n".join(table(found)), versions=versions, made=made))


PAGE = """# Families of models

Each row is a family of models in small: its real class, a config in its published form with reduced sizes, and random
weights. A cell therefore shows that the mechanics work, not how good the model is. `make -C bench models` generates
this page from `tests/lm/local/test_families.py` ({versions}; seed 0; {made}).

{table}

* **`thinking`**: the values that have an effect on its chat template, or on what is written behind it. `off` is
  always possible: where the template has no switch, nothing is changed, or an empty block of reasoning is closed.
  Other values are refused with one sentence. Reasoning in replies is found by its tags in either case. The token ids
  that a student is trained on were compared with those that the engine sends: they are the same for every value
  listed.
* **LoRA**: an adapter is trained, saved, loaded and asked. **full**: all weights are trained, and the saved model is
  loaded and asked.
* **LoRA placement**: no adapter on vision or audio towers, on routers of experts, or on `conv1d` and `out_proj` of
  state-space layers, whose kernels ignore it. Attention and feed-forward layers get one, with one exception: PEFT has
  no names for gpt-oss's fused experts, so that its adapters are on attention alone.
* **generate, serve**: the endpoint answers in one piece and as a stream, and both give the same text.
* **FLOPs / counter**: divcon's count over that of torch's FLOP counter, for a prompt of {tokens} tokens. Divcon
  counts the active experts and tied embeddings once, and no towers. Torch counts the whole square of attention scores
  of which a causal model needs half; the other half is added to divcon's count before they are compared. For families
  with recurrent layers the ratio is of one token behind a prompt, since the recurrence itself is counted by neither.
"""


if __name__ == "__main__":
    main()
