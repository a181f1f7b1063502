"""Stores that are joined hold what they held, cost what they cost, and may be joined again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divcon.core.errors import ConfigError
from divcon.lm import Completion, Message, Request, Sampling, Store, Usage
from divcon.lm.cost.prices import Quote
from divcon.lm.recorder import Attempt, Charge, Lease, Purchase, Spend
from divcon.lm.store.store import StoredScore
from divcon.lm.types import SampleRequest

from ...fakes.read_only import read_only

TERMS = Purchase("m", Lease("me", 60.0), Quote(0.5, "{}"))


def draw(key: str) -> SampleRequest:
    return SampleRequest(Request((Message("user", f"About {key[0]}?"),), Sampling(temperature=0.7)), 0, key)


def reserve(store: Store, *keys: str) -> list[Attempt]:
    return store.reserve([draw(key) for key in keys], TERMS).attempts


def buy(store: Store, *keys: str, dollars: float = 0.25) -> None:
    for attempt in reserve(store, *keys):
        store.settle([(attempt, Completion(f"on {attempt.draw.key}", "stop", Usage(3, 2)))], [Charge(dollars)])


def test_samples_scores_and_comparisons_come_over(tmp_path: Path) -> None:
    with Store(tmp_path / "a") as one, Store(tmp_path / "b") as other:
        buy(one, "a1", "b1")
        buy(other, "b2", "c1")
        other.keep_checked({"x": True, "y": None})
        other.keep_scores({"s": StoredScore(0.5, Usage(7))})
        assert one.merge(tmp_path / "b") == 2
        made = one.get(["a1", "b1", "b2", "c1"])
        assert {key: completion.text for key, completion in made.items()} == {key: f"on {key}" for key in made}
        assert len(made) == 4 and one.checked(["x", "y"]) == {"x": True, "y": None}
        assert one.scores(["s"]) == {"s": StoredScore(0.5, Usage(7))}
        assert one.spend() == Spend(1.0, 0.0) and one.ledger.bought_twice() == []


def test_an_attempt_without_an_outcome_is_settled_by_a_later_merge(tmp_path: Path) -> None:
    with Store(tmp_path / "a") as one, Store(tmp_path / "b") as other:
        buy(one, "a1")
        (attempt,) = reserve(other, "b1")
        assert one.merge(tmp_path / "b") == 0 and one.spend() == Spend(0.25, 0.5) and one.unsettled() == 1
        other.settle([(attempt, Completion("late", "stop", Usage(3, 2)))], [Charge(0.3)])
        assert one.merge(tmp_path / "b") == 1 and one.spend() == Spend(0.55, 0.0) and one.unsettled() == 0
        assert one.merge(tmp_path / "b") == 0 and one.spend() == Spend(0.55, 0.0)


def test_a_sample_that_both_had_bought_is_named_and_paid_for_twice(tmp_path: Path) -> None:
    with Store(tmp_path / "a") as one, Store(tmp_path / "b") as other:
        buy(one, "a1", "b1")
        buy(other, "b1", "c1")
        assert one.merge(tmp_path / "b") == 1
        assert one.ledger.bought_twice() == ["b1"] and one.spend() == Spend(1.0, 0.0)


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=5, unique=True), max_size=4))
def test_the_order_of_joining_changes_nothing(parts: list[list[str]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for i, keys in enumerate(parts):
            with Store(folder / str(i)) as store:
                buy(store, *keys)
        found = []
        for name, order in (("x", range(len(parts))), ("y", reversed(range(len(parts))))):
            with Store(folder / name) as into:
                for i in order:
                    into.merge(folder / str(i))
                found.append((len(into), sorted(into.get(list("abcdefgh"))), into.spend(), into.ledger.bought_twice()))
        assert found[0] == found[1]
        assert found[0][2].known == pytest.approx(0.25 * sum(map(len, parts)))


def test_what_lies_in_a_base_is_found_and_not_written(tmp_path: Path) -> None:
    with Store(tmp_path / "base") as base:
        buy(base, "a1")
        base.keep_checked({"x": False})
        base.keep_scores({"s": StoredScore(None, Usage(7))})
    before = (tmp_path / "base").read_bytes()
    with Store(tmp_path / "own", base=tmp_path / "base") as own:
        assert list(own.get(["a1", "b1"])) == ["a1"] and own.checked(["x"]) == {"x": False}
        assert own.scores(["s"]) == {"s": StoredScore(None, Usage(7))}
        reserved = own.reserve([draw("a1"), draw("b1")], TERMS)
        assert [attempt.draw.key for attempt in reserved.attempts] == ["b1"]
        assert [found.key for found, _ in reserved.stored] == ["a1"]
        assert len(own) == 0 and own.spend() == Spend(0.0, 0.5)
    assert (tmp_path / "base").read_bytes() == before


def test_what_is_no_store_is_one_sentence_and_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database at all, but longer than a header" * 9, encoding="utf-8")
    with Store(tmp_path / "a") as one:
        buy(one, "a1")
        for wrong, said in (("text", "cannot open the store"), ("nothing", "no store")):
            with pytest.raises(ConfigError, match=said):
                one.merge(tmp_path / wrong)
        assert len(one) == 1
        buy(one, "b1")
    assert not (tmp_path / "nothing").exists()


def test_a_store_that_cannot_be_written_is_merged_too(tmp_path: Path) -> None:
    folder = tmp_path / "copied"
    folder.mkdir()
    with Store(folder / "store.sqlite") as other:
        buy(other, "a1")
    own = tmp_path / "own"
    own.mkdir()
    own.chmod(0o777)
    with read_only(folder), Store(own / "a") as one, Store(own / "b", base=folder / "store.sqlite") as based:
        assert one.merge(folder / "store.sqlite") == 1
        assert list(based.get(["a1"])) == ["a1"]
