"""A study asked in parts is the study asked in one: the same traces and results, and nothing bought twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from divcon import commands
from divcon.cli import main
from divcon.core.errors import ConfigError
from divcon.distill.traces import trace
from divcon.eval.config import load
from divcon.eval.grid import results
from divcon.eval.run_dir import RunDirectory
from divcon.lm import Completion, Message, Request, Scripted, Store, Usage
from divcon.lm.cost.prices import Quote
from divcon.lm.recorder import Charge, Lease, Purchase
from divcon.lm.types import SampleRequest
from divcon.studies.opening import open_study
from divcon.tasks.shard import Shard

QUESTIONS = [
    {"id": f"q{i}", "question": f"Pear {i % 20}: how many?", "answer": str(18 + i % 20 % 3)} for i in range(24)
]
"""Some of them are one question under two names."""
PARTS = [f"{number}/4" for number in range(1, 5)]


def answer(messages: tuple[Message, ...], index: int) -> str:
    text = messages[-1].content
    number = sum(map(ord, text)) + index
    return "1. How many?\n2. And then?" if "Do not answer them" in text else f"The answer is {18 + number % 3}."


def config(folder: Path, **more: Any) -> dict[str, Any]:
    for name, rows in (
        ("train", QUESTIONS),
        ("test", [row | {"question": f"A {row['question']}"} for row in QUESTIONS]),
    ):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {
        "train": {"source": "file", "path": str(folder / "train.jsonl")},
        "tests": {"pears": {"source": "file", "path": str(folder / "test.jsonl")}},
        "llm": {"engine": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1"},
        "student": {"engine": "transformers", "path": "miniature/base"},
        "grid": {"decomposers": ["none", "llm", "shuffled", "interactive-llm"], "solvers": ["llm"], "samples": 2},
        "collect": {"solutions": 2},
        **more,
    }


def whole(study: dict[str, Any], run: Path) -> Scripted:
    engine = Scripted(answer=answer)
    commands.collect(study, run=run, llm=engine)
    commands.evaluate(study, run=run, llm=engine)
    return engine


def ask(study: dict[str, Any], run: Path, stage: Any, part: str, engine: Scripted | None = None) -> Scripted:
    engine = engine or Scripted(answer=answer)
    commands.run_shard(study, stage, part, run=run, llm=engine)
    return engine


def test_four_shards_make_what_one_run_makes(tmp_path: Path) -> None:
    study, alone, shared = config(tmp_path), tmp_path / "alone", tmp_path / "shared"
    asked = len(whole(study, alone).asked)
    in_parts = 0
    for stage in ("collect", "eval"):
        in_parts += sum(len(ask(study, shared, stage, part).asked) for part in PARTS)
        merged = commands.merge(shared)
        assert (merged.sources, merged.bought_twice, merged.missing) == (4, (), ())
    assert in_parts == asked == merged.samples
    assert whole(study, shared).asked == []
    assert trace.read(RunDirectory(shared).traces) == trace.read(RunDirectory(alone).traces)
    one, other = (results.read(RunDirectory(run).results) for run in (alone, shared))
    assert [row.drop_timings() for row in one] == [row.drop_timings() for row in other]
    with Store(RunDirectory(alone).store) as a, Store(RunDirectory(shared).store) as b:
        assert a.ledger.accounts() == b.ledger.accounts()


def test_merging_again_brings_only_what_is_new(tmp_path: Path) -> None:
    study, run = config(tmp_path), tmp_path / "run"
    ask(study, run, "collect", "1/4")
    first = commands.merge(run)
    assert first.new == first.samples > 0 and [str(shard) for _, shard in first.missing] == ["2/4", "3/4", "4/4"]
    again = commands.merge(run)
    assert (again.new, again.samples, again.spend) == (0, first.samples, first.spend)
    with Store(RunDirectory(run).store) as store:
        (account,) = store.ledger.accounts()
    assert account.attempts == first.samples


class Dying(Scripted):
    """Dies before it has answered more than five times."""

    def complete(self, draw: SampleRequest) -> Completion:
        if len(self.asked) == 5:
            raise KeyboardInterrupt
        return super().complete(draw)


def test_a_shard_that_died_buys_what_is_missing_and_a_finished_one_nothing(tmp_path: Path) -> None:
    study, run = config(tmp_path), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        ask(study, run, "collect", "2/4", Dying(answer=answer))
    second = ask(study, run, "collect", "2/4")
    alone = ask(study, tmp_path / "other", "collect", "2/4")
    assert len(second.asked) == len(alone.asked) - 5
    assert ask(study, run, "collect", "2/4").asked == []
    assert commands.merge(run).bought_twice == ()


def test_a_shard_finds_what_the_run_has_bought(tmp_path: Path) -> None:
    study, run = config(tmp_path), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        commands.collect(study, run=run, llm=Dying(answer=answer))
    asked = sum(len(ask(study, run, "collect", part).asked) for part in PARTS)
    assert asked == len(ask(study, tmp_path / "other", "collect", "1/1").asked) - 5
    merged = commands.merge(run)
    assert merged.bought_twice == () and merged.samples == asked + 5


def test_other_settings_ask_again(tmp_path: Path) -> None:
    study, run = config(tmp_path), tmp_path / "run"
    few = len(ask(study, run, "eval", "1/4").asked)
    more = len(ask(config(tmp_path, grid=study["grid"] | {"samples": 4}), run, "eval", "1/4").asked)
    assert 0 < more < few * 2


def test_two_stores_that_bought_the_same_say_so(tmp_path: Path) -> None:
    study, run = config(tmp_path), tmp_path / "run"
    ask(study, run, "collect", "1/2")
    ask(study, tmp_path / "elsewhere", "collect", "1/1")
    merged = commands.merge(run, [*(run / "shards").iterdir(), tmp_path / "elsewhere" / "shards" / "1-of-1"])
    assert len(merged.bought_twice) > 0 and "bought twice" in str(merged)
    assert all(key for key in merged.bought_twice)


def budget(study: dict[str, Any], run: Path, part: Shard) -> float | None:
    with open_study(load(study), run, shard=part, llm=Scripted()) as context:
        return context.models._study.max_usd


def spend(store: Path, key: str, dollars: float) -> None:
    draw = SampleRequest(Request((Message("user", key),)), 0, key)
    with Store(store) as opened:
        (attempt,) = opened.reserve([draw], Purchase("m", Lease("me", 60.0), Quote(9.0, "{}"))).attempts
        opened.settle([(attempt, Completion("", "stop", Usage(1, 1)))], [Charge(dollars)])


def test_shards_together_keep_to_the_budget(tmp_path: Path) -> None:
    study, run = config(tmp_path, max_usd=9.0), tmp_path / "run"
    study |= {"store": str(tmp_path / "bought.sqlite")}
    spend(tmp_path / "bought.sqlite", "of the run", 1.0)
    assert budget(study, run, Shard(1, 4)) == 2.0
    assert RunDirectory(run).study.max_usd == 9.0
    spend(run / "shards" / "1-of-4" / "store.sqlite", "of the shard", 1.5)
    assert commands.merge(run).spend.known == 2.5
    assert budget(study, run, Shard(1, 4)) == 2.0, "what was merged counts once, in the shard's own store"
    assert budget(study, run, Shard(2, 4)) == (9.0 - 2.5) / 4
    assert budget(study | {"max_usd": 13.0}, run, Shard(1, 4)) == 3.0


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "a/b", "-1/4", "1/4/2", "", "1/99999999999"])
def test_what_names_no_shard_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names no shard"):
        ask(config(tmp_path), tmp_path / "run", "collect", text)
    assert not (tmp_path / "run").exists()


def test_a_shard_asks_no_student_that_is_not_there(tmp_path: Path) -> None:
    study = config(tmp_path, grid={"decomposers": ["none", "distilled"], "solvers": ["llm"], "samples": 0})
    with pytest.raises(ConfigError, match="distil it first; a shard only asks those that are there"):
        ask(study, tmp_path / "run", "eval", "1/4")


def test_nothing_to_merge_is_one_sentence(tmp_path: Path) -> None:
    run = tmp_path / "run"
    whole(config(tmp_path), run)
    for words, said in (
        ([str(run)], "holds no shards"),
        ([str(tmp_path / "none")], "is not a run directory"),
        ([str(run), str(tmp_path / "none")], "no store"),
        ([str(run), str(run)], "is the store that the others are merged into"),
        ([str(run), str(tmp_path / "train.jsonl")], "cannot open the store"),
    ):
        outcome = CliRunner().invoke(main, ["merge", *words])
        assert outcome.exit_code == 2 and said in outcome.output, outcome.output
        assert len(outcome.output.strip().splitlines()) == 1


def test_two_processes_in_one_shard_are_refused(tmp_path: Path) -> None:
    study = config(tmp_path)
    with open_study(load(study), tmp_path / "run", shard=Shard(1, 4), llm=Scripted()):
        with pytest.raises(ConfigError, match=r"another divcon is at work in .*1-of-4"):
            ask(study, tmp_path / "run", "collect", "1/4")
        ask(study, tmp_path / "run", "collect", "2/4")
