"""Everything bought is kept, once, with the attempt that brought it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divcon.core.errors import ConfigError
from divcon.lm import Completion, Message, Model, Request, Sampling, Scripted, Store, Usage
from divcon.lm.types import Thinking

from ...fakes.connections import all_closed
from ...fakes.read_only import read_only

ASKED = Request((Message("user", "How many?"),), Sampling(temperature=0.7), n=3, template="abc")


def numbered(messages: tuple[Message, ...], index: int) -> str:
    return f"reply {index}"


def test_a_second_run_asks_nothing(tmp_path: Path) -> None:
    for asked in (3, 0):
        engine = Scripted(answer=numbered)
        with Store(tmp_path / "store.sqlite") as store:
            ((*completions,),) = Model("m", engine, store)([ASKED])
        assert [c.text for c in completions] == ["reply 0", "reply 1", "reply 2"]
        assert len(engine.asked) == asked


def filled(path: Path) -> Store:
    store = Store(path)
    Model("m", Scripted(answer=numbered), store)([ASKED])
    return store


@pytest.mark.parametrize("log", ["missing", "empty", "unread", "with its index"])
def test_a_store_that_nobody_may_write_is_read_with_all_that_was_written_last(tmp_path: Path, log: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with filled(folder / "store.sqlite"):
        copies = {file.name: file.read_bytes() for file in folder.iterdir()}
    if log in ("unread", "with its index"):
        for name, content in copies.items():
            (folder / name).write_bytes(content)
        if log == "unread":
            (folder / "store.sqlite-shm").unlink()
    if log == "empty":
        (folder / "store.sqlite-wal").touch()
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with read_only(folder):
        with Store.reading(folder / "store.sqlite") as store:
            assert len(store) == 3 and store.ledger.outcomes() == {"stored": 3}
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_an_empty_store_is_read_where_nothing_can_be_written(tmp_path: Path) -> None:
    with Store(tmp_path / "store.sqlite"):
        pass
    with read_only(tmp_path), Store.reading(tmp_path / "store.sqlite") as store:
        assert len(store) == 0 and not store.ledger.accounts()


def test_what_is_no_store_is_refused_by_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(ConfigError, match=f"cannot open the store {path}"), Store.reading(path):
        pass


def test_more_samples_buy_only_the_new_ones() -> None:
    engine = Scripted(answer=numbered)
    with Store() as store:
        model = Model("m", engine, store)
        model([ASKED])
        model([replace(ASKED, n=5)])
    assert len(engine.asked) == 5


def test_the_same_request_twice_is_bought_once() -> None:
    engine = Scripted(answer=numbered)
    with Store() as store:
        Model("m", engine, store)([ASKED, ASKED])
    assert len(engine.asked) == 3


@pytest.mark.parametrize(
    "other",
    [
        replace(ASKED, messages=(Message("user", "How much?"),)),
        replace(ASKED, messages=(Message("system", "How many?"),)),
        replace(ASKED, sampling=Sampling(temperature=0.8)),
        replace(ASKED, sampling=Sampling(temperature=0.7, top_p=0.9)),
        replace(ASKED, sampling=Sampling(temperature=0.7, max_tokens=9)),
        replace(ASKED, sampling=Sampling(temperature=0.7, stop=("\n",))),
        replace(ASKED, template="def"),
        replace(ASKED, logprobs=True),
        replace(ASKED, thinking=Thinking(on=False)),
    ],
)
def test_whatever_changes_an_answer_changes_its_key(other: Request) -> None:
    with Store() as store:
        model = Model("m", Scripted(), store)
        ((first, second, _),) = model.draws([ASKED])
        assert len({first.key, second.key, model.draws([other])[0][0].key}) == 3
        reseeded = replace(model, seed=1).draws([ASKED])[0][0]
        adapted = replace(model, adapter=Path("student")).draws([ASKED])[0][0]
        assert len({first.key, reseeded.key, adapted.key}) == 3


@given(st.text(), st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=4) | st.none())
def test_what_goes_in_comes_out(text: str, logprobs: list[float] | None) -> None:
    kept = Completion(text, "stop", Usage(3, 4, 1, 0.25), None if logprobs is None else tuple(logprobs))
    with Store() as store:
        ((draw, *_),) = Model("m", Scripted(), store).draws([ASKED])
        (attempt,) = store.begin([draw])
        assert store.settle([(attempt, kept)]) == [(draw, kept)]
        assert store.get([draw.key]) == {draw.key: kept}


def test_an_attempt_is_written_before_it_is_sent() -> None:
    with Store() as store:

        def dies(messages: tuple[Message, ...], index: int) -> str:
            assert store.unsettled() == 1
            raise RuntimeError("the power went out")

        with pytest.raises(RuntimeError):
            Model("m", Scripted(answer=dies), store)([ASKED])
        assert store.unsettled() == 1 and len(store) == 0


def test_a_killed_process_loses_nothing_it_was_given(tmp_path: Path) -> None:
    """The child prints each reply once it has it; whatever was printed when the kill came is in the store."""
    path = tmp_path / "store.sqlite"
    code = f"""
import time
from divcon.lm import Message, Model, Request, Scripted, Store
def slow(messages, index):
    time.sleep(0.01)
    return str(index)
with Store({str(path)!r}) as store:
    model = Model("m", Scripted(answer=slow), store)
    model([Request((Message("user", "?"),), n=1000)], lambda done, wanted: print(done, flush=True))
"""
    child = subprocess.Popen([sys.executable, "-P", "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    seen = 0
    for line in child.stdout:
        seen = int(line)
        if seen >= 20:
            break
    os.kill(child.pid, signal.SIGKILL)
    child.stdout.close()
    child.wait()
    with Store(path) as store:
        assert len(store) >= seen
        assert store.unsettled() <= 1


THOUGHT = "<think>\nWe add.\n</think>\n\nFour."


def test_reasoning_is_kept_apart_from_the_reply(tmp_path: Path) -> None:
    with Store(tmp_path / "store.sqlite") as store:
        ((bought,),) = Model("m", Scripted(THOUGHT), store)([replace(ASKED, n=1)])
        ((kept,),) = Model("m", Scripted(), store)([replace(ASKED, n=1)])
        row = store._db.execute("SELECT text, reasoning FROM sample").fetchone()
    assert bought == kept and (kept.text, kept.reasoning) == row == ("Four.", "We add.")


@pytest.mark.parametrize("is_read_only", [False, True])
def test_a_store_of_before_answers_everything_and_what_it_holds_of_reasoning_is_split(
    tmp_path: Path, is_read_only: bool
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with filled(folder / "store.sqlite") as store:
        keys = [key for (key,) in store._db.execute("SELECT key FROM sample ORDER BY key")]
        store._db.executescript("ALTER TABLE sample DROP COLUMN reasoning; PRAGMA user_version=5")
        store._db.execute("UPDATE sample SET text = ? WHERE key = ?", (THOUGHT, keys[0]))
    with read_only(folder) if is_read_only else nullcontext(), Store.reading(folder / "store.sqlite") as found:
        samples = found.get(keys)
    assert len(samples) == 3 and (samples[keys[0]].text, samples[keys[0]].reasoning) == ("Four.", "We add.")
    if not is_read_only:
        engine = Scripted()
        with Store(folder / "store.sqlite") as store:
            Model("m", engine, store)([ASKED])
        assert engine.asked == []


def test_another_file_is_refused(tmp_path: Path) -> None:
    text, other = tmp_path / "notes.txt", tmp_path / "other.sqlite"
    text.write_text("not a database, but long enough to be looked at as one" * 20, encoding="utf-8")
    with closing(sqlite3.connect(other)) as db:
        db.execute("CREATE TABLE unrelated (x)")
    for path in (text, other):
        with pytest.raises(ConfigError, match="cannot open the store"):
            Store(path)


def test_a_store_that_is_left_open_is_found(tmp_path: Path) -> None:
    left_open = pytest.raises(AssertionError, match=r"unclosed database, opened at .*store\.py:\d+ < .*test_store\.py")
    with left_open, all_closed():
        Store(tmp_path / "store.sqlite")


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_opening_that_is_interrupted_leaves_no_store_open(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr("divcon.lm.store.store.write_ahead", fails)
    with all_closed(), pytest.raises((KeyboardInterrupt, ConfigError)):
        Store(tmp_path / "store.sqlite")
