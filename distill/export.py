"""A student written as other programs load it: a whole model, an adapter that vLLM serves, or a GGUF file."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import ConfigError
from ..lm.engines.vllm import lora_rank
from ..lm.local import probe
from ..lm.local.adapters import adapter_config, load_adapter
from ..lm.local.model_dir import adapter_weights, is_nat
from ..lm.local.untrusted import read_config
from ..lm.local.weights import load_model, load_tokenizer, model_directory, weights_hash
from . import student

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FORMS = ("merged", "vllm", "gguf")
CONVERTER = "convert_hf_to_gguf.py"
"""Llama.cpp's own, which knows the models that llama.cpp runs."""
_NOT_WEIGHTS = (student.FACTS, student.CARD, "training.json", probe.FILE)
_ADAPTED, _WRAPPED = "base_model.model.model.layers.", "base_model.model.model.language_model.layers."
"""Where the layers of a language model lie: by its own class, and in the class that holds its towers too."""


@dataclass(frozen=True)
class Exported:
    """What was written, and how it is served."""

    path: Path
    command: str

    def __str__(self) -> str:
        return f"wrote {self.path}; serve it with: {self.command}"


def export(directory: Path, form: str, out: Path | None = None, base: str | None = None) -> Exported:
    """Write a student in another form, to `out` (default: the student's name with the form's behind it).

    `base` is where its base lies now, if not where its card says. Raises ConfigError for what is no student, for a
    student that has no such form, and where something is in the way.
    """
    directory = directory.resolve()
    facts = _facts(directory)
    base_directory = model_directory(base or facts["base"])
    student.check(directory, facts, weights_hash(base_directory))
    out = out or directory.with_name(f"{directory.name}-{form}" + (".gguf" if form == "gguf" else ""))
    _check_free(out, directory)
    part = out.with_name(f".{out.name}.part")
    _remove(part)
    try:
        written = _WRITERS[form](directory, base_directory, part)
        part.rename(out)
    finally:
        _remove(part)
    named = {"out": out, "base": base_directory, "name": directory.name}
    return Exported(out, written.format(**{name: shlex.quote(str(value)) for name, value in named.items()}))


def _check_free(out: Path, directory: Path) -> None:
    """Raise ConfigError where nothing can be written, or something else would change."""
    if out.exists() or out.is_symlink():
        raise ConfigError(f"{out} is in the way: move it, or give another --out")
    if out.resolve().is_relative_to(directory):
        raise ConfigError(f"{out} lies within the student that is exported; give another --out")
    if not out.parent.is_dir():
        raise ConfigError(f"there is no directory {out.parent} to write {out.name} to")


def _facts(directory: Path) -> dict[str, Any]:
    facts = student.read(directory)
    if facts is None:
        raise ConfigError(f"no student in {directory}: it has no {student.FACTS}")
    if facts["role"] == "ranker":
        raise ConfigError(f"{directory} is a ranker, which scores solutions and writes none: it has no other form")
    if is_nat(directory):
        raise ConfigError(
            f"{directory} is a NAT student: a gate mixes its two adapters in every layer, and no other program does. "
            "Export the NCE student that is distilled from it (--method nce), which is a plain adapter"
        )
    return facts


def _merged(directory: Path, base: Path, out: Path) -> str:
    """A whole model, in its base's number format."""
    if student.is_adapter(directory):
        model = load_adapter(load_model(base, "float32", "cpu"), directory, "student").merge_and_unload(safe_merge=True)
        model.to(_dtype(base)).save_pretrained(out)
        load_tokenizer(directory).save_pretrained(out)
    else:
        shutil.copytree(directory, out, ignore=shutil.ignore_patterns(*_NOT_WEIGHTS))
    return "vllm serve {out} --served-model-name {name}"


def _dtype(base: Path) -> torch.dtype:
    """What the base's weights are kept in, as its config says; 32 bits where it does not."""
    import torch

    config = read_config(base / "config.json")
    parts = (config, config.get("text_config") or {})
    named = next((part[key] for part in parts for key in ("dtype", "torch_dtype") if part.get(key)), None)
    return {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(str(named), torch.float32)


def _for_vllm(directory: Path, base: Path, out: Path) -> str:
    """An adapter with its layers named as they are in the base's published class; a whole model as it is."""
    if not student.is_adapter(directory):
        return _merged(directory, base, out)
    config = adapter_config(directory)
    if config.get("target_parameters"):
        raise ConfigError(f"vLLM serves no adapter on fused experts, as {directory} is; export it --merged")
    shutil.copytree(directory, out, ignore=shutil.ignore_patterns(*_NOT_WEIGHTS[:-1], "adapter_model.safetensors"))
    _write(_named_as_published(_read(directory), base), out)
    rank = lora_rank(max(int(config.get("r", 8)), *map(int, (config.get("rank_pattern") or {}).values()), 0))
    return f"vllm serve {{base}} --enable-lora --max-loras 2 --max-lora-rank {rank} --lora-modules {{name}}={{out}}"


def _named_as_published(weights: Mapping[str, Tensor], base: Path) -> dict[str, Tensor]:
    is_wrapped = "text_config" in read_config(base / "config.json")
    return {name.replace(_ADAPTED, _WRAPPED) if is_wrapped else name: tensor for name, tensor in weights.items()}


def _read(directory: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    weights: dict[str, Tensor] = load_file(adapter_weights(directory))
    return weights


def _write(weights: Mapping[str, Tensor], out: Path) -> None:
    from safetensors.torch import save_file

    save_file(dict(weights), out / "adapter_model.safetensors", metadata={"format": "pt"})


def _gguf(directory: Path, base: Path, out: Path) -> str:
    """By llama.cpp's converter, from the whole model."""
    program = shutil.which(CONVERTER)
    if program is None:
        raise ConfigError(f"a GGUF file is written by llama.cpp's {CONVERTER}, which is not on the PATH")
    whole = out.with_name(f"{out.name}.whole")
    _remove(whole)
    try:
        _merged(directory, base, whole)
        made = subprocess.run([program, str(whole), "--outfile", str(out)], capture_output=True, text=True, check=False)
    finally:
        _remove(whole)
    if made.returncode or not out.is_file():
        said = (made.stderr.strip() or "nothing").splitlines()[-1][:300]
        raise ConfigError(f"{CONVERTER} cannot write {directory} as GGUF; it says: {said}")
    return "llama-server -m {out}"


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


_WRITERS = dict(zip(FORMS, (_merged, _for_vllm, _gguf), strict=True))
