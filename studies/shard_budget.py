"""A shard's part of a study's budget: fixed when the shard begins, so that all shards together keep to the whole."""

from __future__ import annotations

import json
from pathlib import Path

from ..core import documents
from ..core.files import atomic_write
from ..eval.config import Study
from ..eval.run_dir import RunDirectory
from ..lm.store.store import Store
from ..tasks.shard import Shard


class _Part(documents.Shape):
    """What a shard may spend in its own store, in dollars, of a budget of `max_usd`."""

    max_usd: float
    dollars: float


def with_own_budget(study: Study, files: RunDirectory, shard: Shard) -> Study:
    """The study with the shard's part of its budget: 1/N of what the run had left when the shard began.

    What the shard bought stays in its own store when it is merged, and counts against its part. A larger `max_usd`
    adds 1/N of the difference.
    """
    if study.max_usd is None:
        return study
    file = files.shards / shard.folder / "budget.json"
    kept = documents.read_optional(_Part, file, "remove it, and the shard has a new part of what is left")
    if kept is None:
        dollars = (study.max_usd - _spent(study.store or files.store)) / shard.total
    else:
        dollars = kept.dollars + (study.max_usd - kept.max_usd) / shard.total
    part = _Part(max_usd=study.max_usd, dollars=max(0.0, dollars))
    if part != kept:
        atomic_write(file, json.dumps(part.model_dump()) + "\n")
    return study.model_copy(update={"max_usd": part.dollars})


def _spent(store: Path) -> float:
    """Dollars at most."""
    if not store.is_file():
        return 0.0
    with Store.reading(store) as opened:
        return opened.spend().most
