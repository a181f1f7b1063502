"""Trainings that were interrupted badly: whatever is damaged of a checkpoint, they end as if nothing were."""

from __future__ import annotations

import logging
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from divcon.core.errors import ConfigError
from divcon.distill.data.examples import Example
from divcon.distill.recipes import SolverRecipe
from divcon.distill.student import TrainingReport
from divcon.distill.training.checkpoints import damage_of, last_checkpoint
from divcon.distill.training.stage_cache import StageCache
from divcon.distill.training.trainer import Fitted, train
from divcon.lm import Message
from divcon.lm.local.weights import model_directory

BASE = model_directory("miniature/base")
RECIPE = SolverRecipe(epochs=2.0, batch_size=4, checkpoints=4)
FILES = ("trained.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")


class _KilledError(Exception):
    pass


def lessons() -> list[Example]:
    return [Example((Message("user", f"What is {i} + {i}?"),), f"The answer is {2 * i}.") for i in range(16)]


def taught(folder: Path, advance: Callable[..., None] = lambda *_: None) -> TrainingReport:
    return train(lessons(), BASE, folder / "out", RECIPE, seed=0, scratch=folder / "scratch", advance=advance)


def adapter(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "out" / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    taught(folder)
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that was killed after its third checkpoint; the two newest lie there."""

    def dies(finished: int, *_: int) -> None:
        if finished == 7:
            raise _KilledError

    folder = tmp_path_factory.mktemp("killed")
    with pytest.raises(_KilledError):
        taught(folder, dies)
    assert sorted(path.name for path in (folder / "scratch").glob("checkpoint-*")) == ["checkpoint-4", "checkpoint-6"]
    return folder


@pytest.fixture
def copy(killed: Path, tmp_path: Path) -> Path:
    shutil.copytree(killed / "scratch", tmp_path / "scratch")
    return tmp_path


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(b ^ 0xFF for b in content[middle : middle + 64]) + content[middle + 64 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut short": lambda content: content[: len(content) // 2],
    "zeros": lambda content: b"\0" * len(content),
    "a list": lambda content: b"[]",
    "nested": lambda content: b"[" * 5000,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_is_passed_over(copy: Path, name: str, damage: str) -> None:
    newest = copy / "scratch" / "checkpoint-6"
    assert damage_of(newest) is None
    (newest / name).write_bytes(DAMAGE[damage]((newest / name).read_bytes()))
    assert last_checkpoint(copy / "scratch") == str(copy / "scratch" / "checkpoint-4")
    assert not newest.exists()


@pytest.mark.parametrize("name", FILES)
def test_a_checkpoint_that_lacks_a_file_is_passed_over(copy: Path, name: str) -> None:
    (copy / "scratch" / "checkpoint-6" / name).unlink()
    assert last_checkpoint(copy / "scratch") == str(copy / "scratch" / "checkpoint-4")


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_a_flipped_byte_and_a_value_of_another_shape_are_damage(copy: Path, name: str) -> None:
    file = copy / "scratch" / "checkpoint-6" / name
    file.write_bytes(flipped(file.read_bytes()))
    assert damage_of(file.parent) is not None
    torch.save([1, 2, 3], file)
    assert damage_of(file.parent) is not None


@pytest.mark.parametrize("damaged", [["checkpoint-6"], ["checkpoint-6", "checkpoint-4"]])
def test_a_training_goes_on_from_what_is_whole_and_ends_with_the_same_weights(
    copy: Path, whole: Path, damaged: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    for name in damaged:
        (copy / "scratch" / name / "optimizer.pt").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        taught(copy)
    then = "the training begins again" if len(damaged) == 2 else "the training goes on from checkpoint-4"
    assert then in caplog.text
    for name, tensor in adapter(whole).items():
        torch.testing.assert_close(adapter(copy)[name], tensor, atol=0, rtol=0)


def test_seconds_that_cannot_be_read_stop_no_training(copy: Path) -> None:
    (copy / "scratch" / "checkpoint-6" / "seconds.txt").write_bytes(b"\xff")
    assert taught(copy).steps == 8


CUT_SHORT = r"cannot write the checkpoint .*; the same command goes on"


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """A limit on the size of files stands for a full disk: the same errors, from the same places."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("file", ["trained.safetensors", "optimizer.pt"])
def test_a_disk_that_fills_up_while_training_is_one_sentence_and_loses_nothing(
    killed: Path, tmp_path: Path, whole: Path, file: str
) -> None:
    size = (killed / "scratch" / "checkpoint-6" / file).stat().st_size
    with (
        files_up_to(size - 1),
        pytest.raises(ConfigError, match=CUT_SHORT),
    ):
        taught(tmp_path)
    assert not list((tmp_path / "scratch").glob("checkpoint-*"))
    if file == "optimizer.pt":
        taught(tmp_path)
        for name, tensor in adapter(whole).items():
            torch.testing.assert_close(adapter(tmp_path)[name], tensor, atol=0, rtol=0)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_stage_that_is_damaged_is_trained_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    trainings = []

    def train(scratch: Path) -> tuple[Fitted, Callable[[Path], object]]:
        trainings.append(scratch)
        return Fitted(TrainingReport(1, 0, 1, 9, 9, 1.0, 0.5), []), lambda out: out.mkdir()

    stages = StageCache(tmp_path)
    out = stages.keep("first", {"seed": 0}, train)
    assert stages.keep("first", {"seed": 0}, train) == out and len(trainings) == 1
    (out / "stage.json").write_bytes(DAMAGE[damage]((out / "stage.json").read_bytes()))
    assert stages.keep("first", {"seed": 0}, train) == out and len(trainings) == 2
    assert "is damaged" in caplog.text and "it begins again" in caplog.text
    assert stages.finish(out, tmp_path / "student").tokens == 9
