"""The prompts that an endpoint asks a solver with: of a folder, or those that a student was taught with.

Each may take `{mark}` where it delimits what another program wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ... import prompts
from ...core.errors import ConfigError
from ...decompose.decomposition import listing
from ...prompts import Prompt, PromptFamily
from .sanitize import mark

_MEMBERS = ("solve", "cot", "step", "finish")


def family(name: str) -> PromptFamily:
    """The prompts in a folder of `prompts/`, or in the folder at a path. Raises ConfigError when one is not there."""
    is_name = bool(name) and Path(name).name == name
    shipped = f"{name}/" if is_name and (Path(prompts.__file__).parent / name).is_dir() else None
    where = shipped or f"{name.rstrip('/')}/"
    end = "" if shipped else ".md"
    try:
        solve, cot, step, finish = (prompts.load(f"{where}{part}{end}") for part in _MEMBERS)
    except ValueError as error:
        raise ConfigError(f"{name!r} is no family of prompts: {error}") from None
    return PromptFamily(solve, cot, cot, step, finish, answer=_sentence(f"{where}answer{end}"))  # nobody asks directly


def taught(names: Mapping[str, str], path: str) -> PromptFamily:
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
    return PromptFamily(given[solve], given[single], given[single], step, finish)


def two_stage_prompt(templates: PromptFamily, question: str, subquestions: Sequence[str], secret: bytes) -> str:
    """A question with its sub-questions, which another program wrote and which are delimited as such."""
    listed, delimiter = listing(subquestions), mark(question, secret)
    return fill(templates.solve, question=question, subquestions=listed, mark=delimiter)


def fill(prompt: Prompt, **values: str) -> str:
    """A prompt with those of the values that it has a place for."""
    values = {"choices": "", **values}  # of an endpoint, they stand in the question
    return prompt.fill(**{name: value for name, value in values.items() if f"{{{name}}}" in prompt.text})


def _sentence(name: str) -> str:
    try:
        return prompts.load(name).text
    except ValueError:
        return ""
