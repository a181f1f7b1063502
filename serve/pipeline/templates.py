"""What a solver is asked with: a family of prompts that differ in how much is known of a question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ... import prompts
from ...core.errors import ConfigError
from ...prompts import Prompt


@dataclass(frozen=True)
class Templates:
    """A family; each takes `{question}`, and `{mark}` where it delimits what another program wrote."""

    solve: Prompt
    """With sub-questions."""
    cot: Prompt
    """Without."""
    step: Prompt
    """One sub-question, after those that are answered."""
    finish: Prompt
    """All sub-questions and their answers."""
    answer: str
    """A sentence that asks for a line with the final answer; empty where the others ask for it."""


def family(name: str) -> Templates:
    """The prompts in a folder of `prompts/`, or in the folder at a path. Raises ConfigError when one is not there."""
    shipped = f"{name}/" if Path(prompts.__file__).with_name(name).is_dir() else None
    where = shipped or f"{name.rstrip('/')}/"
    end = "" if shipped else ".md"
    try:
        solve, cot, step, finish = (prompts.load(f"{where}{part}{end}") for part in ("solve", "cot", "step", "finish"))
    except ValueError as error:
        raise ConfigError(f"{name!r} is no family of prompts: {error}") from None
    return Templates(solve, cot, step, finish, answer=_sentence(f"{where}answer{end}"))


def taught(names: Mapping[str, str], path: str) -> Templates:
    """The family that a distilled solver's prompts belong to, those that it was taught with in their places."""
    solve, single, *_ = [*names, *names]
    folder = str(Path(solve).parent)
    try:
        given = {name: prompts.load(name) for name in names}
        step, finish = (prompts.load(name if folder == "." else f"{folder}/{name}") for name in ("step", "finish"))
    except ValueError as error:
        raise ConfigError(f"{path} was taught with prompts that are not here: {error}") from None
    if changed := [name for name, sha256 in names.items() if given[name].sha256 != sha256]:
        raise ConfigError(f"{path} was taught with another text of the prompt {changed[0]}; give local.prompts")
    return Templates(given[solve], given[single], step, finish, answer="")


def fill(prompt: Prompt, **values: str) -> str:
    """A prompt with those of the values that it has a place for."""
    return prompt.fill(**{name: value for name, value in values.items() if f"{{{name}}}" in prompt.text})


def _sentence(name: str) -> str:
    try:
        return prompts.load(name).text
    except ValueError:
        return ""
