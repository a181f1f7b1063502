"""Which questions are of one family, by default and by a setting."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from divcon.core.errors import ConfigError
from divcon.tasks import sources
from divcon.tasks.sources import FileSource, MiniatureSource, PublishedSource


def written(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_miniature_world_has_chains() -> None:
    some = sources.load(MiniatureSource(source="miniature", split="known-new", max_questions=100, seed=1))
    assert {q.cluster for q in some} == {f"miniature: {q.tags['chain']}" for q in some}
    assert len({q.cluster for q in some}) == 12


def test_questions_on_one_passage_are_a_family_and_others_are_not(tmp_path: Path) -> None:
    rows = [
        {"question": "a?", "answer": "1", "context": "Long ago."},
        {"question": "b?", "answer": "2", "context": "Long ago."},
        {"question": "c?", "answer": "3", "context": "Today."},
        {"question": "d?", "answer": "4"},
    ]
    path = written(tmp_path / "own.jsonl", rows)
    a, b, c, d = sources.load(FileSource(source="file", path=path))
    assert a.cluster == b.cluster != c.cluster and a.cluster and c.cluster and not d.cluster
    alone = sources.load(FileSource(source="file", path=path, cluster="none"))
    assert [q.cluster for q in alone] == [""] * 4


def test_drop_has_passages(tmp_path: Path) -> None:
    pair = {"question": "who?", "answer": {"spans": ["Ann"]}}
    passages = {
        f"p{i}": {"passage": f"Passage {i}.", "qa_pairs": [{**pair, "query_id": f"{i}/{k}"} for k in range(3)]}
        for i in range(2)
    }
    path = tmp_path / "drop.json"
    path.write_text(json.dumps(passages), encoding="utf-8")
    found = sources.load(PublishedSource(source="drop", path=path))
    assert len(found) == 6 and len({q.cluster for q in found}) == 2


def test_a_tag_may_make_families(tmp_path: Path) -> None:
    rows = [
        {"problem": "1+1", "solution": "\\boxed{2}", "level": level, "type": "t"} for level in ("Level 1", "Level 2")
    ]
    path = written(tmp_path / "math.jsonl", rows)
    found = sources.load(PublishedSource(source="math", path=path, cluster="tags.level"))
    assert [q.cluster for q in found] == ["math: Level 1", "math: Level 2"]
    with pytest.raises(ConfigError, match=r"cluster tags\.chain: .* of math has level: Level 1, type: t"):
        sources.load(PublishedSource(source="math", path=path, cluster="tags.chain"))


@pytest.mark.parametrize("cluster", ["chain", "tags.", "tags", ""])
def test_what_makes_no_family_is_refused(cluster: str) -> None:
    with pytest.raises(ValueError, match=r"is none of tags\.NAME, context and none"):
        MiniatureSource(source="miniature", split="train", max_questions=1, cluster=cluster)
