"""A study's models: each opened when it is first asked for, and then kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import get_args

from ..core.errors import ConfigError
from ..distill import student
from ..eval.config import Study
from ..eval.grid_spec import LLM, SolverSpec, UseStudent
from ..eval.run_dir import RunDirectory
from ..lm.cost.prices import AnyPrice, prorated
from ..lm.engine import Engine
from ..lm.model import Model
from ..lm.settings import SharePriceSettings
from ..lm.store.store import Store
from . import students
from .origins import Origins


class Models:
    """A model for each name that may stand in the study's grid."""

    def __init__(self, study: Study, files: RunDirectory, store: Store, llm: Engine | None = None) -> None:
        """`llm` takes the place of the engine that the config names (an engine of your own, or a scripted one)."""
        self.given_llm = llm
        self._study = study
        self._files = files
        self._store = store
        self._origins = Origins(files)

    def __call__(self, spec: SolverSpec) -> Model:
        """A model of the grid. Raises ConfigError for a student that is not there."""
        if isinstance(spec, UseStudent):
            return replace(self.distilled(students.folder(self._study, self._files, spec)), name=str(spec))
        if spec.name in self._study.models:
            return self.own[spec.name]
        return self.llm if spec == LLM else replace(self.base, price=self.student_price)

    @cached_property
    def llm(self) -> Model:
        settings = self._study.llm
        engine = self.given_llm or settings.open(
            self._study.max_usd, known_as=self._origins.model_name("llm", self._study)
        )
        price = settings.rates()
        return Model("llm", engine, self._store, self._study.seed, price=price, thinking=settings.thinking)

    @cached_property
    def base(self) -> Model:
        """The student before it has learned anything."""
        roles = get_args(student.Role)
        adapters = 2 + sum(len(students.of_role(self._study, self._files, role)) for role in roles)
        settings = self._study.student
        engine = settings.open(adapters=adapters, known_as=self._origins.model_name("student", self._study))
        return Model("base", engine, self._store, self._study.seed, thinking=settings.thinking)

    @cached_property
    def own(self) -> Mapping[str, Model]:
        """The models that the study adds to its grid."""
        return {
            name: Model(
                name,
                settings.open(self._study.max_usd, known_as=self._origins.model_name(f"models.{name}", self._study)),
                self._store,
                self._study.seed,
                price=settings.rates(),
                thinking=settings.thinking,
            )
            for name, settings in self._study.models.items()
        }

    @cached_property
    def student_price(self) -> AnyPrice | None:
        """What a student's token costs; None is unknown."""
        if isinstance(self._study.student.price, SharePriceSettings):
            return prorated(self.llm.price, self.base.footprint, self.llm.footprint)
        return self._study.student.rates()

    def distilled(self, directory: Path) -> Model:
        """A student: an adapter on the shared base, or a whole model. Raises ConfigError when it is absent."""
        if (facts := student.read(directory)) is None:
            raise ConfigError(f"no student in {directory}; distil it first")
        students.check(self._study, directory, facts)
        model = replace(self.base, name="distilled", price=self.student_price, suffix=student.suffix(facts))
        if student.is_adapter(directory):
            return replace(model, adapter=directory)
        whole = self._study.student.model_copy(update={"path": str(directory)})
        return replace(model, engine=whole.open())
