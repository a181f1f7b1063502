"""A flipped byte in any file that a run keeps is found: what is read is what was written, or one sentence is said."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, NoReturn

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerState

from divcon.core.errors import ConfigError
from divcon.distill import student
from divcon.distill.ranker import model as ranker
from divcon.distill.recipes import RankerRecipe, SolverRecipe
from divcon.distill.student import StudentCard, TrainingReport
from divcon.distill.traces import trace as traces
from divcon.distill.training.checkpoints import last_checkpoint
from divcon.distill.training.nce import Teacher
from divcon.distill.training.stage_cache import StageCache
from divcon.distill.training.trainer import Fitted, ProgressLogger
from divcon.eval.analysis import reconstruction
from divcon.eval.grid import results
from divcon.eval.grid.rows import PhaseCost, Results
from tests.distill.test_student import WRONG, trace
from tests.distill.training.test_nce import ROWS, model
from tests.fakes.rows import row

FLIPS = 50
"""In a file, of one bit or of all of a byte's."""
TRAINED = TrainingReport(4, 0, 2, 100, 64, 1.5, 0.25)
READER = "miniature/llm"


class Kind(NamedTuple):
    """A way to keep something."""

    write: Callable[[Path], object]
    """Into a folder that is empty."""
    read: Callable[[Path], object]
    """What is there, to be compared."""


def _rows() -> Results:
    return Results(
        row(
            vote="sc@2",
            id=f"q{i}",
            question=f"How many pears, {i}?",
            subquestions=[f"How many? {i}", "And?"],
            solutions=[f"It is {i}.", "7"],
            logprobs=[-0.5, i / 7],
            verdict="right",
            credit=float(i % 2),
            solve=PhaseCost(prompt_tokens=i),
        )
        for i in range(40)
    )


def _write_reconstruction(folder: Path) -> None:
    def says(asked: list[reconstruction.ReconstructedQuestion]) -> list[float]:
        return [-len(one.question) / (1 + len(one.subquestions)) for one in asked]

    says.path = READER  # type: ignore[attr-defined]  # what is asked of a reader
    reconstruction.keep(_rows(), says, folder / "reconstruction.parquet")  # type: ignore[arg-type]  # a fake


def _teach(folder: Path) -> TrainingReport:
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    save_file({"a": torch.randn(64), "b": torch.randn(8, 8)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"r": 4, "lora_alpha": 8}\n', encoding="utf-8")
    (folder / "README.md").write_text("what a library says of its adapter", encoding="utf-8")
    (folder / "negative").mkdir()
    save_file({"a": torch.randn(64)}, folder / "negative" / "adapter_model.safetensors")
    save_file({"unit": torch.randn(64)}, folder / "nat_gate.safetensors")
    return TRAINED


RECIPE = SolverRecipe(tags=("", "x")).model_dump(mode="json")
LESSON = StudentCard(
    "solver", "base", "hash", "teacher", "data", {"solve": "ab"}, {"solutions": {"seconds": 1.5}}, 0, RECIPE
)
RANKERS_LESSON = replace(LESSON, role="ranker", recipe=RankerRecipe().model_dump(mode="json"))


def _contents(folder: Path) -> dict[str, bytes]:
    leave = {"README.md", "SHA256SUMS", "divcon.json", "stage.json"}
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name not in leave
    }


def _read_student(folder: Path) -> object:
    facts = student.read(folder / "solver")
    assert facts is not None
    student.check(folder / "solver", facts, "hash")
    said = {name: facts.get(name) for name in (*StudentCard.__dataclass_fields__, "format", "date", "trained")}
    return said, _contents(folder / "solver")


STAGE = {"base": "x", "seed": 0}


def _keep_stage(folder: Path) -> object:
    stages = StageCache(folder)
    fitted = Fitted(TRAINED, [{"loss": 0.5, "step": 1}])
    kept = stages.keep("right", STAGE, lambda scratch: (fitted, _teach))
    trained = stages.finish(kept, folder.with_name("finished"))
    contents = _contents(folder.with_name("finished"))
    shutil.rmtree(folder.with_name("finished"))
    return trained, contents


def _read_stage(folder: Path) -> object:
    """On a copy: one that is damaged is removed, and trained again."""

    def train_again(_: Path) -> NoReturn:
        raise ConfigError("it is trained again")

    copy = Path(shutil.copytree(folder, folder.with_name("copy")))
    try:
        return _contents(StageCache(copy).keep("right", STAGE, train_again))
    finally:
        shutil.rmtree(copy)


def _write_ranker(folder: Path) -> None:
    def teach(out: Path) -> TrainingReport:
        torch.manual_seed(1)
        recipe = RankerRecipe()
        ranker.save(ranker.new(recipe, "cpu"), recipe, out)
        return TRAINED

    student.build(folder / "ranker", RANKERS_LESSON, teach)


def _read_ranker(folder: Path) -> object:
    return {name: tensor.tolist() for name, tensor in ranker.load(folder / "ranker", "cpu").state_dict().items()}


FACTS = {"base": "a", "tokenizer": "b"}


def _write_teacher(folder: Path) -> None:
    teacher = Teacher("0.5+beta")
    teacher.remember(model(), ROWS, 0, 2, 5)
    teacher.save(folder / "kept.safetensors", FACTS)


def _read_teacher(folder: Path) -> object:
    teacher = Teacher("0.5+beta")
    teacher.load(folder / "kept.safetensors", FACTS, len(ROWS))
    rows = [(row.logprobs.tolist(), row.tokens.tolist()) for row in teacher._rows or () if row.tokens is not None]
    return [w.tolist() for w in teacher._weights or ()], rows, teacher.tail


def _write_checkpoint(folder: Path) -> None:
    checkpoint = folder / "checkpoint-5"
    checkpoint.mkdir()
    torch.manual_seed(2)
    save_file({"a": torch.randn(64)}, checkpoint / "trained.safetensors")
    torch.save({"state": {0: torch.randn(64)}, "param_groups": []}, checkpoint / "optimizer.pt")
    torch.save({"last_epoch": 5}, checkpoint / "scheduler.pt")
    torch.save(dict.fromkeys(("python", "numpy", "cpu"), torch.randn(64)), checkpoint / "rng_state.pth")
    TrainerState(global_step=5).save_to_json(str(checkpoint / "trainer_state.json"))
    state: Any = SimpleNamespace(global_step=5, is_world_process_zero=True)
    arguments: Any = SimpleNamespace(output_dir=str(folder))
    ProgressLogger(lambda *_: None, None, 0.0).on_save(arguments, state, None)  # it looks at no control


def _read_checkpoint(folder: Path) -> object:
    """On a copy: one that is damaged is removed, and the training goes on from the one before."""
    copy = Path(shutil.copytree(folder, folder.with_name("copy")))
    found = last_checkpoint(copy)
    contents = _contents(copy)
    shutil.rmtree(copy)
    if found is None:
        raise ConfigError("removed")
    return contents


KINDS = {
    "results": Kind(
        lambda folder: results.save(_rows(), folder / "results.parquet"),
        lambda folder: results.read(folder / "results.parquet"),
    ),
    "reconstruction": Kind(
        _write_reconstruction,
        lambda folder: reconstruction.joined(_rows(), folder / "reconstruction.parquet", READER),
    ),
    "traces": Kind(
        lambda folder: traces.write([trace(), WRONG], folder / "traces.jsonl", "origin"),
        lambda folder: traces.read(folder / "traces.jsonl", "origin"),
    ),
    "student": Kind(lambda folder: student.build(folder / "solver", LESSON, _teach), _read_student),
    "stage": Kind(_keep_stage, _read_stage),
    "ranker": Kind(_write_ranker, _read_ranker),
    "teacher's replies": Kind(_write_teacher, _read_teacher),
    "checkpoint": Kind(_write_checkpoint, _read_checkpoint),
}


REPAIRED = ("checkpoint", "stage")
"""What is made again at once."""


def flips(whole: bytes, name: str) -> Iterator[bytes]:
    """The file with one byte changed, in turn at every place or at many."""
    draw = random.Random(name)
    places = range(len(whole)) if len(whole) <= FLIPS else sorted(draw.sample(range(len(whole)), FLIPS))
    for at in places:
        change = draw.choice([0xFF, 1 << draw.randrange(8)])
        yield whole[:at] + bytes([whole[at] ^ change]) + whole[at + 1 :]


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_byte_is_found_wherever_it_is(tmp_path: Path, kind: str) -> None:
    """The sentence names the file or its folder. A flip that nobody notices changes nothing that is read."""
    (folder := tmp_path / "run").mkdir()
    write, read = KINDS[kind]
    write(folder)
    before = read(folder)
    found = 0
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.name != "README.md"]
    for file in files:
        whole = file.read_bytes()
        for damaged in flips(whole, file.name):
            file.write_bytes(damaged)
            try:
                after = read(folder)
            except ConfigError as error:
                found += 1
                assert "\n" not in str(error) and (str(folder) in str(error) or kind in REPAIRED)
            else:
                assert after == before, f"{file} with another byte reads as something else"
            file.write_bytes(whole)
    assert found and read(folder) == before


def test_files_of_before_are_read_without_their_hashes(tmp_path: Path) -> None:
    for name, (write, read) in KINDS.items():
        (folder := tmp_path / name).mkdir()
        write(folder)
        before = read(folder)
        for file in [*folder.rglob("SHA256SUMS")]:
            file.unlink()
        for card in [*folder.rglob("divcon.json"), *folder.rglob("stage.json")]:
            facts = json.loads(card.read_text(encoding="utf-8"))
            old = {key: value for key, value in facts.items() if key not in ("files", "sha256")}
            card.write_text(json.dumps(old), encoding="utf-8")
        assert read(folder) == before


def test_parquet_pages_have_checksums_and_the_schema_is_as_it_was(tmp_path: Path) -> None:
    """Without the hash beside it a page still knows that it is damaged; and equal rows are equal bytes."""
    results.save(_rows(), tmp_path / "results.parquet")
    whole = (tmp_path / "results.parquet").read_bytes()
    assert pq.read_schema(tmp_path / "results.parquet") == results.SCHEMA
    (tmp_path / "SHA256SUMS").unlink()
    chunk = pq.read_metadata(tmp_path / "results.parquet").row_group(0).column(results.SCHEMA.names.index("question"))
    at = (chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size - 1
    (tmp_path / "results.parquet").write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(ConfigError, match=r"results\.parquet: .*(CRC|crc).*divcon eval .* makes it again"):
        results.read(tmp_path / "results.parquet")
    results.save(_rows(), tmp_path / "results.parquet")
    assert (tmp_path / "results.parquet").read_bytes() == whole


def test_a_file_that_is_replaced_is_never_held_against_the_hash_of_the_one_before(tmp_path: Path) -> None:
    """Not even when the run is killed between the two."""
    path = tmp_path / "results.parquet"
    results.save(_rows(), path)
    with pytest.MonkeyPatch.context() as killed:
        killed.setattr("divcon.core.checksums.keep", lambda path: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            results.save(_rows()[:3], path)
    assert len(results.read(path)) == 3


def test_a_file_changed_on_purpose_is_read_when_its_hash_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "results.parquet"
    results.save(_rows(), path)
    few = pq.read_table(path).slice(0, 3)
    pq.write_table(few, path)
    with pytest.raises(ConfigError, match="if you changed it yourself, remove its line from SHA256SUMS"):
        results.read(path)
    (tmp_path / "SHA256SUMS").write_text("", encoding="utf-8")
    assert len(results.read(path)) == 3


def test_the_weights_of_a_student_are_what_its_card_says(tmp_path: Path) -> None:
    facts = student.build(tmp_path / "solver", LESSON, _teach)
    assert student.read(tmp_path / "solver") == facts
    weights = tmp_path / "solver" / "adapter_model.safetensors"
    save_file({name: p * 1.01 for name, p in load_file(weights).items()}, weights)
    with pytest.raises(ConfigError, match=r"adapter_model.safetensors is damaged: .* remove .*solver to train again"):
        student.check(tmp_path / "solver", facts, "hash")
