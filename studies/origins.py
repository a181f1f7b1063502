"""What a run began with: its data files, prompts and models by their contents, its servers by their addresses.

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

from .. import prompts
from ..core import documents
from ..core.checksums import file_hash
from ..core.errors import ConfigError
from ..core.files import atomic_write
from ..eval.config import Study, flat
from ..eval.run_dir import RunDirectory
from ..lm.local.weights import is_local, model_directory, weights_hash

_SERVERS = ("base_url", "served")
_PLACES = ("path", *_SERVERS)
"""What settings are called that say where an input lies; `prompts` has none but such."""


class Origin(documents.Shape):
    """One input of a run, as it was when the run began."""

    place: str
    """A path, a name of what is shipped or on the hub, or a server's base URL."""
    sha256: str | None = None
    """Of the contents; None of a server, and of what was not there to be read."""


class Origins:
    """The inputs of a run by the settings that name them: `llm.path`, `tests.NAME.path`, `prompts.solve`."""

    def __init__(self, files: RunDirectory) -> None:
        self._files = files

    @cached_property
    def known(self) -> Mapping[str, Origin]:
        """Those that were kept; of a run from before they were kept, those of its config."""
        if self._files.origins.is_file():
            kept: dict[str, Origin] = documents.read(dict[str, Origin], self._files.origins, "remove it")
            return kept
        return {setting: _origin(setting, place) for setting, place in self._kept.items()}

    @cached_property
    def _kept(self) -> Mapping[str, str]:
        """Where the inputs lie by the config that the run has so far."""
        return _places(self._files.study) if self._files.config.is_file() else {}

    def keep(self, study: Study) -> None:
        """Keep what a run begins with: an input that is still the same stays as it was at first, wherever it is now."""
        known = self.known
        wanted = {
            setting: known[setting] if self._is_same(setting, place, study) else _origin(setting, place)
            for setting, place in _places(study).items()
        }
        text = json.dumps({setting: origin.model_dump() for setting, origin in wanted.items()}, indent=2) + "\n"
        if not self._files.origins.is_file() or self._files.origins.read_text(encoding="utf-8") != text:
            atomic_write(self._files.origins, text)

    def _is_same(self, setting: str, place: str, study: Study) -> bool:
        return setting in self.known and (self._kept.get(setting) == place or self.moved(setting, study))

    def moved(self, setting: str, study: Study) -> bool:
        """Whether a setting that differs names the same input in another place."""
        origin, place = self.known.get(setting), _places(study).get(setting)
        if origin is None or place is None:
            return False
        if setting.endswith(_SERVERS):
            return any(study.relocate.get(old) == place for old in (origin.place, self._kept.get(setting, "")))
        return origin.sha256 is not None and origin.sha256 == _contents(setting, place)

    def model_name(self, model: str, study: Study) -> str | None:
        """What a model (`llm`, `student`, `models.NAME`) that has moved is known as where its samples are kept: the
        URL, or the directory's name, that it had at first. None where it has not moved."""
        places = _places(study)
        setting = f"{model}.path" if f"{model}.path" in places else f"{model}.base_url"
        origin = self.known.get(setting)
        if origin is None or origin.place == places[setting]:
            return None
        return origin.place if setting.endswith(_SERVERS) else Path(origin.place).name

    def file_name(self, source: str) -> str | None:
        """The name that a source's data file (of `train`, of `tests.NAME`) had when the run began, which ids of its
        questions have."""
        origin = self.known.get(f"{source}.path")
        return None if origin is None else Path(origin.place).name


def _places(study: Study) -> dict[str, str]:
    """Where each input of a study lies, by the setting that says so."""
    return {
        setting: str(value)
        for setting, value in flat(study).items()
        if value is not None and (setting.rpartition(".")[2] in _PLACES or setting.startswith("prompts."))
    }


def _origin(setting: str, place: str) -> Origin:
    return Origin(place=place, sha256=_contents(setting, place))


def _contents(setting: str, place: str) -> str | None:
    """A hash of what an input holds; None of a server, of what lies on the hub, and of what cannot be read."""
    try:
        if setting.endswith(_SERVERS):
            return None
        if setting == "prompts.examples":
            return file_hash(prompts.examples(place))
        if setting.startswith("prompts."):
            return prompts.load(place).sha256
        if setting.startswith(("train.", "tests.")):
            return _hashed(Path(place))
        return weights_hash(model_directory(place)) if is_local(place) else None
    except (ConfigError, OSError, ValueError):
        return None


def _hashed(path: Path) -> str:
    """Of a file, or of all files of a folder with their names."""
    if path.is_file():
        return file_hash(path)
    digest = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(path)}\0{file_hash(file)}\0".encode())
    return digest.hexdigest()
