"""What a run was made with, for the report's page: versions, prompts, models, prices, environments and data."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field

from ...core import documents
from ...distill import student
from .. import environments
from ..render import page
from ..render.table import Table, number
from ..run_dir import RunDirectory

_ABSENT = "Nobody wrote down which versions made these results: the run has no provenance.json."
_REMEDY = "remove it, or evaluate again"
_UNITS = ("million prompt tokens", "million completion tokens", "million cached tokens", "second", "exaFLOP")


def sections(run: Path) -> list[str]:
    """For the page; what a run does not say is left out, or said to be unknown."""
    kept: _Provenance | None = documents.read_optional(_Provenance, RunDirectory(run).provenance, _REMEDY)
    made = [page.table(_software(kept))] if kept else [f"<p>{_ABSENT}</p>"]
    prompts = (kept and kept.prompts) or _prompts_of_students(run)
    if prompts:
        made.append(page.table((["prompt", "sha256"], [[name, digest] for name, digest in prompts.items()])))
    if kept and (kept.models or kept.prices):
        made.append(page.table(_models(kept)))
    if used := environments.read(run):
        caution = environments.caution(used)
        made += [*([f"<p>{html.escape(caution)}</p>"] if caution else []), page.table(_environments(used))]
    if RunDirectory(run).data.is_file():
        made.append(page.table(_data(documents.read(dict[str, _Questions], RunDirectory(run).data, _REMEDY))))
    kept_files = RunDirectory(run)
    files = [file for file in (kept_files.config, kept_files.data, kept_files.provenance) if file.is_file()]
    return ["<h2>Provenance</h2>", *made, *(page.folded(file.name, _text(file)) for file in files)]


class _Price(documents.Shape):
    prompt: float | None = None
    completion: float | None = None
    cached: float | None = None
    second: float | None = None
    exaflop: float | None = None
    source: str = "config"


class _Provenance(documents.Shape):
    date: str
    python: str
    platform: str
    packages: dict[str, str] = Field(default_factory=dict)
    commit: str | None = None
    prompts: dict[str, str] = Field(default_factory=dict)
    models: dict[str, dict[str, str]] = Field(default_factory=dict)
    prices: dict[str, _Price | None] = Field(default_factory=dict)


class _Questions(documents.Shape):
    source: str = ""
    sha256: str
    questions: int


def _software(kept: _Provenance) -> Table:
    rows = [["evaluated", kept.date], ["commit", kept.commit or "unknown (not a checkout)"]]
    rows += [["Python", f"{kept.python} on {kept.platform}"]]
    return ["what", "value"], rows + [[name, found] for name, found in kept.packages.items()]


def _models(kept: _Provenance) -> Table:
    rates = ("prompt", "completion", "cached", "second", "exaflop")
    header = ["model", "what it is", *(f"$ per {unit}" for unit in _UNITS), "source of the price"]
    rows = []
    for name in dict.fromkeys([*kept.models, *kept.prices]):
        price = kept.prices.get(name)
        known = [getattr(price, rate) if price else None for rate in rates]
        shown = ["" if amount is None else number(amount) for amount in known]
        source = price.source if price else "unknown price"
        rows.append([name, " ".join(kept.models.get(name, {}).values()), *shown, source])
    return header, rows


def _environments(used: Sequence[environments.Used]) -> Table:
    header = ["generated or trained on", "vector instructions", "MKL_CBWR", "threads", "libraries", "stages"]
    rows = []
    for each in used:
        of = each.environment
        libraries = ", ".join(f"{name} {release}" for name, release in of.packages.items())
        rows.append([of.processor, of.capability, of.mkl, str(of.threads), libraries, ", ".join(each.stages)])
    return header, rows


def _data(asked: Mapping[str, _Questions]) -> Table:
    rows = [[name, of.source, of.sha256, str(of.questions)] for name, of in asked.items()]
    return ["data", "source", "sha256", "questions"], rows


def _prompts_of_students(run: Path) -> dict[str, str]:
    """What the students' cards say."""
    found: dict[str, str] = {}
    for folder in RunDirectory(run).student_folders():
        found |= (student.read(folder) or {}).get("prompts", {})
    return found


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
