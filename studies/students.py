"""A study's students: what each is distilled by, where it lies, and which prompts it is taught and asked with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import prompts as templates
from ..core.errors import ConfigError
from ..distill import student
from ..distill.recipes import Training
from ..eval.config import Study
from ..eval.grid_spec import UseStudent
from ..eval.run_dir import RunDirectory
from ..lm.local.weights import model_directory, weights_hash


def recipe(study: Study, spec: UseStudent) -> Training:
    """What a student of the grid is distilled by."""
    of_track = study.distill.recipe(spec.track)
    return type(of_track).model_validate(of_track.model_dump() | spec.recipe_changes)


def folder(study: Study, files: RunDirectory, spec: UseStudent) -> Path:
    """Where a student of the grid lies: one that changes nothing in its track's recipe shares that student."""
    is_plain = recipe(study, spec) == recipe(study, spec.plain)
    return files.path / (spec.plain if is_plain else spec).folder


def of_role(study: Study, files: RunDirectory, role: student.Role) -> dict[Path, UseStudent]:
    """The grid's students of a role, by their folders."""
    specs = study.grid.decomposer_specs if role == "decomposer" else study.grid.solver_specs
    return {folder(study, files, spec): spec for spec in specs if isinstance(spec, UseStudent)}


def prompts(study: Study, role: str, target: str = "") -> dict[str, str]:
    """The templates that a role's student is asked with, and their hashes; `target` is its recipe's."""
    of = study.prompts
    single = of.direct if target == "direct" else of.single_stage
    used = {"decomposer": [of.decompose], "solver": [of.solve, of.single_stage], "single": [single]}[role]
    return {name: templates.load(name).sha256 for name in used}


def check(study: Study, directory: Path, facts: dict[str, Any]) -> None:
    """Raise ConfigError when a student lost its weights, or was taught on another base or other prompts."""
    student.check(directory, facts, weights_hash(model_directory(study.student.path)))
    asked = prompts(study, facts["role"], facts["recipe"].get("target", ""))
    if set(facts["prompts"].values()) != set(asked.values()):  # whatever their files are called
        raise ConfigError(f"{directory} was distilled under other prompts; remove it to train again")
