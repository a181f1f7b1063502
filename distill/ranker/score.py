"""Asking a trained ranker: each solution once, kept in the store."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from ...lm.cost.flops import ModelSize
from ...lm.local.weights import model_directory, weights_hash
from ...lm.store.store import Store, StoredScore
from ...lm.types import Usage
from ...solve.solution import Solution
from ...tasks.question import Question
from ..recipes import ReaderBackbone
from .model import WEIGHTS, Group, Ranker, footprint_of, load, recipe_of


class CachedScorer:
    """A ranker in front of a store."""

    def __init__(self, directory: Path, store: Store, device: str = "auto", batch: int = 64) -> None:
        """Raises ConfigError when there is no ranker in `directory`."""
        self._directory = directory
        self._store = store
        self._device = device
        self._batch = batch
        self._recipe = recipe_of(directory)

    def __call__(self, questions: Sequence[Question], solved: Sequence[Sequence[Solution]]) -> list[list[StoredScore]]:
        """The score of every solution, question by question, and what reading it took."""
        groups = [Group(q, tuple(solutions)) for q, solutions in zip(questions, solved, strict=True)]
        keys = [self._keys(group) for group in groups]
        found = self._store.scores([key for of in keys for key in of])
        missing = [(of, group) for of, group in zip(keys, groups, strict=True) if any(key not in found for key in of)]
        for start in range(0, len(missing), self._batch):
            some = missing[start : start + self._batch]
            made = self._score([group for _, group in some])
            new = {
                key: one for (of, _), each in zip(some, made, strict=True) for key, one in zip(of, each, strict=True)
            }
            self._store.keep_scores(new)
            found |= new
        return [[found[key] for key in of] for of in keys]

    @property
    def footprint(self) -> ModelSize:
        return footprint_of(self._directory)

    @cached_property
    def _ranker(self) -> Ranker:
        return load(self._directory, self._device)

    @cached_property
    def _identity(self) -> str:
        """Which ranker this is, by the contents of its files and its backbone's."""
        backbone = self._recipe.backbone
        base = weights_hash(model_directory(backbone.path)) if isinstance(backbone, ReaderBackbone) else ""
        told = self._recipe.model_dump(mode="json", include={"backbone", "max_length"})
        told["backbone"].pop("path", None)
        with (self._directory / WEIGHTS).open("rb") as weights:
            own = hashlib.file_digest(weights, "sha256").hexdigest()
        return json.dumps([own, base, told], sort_keys=True)

    def _keys(self, group: Group) -> list[str]:
        said = [[s.text, s.answer, s.logprob] for s in group.solutions]
        around = [group.question.grader, said] if self._recipe.backbone.looks_around else []
        stands = json.dumps([self._identity, group.question.prompt, around])
        return [hashlib.sha256(json.dumps([stands, one]).encode()).hexdigest() for one in said]

    def _score(self, groups: Sequence[Group]) -> list[list[StoredScore]]:
        started = time.perf_counter()
        scores = self._ranker.score(groups)
        each = (time.perf_counter() - started) / max(1, sum(map(len, scores)))
        rows = [self._ranker.rows(group) for group in groups]
        return [
            [StoredScore(s, Usage(row["length"] if row else 0, seconds=each)) for s, row in zip(of, read, strict=True)]
            for of, read in zip(scores, rows, strict=True)
        ]
