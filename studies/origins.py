"""What a run began with: its data files and models by their contents, its servers by their addresses.

A file that was moved, or a model whose directory was renamed, goes on in the same run, because its contents are the
same. A server has no contents to know it by: it moves only when somebody says so (`--relocate OLD=NEW`). Samples keep
the keys under which they were made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ..core import documents
from ..core.errors import ConfigError
from ..core.files import atomic_write
from ..distill.traces.source import TracesSource
from ..eval.config import Study
from ..eval.run_dir import RunDirectory
from ..lm.local.weights import model_directory, weights_hash
from ..lm.settings import LocalSettings, OpenAISettings


class Origin(documents.Shape):
    """One input of a run, as it was when the run began."""

    place: str
    """A path, or a server's base URL."""
    sha256: str | None = None
    """Of the contents; None of a server, and of what was not there to be read."""


class Origins:
    """The inputs of a run by their keys in the config: `llm`, `student`, `models.NAME`, `train`, `tests.NAME`."""

    def __init__(self, files: RunDirectory) -> None:
        self._files = files

    @cached_property
    def known(self) -> Mapping[str, Origin]:
        """Those that were kept; of a run from before they were kept, those of its config."""
        if self._files.origins.is_file():
            kept: dict[str, Origin] = documents.read(dict[str, Origin], self._files.origins, "remove it")
            return kept
        return _of(self._files.study) if self._files.config.is_file() else {}

    def keep(self, study: Study) -> None:
        """Keep what a run begins with; what is known already stays as it is."""
        known = self.known
        wanted = {
            key: known[key] if key in known else Origin(place=place, sha256=_contents(study, key))
            for key, place in _places(study).items()
        }
        text = json.dumps({key: origin.model_dump() for key, origin in wanted.items()}, indent=2) + "\n"
        if not self._files.origins.is_file() or self._files.origins.read_text(encoding="utf-8") != text:
            atomic_write(self._files.origins, text)

    def moved(self, setting: str, study: Study) -> bool:
        """Whether a setting that differs names the same input in another place."""
        key, _, last = setting.rpartition(".")
        if last not in ("path", "base_url") or key not in (places := _places(study)) or key not in self.known:
            return False
        origin = self.known[key]
        if last == "base_url":
            return study.relocate.get(origin.place) == places[key] or self._was_relocated(key, study)
        return origin.sha256 is not None and origin.sha256 == _contents(study, key)

    def _was_relocated(self, key: str, study: Study) -> bool:
        """Whether the server's new place was said before: the config that is kept has it already."""
        return _places(self._files.study).get(key) == _places(study)[key]

    def name(self, key: str, study: Study) -> str | None:
        """What a model that has moved is known as where its samples are kept: the directory's name, or the URL, that it
        had at first. None where it has not moved."""
        origin = self.known.get(key)
        if origin is None or origin.place == _places(study).get(key):
            return None
        return origin.place if "://" in origin.place else Path(origin.place).name

    def stem(self, key: str) -> str | None:
        """The stem of a data file's name when the run began, which ids of its questions have."""
        origin = self.known.get(key)
        return None if origin is None else Path(origin.place).name


def _of(study: Study) -> dict[str, Origin]:
    return {key: Origin(place=place, sha256=_contents(study, key)) for key, place in _places(study).items()}


def _places(study: Study) -> dict[str, str]:
    """Where each input of a study lies."""
    found: dict[str, str] = {}
    models: dict[str, object] = {f"models.{name}": model for name, model in study.models.items()}
    for key, model in {"llm": study.llm, "student": study.student, **models}.items():
        if isinstance(model, OpenAISettings):
            found[key] = model.base_url
        elif isinstance(model, LocalSettings):
            found[key] = model.path
    sources: dict[str, object] = {
        "train": study.train,
        **{f"tests.{name}": source for name, source in study.tests.items()},
    }
    return found | {key: str(path) for key, source in sources.items() if (path := getattr(source, "path", None))}


def _contents(study: Study, key: str) -> str | None:
    """A hash of what an input holds; None of a server, and of what cannot be read."""
    try:
        source: Any = study.train if key == "train" else study.tests.get(key.removeprefix("tests."))
        if key == "train" or key.startswith("tests."):
            return source.fingerprint() if isinstance(source, TracesSource) else _hashed(Path(source.path))
        model: Any = getattr(study, key) if key in ("llm", "student") else study.models[key.removeprefix("models.")]
        return weights_hash(model_directory(model.path)) if _is_here(model) else None
    except (ConfigError, OSError):
        return None


def _is_here(model: Any) -> bool:
    return isinstance(model, LocalSettings) and model.is_local


def _hashed(path: Path) -> str:
    """Of a file, or of all files of a folder with their names."""
    if path.is_file():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    digest = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(path)}\0{_hashed(file)}\0".encode())
    return digest.hexdigest()
