"""Every question is in one shard, whichever questions are beside it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from divcon.tasks import Question
from divcon.tasks.shard import Shard


@given(st.lists(st.text(), max_size=50), st.integers(1, 9))
def test_every_question_is_in_one_shard(texts: list[str], total: int) -> None:
    questions = [Question(str(i), text, "1") for i, text in enumerate(texts)]
    parts = [Shard(number, total).part(questions) for number in range(1, total + 1)]
    assert sorted(q.id for part in parts for q in part) == sorted(q.id for q in questions)
    for part in parts:
        assert [q for q in questions if q in part] == part
    assert sum(len({q.text for q in part}) for part in parts) == len(set(texts))


def test_shards_are_of_like_size_and_stay_what_they_are() -> None:
    questions = [Question(str(i), f"How many pears are {i} pears?", "1") for i in range(4000)]
    sizes = [len(Shard(number, 4).part(questions)) for number in range(1, 5)]
    assert all(900 < size < 1100 for size in sizes)
    assert [i for i, question in enumerate(questions[:24]) if Shard(2, 4).holds(question)] == [4, 6, 15, 17, 21]
    assert Shard.parse(" 2/4 ") == Shard(2, 4) == Shard.named(Shard(2, 4).folder) and Shard.named("else") is None
