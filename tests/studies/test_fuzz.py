"""Every JSON and YAML file of a run, mutated: a reader gets what it says, or one sentence about what is wrong."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import TrainerState

import divcon
from divcon.cli import main
from divcon.core.errors import DivconError
from divcon.distill import student
from divcon.distill.ranker import held_out, model
from divcon.distill.student import TrainingReport
from divcon.distill.traces import trace
from divcon.distill.training.checkpoints import damage_of
from divcon.distill.training.stage_cache import StageCache
from divcon.distill.training.trainer import Fitted
from divcon.eval import devices, freshness
from divcon.eval.analysis.training_cost import UpfrontCosts
from divcon.eval.config import load
from divcon.eval.grid import results, sample_counts
from divcon.eval.report import plots, provenance, report
from divcon.eval.run_dir import RunDirectory
from divcon.lm.local import nat
from divcon.lm.local.chat_template import template_of
from divcon.lm.local.footprint import adapter_parameters, footprint_of
from divcon.lm.local.model_dir import ModelDirectory
from divcon.lm.local.nat_config import NatConfig
from divcon.lm.local.weights import model_directory, weights_hash
from divcon.serve.backends.loading import opened
from divcon.serve.http import keys
from divcon.serve.http.keys import Caller, Keys
from divcon.studies import status
from divcon.studies.opening import open_study

EXAMPLES = int(os.environ.get("DIVCON_FUZZ", "2000"))
"""In all files together."""
SMALL = [
    *("distill.decomposer.max_train_tokens=1500", "distill.decomposer.data=all", "distill.decomposer.checkpoints=1"),
    "distill.single.max_train_tokens=1500",
    *("distill.solver.max_train_tokens=1500", "distill.solver.data=all", "distill.solver.checkpoints=1"),
    *("grid.samples=2", "grid.decomposers=[none,distilled]", "grid.solvers=[llm,distilled]", "grid.stops=[lead 2]"),
    *("grid.votes=[sc,rank_1_plus_learned]", "distill.ranker.epochs=1", "collect.solutions=4"),
    "tests={pears: {source: miniature, split: known-known, max_questions: 2}}",
]


pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run of the miniature study, with a ranker; and what other runs hold besides."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    divcon.study("miniature", overrides=SMALL, limit=6, run=folder)
    nat_student = folder / "nat"
    nat_student.mkdir()
    (nat_student / "nat_config.json").write_text(NatConfig(width=4).model_dump_json(), encoding="utf-8")
    checkpoint = folder / "checkpoint-4"
    checkpoint.mkdir()
    state = TrainerState(global_step=4, max_steps=8, log_history=[{"loss": 1.0, "step": 2}])
    state.save_to_json(str(checkpoint / "trainer_state.json"))
    StageCache(folder / "stages").keep("first", {}, _teach)
    shutil.copytree(model_directory("miniature/base"), folder / "model")
    keys.add(folder / "keys.json", Caller("mia", 3.0, None))
    _forget_hashes(folder)
    return folder


def _forget_hashes(folder: Path) -> None:
    """As of a run from before there were any: else a hash finds whatever is changed, and no shape is looked at."""
    for sums in [*folder.rglob("SHA256SUMS")]:
        sums.unlink()
    for card in [*folder.rglob("divcon.json"), *folder.rglob("stage.json")]:
        facts = json.loads(card.read_text(encoding="utf-8"))
        facts = {name: value for name, value in facts.items() if name not in ("sha256", "files")}
        card.write_text(json.dumps(facts), encoding="utf-8")


def _teach(scratch: Path) -> tuple[Fitted, Callable[[Path], object]]:
    curve = [{"loss": 2.0, "step": 1, "logprob_right": -1.0}]
    return Fitted(TrainingReport(1, 0, 1, 9, 9, 1.0, 0.5), curve), lambda out: out.mkdir(parents=True)


class Read(NamedTuple):
    """A file of a run, and everything that reads it."""

    file: str
    readers: tuple[Callable[[Path], object], ...]


def _hash(folder: str) -> Callable[[Path], object]:
    def read(run: Path) -> object:
        weights_hash.cache_clear()
        return weights_hash(run / folder)

    return read


def _serves(run: Path) -> object:
    return opened(str(run / "decomposer"), "decomposer", None, 8).engine.identity(run / "decomposer")


def _model(run: Path) -> object:
    local = ModelDirectory(str(run / "model"))
    return footprint_of(local.directory), local.context, local.identity("here", "it", None)


def _tokenizer(run: Path) -> object:
    local = ModelDirectory(str(run / "model"))
    return local.tokenizer, local.stop_tokens, template_of(local.tokenizer).supports_system_role


def _checkpoint(run: Path) -> object:
    return damage_of(run / "checkpoint-4")


def _stage(run: Path) -> object:
    stages = StageCache(run / "stages")
    shutil.rmtree(run / "out", ignore_errors=True)
    return stages.finish(stages.keep("first", {}, _teach), run / "out")


def _reported(run: Path) -> object:
    return report._footnote(run), report._students(run), provenance.sections(run), UpfrontCosts.of(run).items


def _rule(run: Path) -> object:
    return held_out.held_out(run / "ranker")


CARD = (lambda run: student.read(run / "decomposer"), _reported, _serves)


def _study(run: Path) -> object:
    return RunDirectory(run).study


FILES = [
    Read(
        "config.yaml",
        (lambda run: RunDirectory(run).study, status.status, _reported, lambda run: str(status.cost(run))),
    ),
    Read("config.yaml", (lambda run: divcon.plan(str(run / "config.yaml")),)),
    Read("devices.json", (devices.read,)),
    Read("provenance.json", (provenance.sections,)),
    Read("data.json", (provenance.sections,)),
    Read("environments.json", (provenance.sections,)),
    Read("evaluated.json", (lambda run: freshness.is_current(run / "evaluated.json", ""),)),
    Read("requests.json", (lambda run: sample_counts.described(RunDirectory(run).sample_counts),)),
    Read("log.jsonl", (lambda run: str(status.status(run)),)),
    Read("traces/traces.json", (lambda run: trace.read(run / "traces" / "traces.jsonl"),)),
    Read("traces/traces.jsonl", (lambda run: trace.read(run / "traces" / "traces.jsonl"),)),
    Read("decomposer/divcon.json", CARD),
    Read("decomposer/training.json", (lambda run: [plots._curves(run)],)),
    Read("decomposer/adapter_config.json", (_hash("decomposer"), lambda run: adapter_parameters(run / "decomposer"))),
    Read("ranker/divcon.json", (lambda run: plots._whole_only(run), lambda run: UpfrontCosts.of(run).items)),
    Read("ranker/ranker.json", (lambda run: model.load(run / "ranker"),)),
    Read("ranker/held_out.json", (_rule,)),
    Read("nat/nat_config.json", (lambda run: nat.read(run / "nat"),)),
    Read("checkpoint-4/trainer_state.json", (_checkpoint,)),
    Read("stages/first-*/stage.json", (_stage,)),
    Read("model/config.json", (_model,)),
    Read("model/generation_config.json", (_tokenizer,)),
    Read("model/tokenizer_config.json", (_tokenizer,)),
    Read("keys.json", (lambda run: str(Keys.read(run / "keys.json")),)),
]

NUMBERS = st.sampled_from([0, -1, 1, 2**31, 2**63, 2**64, -(2**70), 10**30, 0.5, 1e308, float("nan"), float("inf")])
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=6), st.sampled_from(["", "\ud800", "\0", "7"]))
VALUES = st.recursive(
    SCALARS,
    lambda of: st.lists(of, max_size=3) | st.dictionaries(st.text(max_size=4), of, max_size=3),
    max_leaves=6,
)
HUGE, DEEP = "a number of thousands of digits", "a list in a list in a list"


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a value, its own among them."""
    yield at
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(part, (*at, key))


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """A value with one of its parts replaced, dropped, renamed or wrapped."""
    value = json.loads(json.dumps(value))
    at: tuple[Any, ...] = ("", *draw(st.sampled_from(list(places(value)))))
    above, last = at[:-1], at[-1]
    holder: Any = {"": value}
    for key in above:
        holder = holder[key]
    kind = draw(st.sampled_from(["replace", "replace", "replace", "drop", "rename", "wrap", "huge", "deep"]))
    if kind == "drop" and above:
        del holder[last]
    elif kind == "rename" and isinstance(holder, dict) and above:
        holder[draw(st.text(max_size=5))] = holder.pop(last)
    else:
        new = {"wrap": [holder[last]], "huge": HUGE, "deep": DEEP}.get(kind) or draw(VALUES)
        if not above:
            return new
        holder[last] = new
    return value


@st.composite
def mutated(draw: st.DrawFn, name: str, content: bytes) -> bytes:
    """The bytes of a file with something wrong: with its values, or with its bytes."""
    kind = draw(st.sampled_from(["values", "values", "values", "values", "cut", "bytes", "encoding", "twice"]))
    if kind == "cut":
        return content[: draw(st.integers(0, len(content)))]
    if kind == "bytes":
        return draw(st.sampled_from([b"", b"\xff\xfe", b"\0" * 64, b"[" * 5000, b"{}", b"[]", b"null", b"\x1f\x8b"]))
    if kind == "encoding":
        text = content.decode()
        return draw(st.sampled_from([text.encode("utf-16"), text.encode("utf-8-sig"), b"\xe4" + content]))
    if kind == "twice":
        return content + content
    if name.endswith("l") and not name.endswith("yaml"):
        first, *rest = content.splitlines(keepends=True)
        return b"".join([_written(name, draw(changed(json.loads(first)))), b"\n", *rest])
    value = yaml.safe_load(content) if name.endswith("yaml") else json.loads(content)
    return _written(name, draw(changed(value)))


def _written(name: str, value: Any) -> bytes:
    text = yaml.safe_dump(value) if name.endswith("yaml") else json.dumps(value)
    for quoted in (HUGE, f'"{HUGE}"'):
        text = text.replace(f'"{HUGE}"' if quoted != HUGE else quoted, "9" * 5000)
    return text.replace(f'"{DEEP}"', DEEP).replace(DEEP, "[" * 3000 + "]" * 3000).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("read", FILES, ids=lambda read: read.file.replace("/", " "))
def test_a_file_of_a_run_that_is_damaged_in_any_way_is_one_sentence(run: Path, read: Read) -> None:
    (path,) = run.glob(read.file)
    content = path.read_bytes()

    @settings(
        max_examples=-(-EXAMPLES // len(FILES)),
        derandomize="DIVCON_FUZZ" not in os.environ,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(mutated(read.file, content))
    def sentences(damaged: bytes) -> None:
        path.parent.mkdir(exist_ok=True)  # a stage that is damaged was removed
        path.write_bytes(damaged)
        for reader in read.readers:
            try:
                reader(run)
            except DivconError as error:
                assert "\n" not in str(error) and len(str(error)) < 1000

    try:
        sentences()
    finally:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


NASTY = (b"", b"{}", b"[]", b"\xff\xfe", b"[" * 5000, b'{"a": NaN}')
COMMANDS = (
    ["status"],
    ["cost"],
    ["report"],
    ["compare", "distilled:llm:greedy", "none:llm:greedy"],
    ["study"],
    ["eval"],
)


@pytest.mark.parametrize("file", ["config.yaml", "devices.json", "requests.json", "decomposer/divcon.json"])
def test_commands_that_read_a_damaged_run_end_with_a_sentence(run: Path, file: str) -> None:
    content = (run / file).read_bytes()
    runner = CliRunner()
    try:
        for i, command in enumerate(COMMANDS):
            (run / file).write_bytes(NASTY[i])
            first, *rest = command
            words = [first, run, *rest]
            if first in ("study", "eval"):
                words = [first, "miniature", "--run", run, "--limit", 6, *(w for o in SMALL for w in ("--set", o))]
            outcome = runner.invoke(main, list(map(str, words)))
            assert outcome.exception is None or isinstance(outcome.exception, SystemExit), (command, outcome.exception)
            assert outcome.exit_code in (0, 2), outcome.output
    finally:
        (run / file).write_bytes(content)


def test_the_run_itself_can_be_read(run: Path) -> None:
    assert results.read(run / "results.parquet")
    for read in FILES:
        for reader in read.readers:
            reader(run)
    with open_study(load("miniature", SMALL).limited(6), run):
        pass
