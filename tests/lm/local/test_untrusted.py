"""Nothing that a model directory holds is run, and what cannot be loaded without it is refused in one sentence."""

from __future__ import annotations

import ast
import io
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError

import pytest

from divcon.core.errors import ConfigError
from divcon.distill.data.examples import Example
from divcon.distill.ranker.model import new
from divcon.distill.recipes import RankerRecipe, ReaderBackbone, SolverRecipe
from divcon.distill.training.trainer import fit, tunable
from divcon.lm import Message, Model, Request, Sampling, Store
from divcon.lm.engines.transformers import Transformers
from divcon.lm.local.weights import load_model, load_tokenizer, model_directory

from ...fakes.hostile_models import HARMLESS, HARMLESS_ADAPTERS, REFUSED, REFUSED_ADAPTERS, pickled
from ...paths import ROOT

HELLO = Request((Message("user", "How many pears?"),), Sampling(max_tokens=2))


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A user who says yes to everything."""
    stdin = io.StringIO("y\n" * 100)
    monkeypatch.setattr(sys, "stdin", stdin)
    return stdin


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_directory("miniature/base"), tmp_path / "model"))


def answered(path: str, adapter: Path | None = None) -> str:
    with Store() as store:
        (((completion,),)) = Model("m", Transformers(path, dtype="float32"), store, adapter=adapter)([HELLO])
        return completion.text


def is_a_sentence(error: BaseException) -> bool:
    return "\n" not in str(error) and len(str(error)) < 700


@pytest.mark.parametrize("kind", REFUSED)
def test_a_hostile_model_is_refused_and_nothing_of_it_is_run(
    tmp_path: Path, canary: Path, answer: io.StringIO, kind: str
) -> None:
    directory = copied(tmp_path)
    REFUSED[kind](directory, canary)
    with pytest.raises(ConfigError, match=str(directory)) as refused:
        answered(str(directory))
    assert is_a_sentence(refused.value)
    assert not canary.exists() and answer.tell() == 0


@pytest.mark.parametrize("kind", REFUSED)
def test_a_hostile_backbone_of_a_ranker_is_refused_and_nothing_of_it_is_run(
    tmp_path: Path, canary: Path, answer: io.StringIO, kind: str
) -> None:
    directory = copied(tmp_path)
    REFUSED[kind](directory, canary)
    with pytest.raises(ConfigError, match=str(directory)) as refused:
        new(RankerRecipe(backbone=ReaderBackbone(path=str(directory), tuning="frozen")), "cpu")
    assert is_a_sentence(refused.value)
    assert not canary.exists() and answer.tell() == 0


@pytest.mark.parametrize("kind", HARMLESS)
def test_code_that_a_model_does_not_need_is_not_run(
    tmp_path: Path, canary: Path, answer: io.StringIO, kind: str
) -> None:
    directory = copied(tmp_path)
    HARMLESS[kind](directory, canary)
    assert answered(str(directory)) == answered("miniature/base")
    assert not canary.exists() and answer.tell() == 0


@pytest.mark.parametrize("kind", REFUSED_ADAPTERS)
def test_a_hostile_adapter_is_refused_and_nothing_of_it_is_run(
    adapter: Path, tmp_path: Path, canary: Path, answer: io.StringIO, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    hostile = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    REFUSED_ADAPTERS[kind](hostile, canary)
    monkeypatch.chdir(hostile)
    monkeypatch.syspath_prepend(str(hostile))
    with pytest.raises(ConfigError, match=str(hostile)) as refused:
        answered("miniature/base", hostile)
    assert is_a_sentence(refused.value)
    assert not canary.exists() and answer.tell() == 0


@pytest.mark.parametrize("kind", HARMLESS_ADAPTERS)
def test_what_an_adapter_says_of_its_base_is_not_followed(
    adapter: Path, tmp_path: Path, canary: Path, answer: io.StringIO, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    hostile = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    HARMLESS_ADAPTERS[kind](hostile, canary)
    monkeypatch.syspath_prepend(str(hostile))
    assert answered("miniature/base", hostile) == answered("miniature/base", adapter)
    assert not canary.exists() and answer.tell() == 0


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_read_of_a_hostile_model_before_it_is_loaded_is_a_value_or_a_sentence(
    tmp_path: Path, canary: Path, kind: str
) -> None:
    directory = copied(tmp_path)
    REFUSED[kind](directory, canary)
    engine = Transformers(str(directory))
    reads: list[Callable[[], object]] = [
        lambda: engine.footprint(None),
        lambda: engine.identity(None),
        lambda: engine.local.context,
    ]
    for read in reads:
        try:
            read()
        except ConfigError as error:
            assert is_a_sentence(error)
    assert not canary.exists()


PICKLES = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin", "pytorch_model.bin", "scaler.pt")


def test_pickles_in_a_checkpoint_are_not_run(tmp_path: Path, canary: Path) -> None:
    base = model_directory("miniature/base")
    units = [(Example((Message("user", f"{n}?"),), f"{n}"),) for n in range(8)]
    recipe = SolverRecipe(batch_size=4, max_train_tokens=None, epochs=2, checkpoints=2)

    def train() -> None:
        model = tunable(load_model(base, "float32", "cpu"), recipe, 0)
        fit(model, load_tokenizer(base), units, recipe, seed=0, scratch=tmp_path / "scratch")

    train()
    checkpoints = sorted((tmp_path / "scratch").glob("checkpoint-*"))
    for folder in checkpoints:
        for name in PICKLES:
            (folder / name).write_bytes(pickled(canary))
    with suppress(ConfigError, UnpicklingError):
        train()
    assert checkpoints and not canary.exists()


# -- the law: no load without its refusal -----------------------------------------------------------------------------

CODE = [
    file
    for folder in ("tasks", "lm", "decompose", "solve", "distill", "eval", "serve", "divcon", "bench", "examples")
    for file in sorted((ROOT / folder).rglob("*.py"))
]
LOADS = {"from_pretrained", "LLM", "SFTConfig", "DPOConfig", "KTOConfig", "pipeline"}
"""What loads a model or is handed on to what does."""


def calls(file: Path) -> Iterator[tuple[str, str, ast.Call]]:
    """Every call: what it is called on, its name, and the call."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield ast.unparse(node.func.value), node.func.attr, node
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield "", node.func.id, node


def refuses_code(call: ast.Call) -> bool:
    given = {word.arg: word.value for word in call.keywords}.get("trust_remote_code")
    return isinstance(given, ast.Constant) and given.value is False


def test_every_load_refuses_a_models_own_code() -> None:
    """PEFT's has no such argument: it is called in one place, behind a check of the adapter."""
    found = [
        (file.relative_to(ROOT).as_posix(), of, name, call)
        for file in CODE
        for of, name, call in calls(file)
        if name in LOADS
    ]
    bare = [(file, call.lineno) for file, of, _, call in found if of != "PeftModel" and not refuses_code(call)]
    assert len(found) >= 8 and not bare
    assert {file for file, of, _, _ in found if of == "PeftModel"} == {"lm/local/adapters.py"}


def test_no_pickle_is_read() -> None:
    """But by torch's reader of tensors alone, of a checkpoint of our own."""
    for file in CODE:
        text = file.read_text(encoding="utf-8")
        assert "import pickle" not in text, file
        loads = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
        for call in (call for call in loads if ast.unparse(call.func) == "torch.load"):
            assert "weights_only=True" in [ast.unparse(keyword) for keyword in call.keywords], file
