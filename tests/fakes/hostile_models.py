"""Model and adapter directories that were made to hurt whoever loads them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

Damage = Callable[[Path, Path], object]
"""Changes a sound directory; what it has run leaves a file, the canary, which is the second argument."""


class _Touch:
    """Unpickled, it leaves the canary."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._canary,)


def pickled(canary: Path) -> bytes:
    """A pickle that leaves the canary when it is read."""
    return pickle.dumps(_Touch(canary), protocol=2)  # torch's own


def changed(file: Path, **values: object) -> None:
    """Put values into a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | values), encoding="utf-8")


def _code(directory: Path, canary: Path, name: str = "evil.py") -> None:
    (directory / name).parent.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(f"from pathlib import Path\nPath({str(canary)!r}).touch()\n", encoding="utf-8")


def _model_code(directory: Path, canary: Path, repository: str = "") -> None:
    _code(directory, canary)
    of = dict.fromkeys(("AutoConfig", "AutoModel", "AutoModelForCausalLM"), f"{repository}evil.Evil")
    changed(directory / "config.json", model_type="evil", auto_map=of)


def _known_type_with_code(directory: Path, canary: Path) -> None:
    _code(directory, canary)
    changed(directory / "config.json", auto_map={"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"})


def _tokenizer_code(directory: Path, canary: Path) -> None:
    _code(directory, canary)
    of = {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    changed(directory / "tokenizer_config.json", tokenizer_class="EvilTokenizer", auto_map=of)
    changed(directory / "config.json", model_type="evil")


def _generate_code(directory: Path, canary: Path) -> None:
    _code(directory, canary, "custom_generate/generate.py")
    changed(directory / "generation_config.json", custom_generate="evil.py")


def _processor_code(directory: Path, canary: Path) -> None:
    _code(directory, canary)
    for name in ("processor_config.json", "preprocessor_config.json"):
        of = {"AutoProcessor": "evil.Evil", "AutoImageProcessor": "evil.Evil"}
        (directory / name).write_text(json.dumps({"auto_map": of}), encoding="utf-8")


def _pickled_weights(directory: Path, canary: Path) -> None:
    (directory / "model.safetensors").unlink()
    (directory / "pytorch_model.bin").write_bytes(pickled(canary))


def _pickle_called_safetensors(directory: Path, canary: Path) -> None:
    (directory / "model.safetensors").write_bytes(pickled(canary))


def _pickle_named_by_config(directory: Path, canary: Path) -> None:
    (directory / "adapter_model.bin").write_bytes(pickled(canary))
    changed(directory / "config.json", transformers_weights="adapter_model.bin")


def _pickle_named_by_index(directory: Path, canary: Path) -> None:
    (directory / "model.safetensors").rename(directory / "other.safetensors")
    (directory / "evil.bin").write_bytes(pickled(canary))
    index = {"metadata": {}, "weight_map": {"model.embed_tokens.weight": "evil.bin"}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def _adapter_inside(directory: Path, canary: Path) -> None:
    (directory / "adapter_model.bin").write_bytes(pickled(canary))
    config = {"peft_type": "LORA", "base_model_name_or_path": "/nowhere", "target_modules": ["q_proj"]}
    (directory / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")


def _header(length: int, header: object = None) -> Damage:
    """Weights whose header does not tell the truth."""

    def damage(directory: Path, canary: Path) -> None:
        text = json.dumps(header).encode() if header is not None else b"{}"
        (directory / "model.safetensors").write_bytes((length or len(text)).to_bytes(8, "little") + text + bytes(64))

    return damage


def _with(**values: object) -> Damage:
    return lambda directory, canary: changed(directory / "config.json", **values)


def _linked(name: str, to: str) -> Damage:
    """A file of the directory that is a link."""

    def damage(directory: Path, canary: Path) -> None:
        (directory / name).unlink()
        (directory / name).symlink_to(to)

    return damage


def _template(text: str) -> Damage:
    return lambda directory, canary: (directory / "chat_template.jinja").write_text(
        text.replace("CANARY", str(canary)), encoding="utf-8"
    )


REFUSED: dict[str, Damage] = {
    "a template that leaves its sandbox": _template("{{ ''.__class__.__mro__[1].__subclasses__() }}"),
    "a template that opens a file": _template(
        "{{ cycler.__init__.__globals__.os.popen('touch CANARY').read() }}{{ messages[0]['content'] }}"
    ),
    "a template that goes on for long": _template("{% for i in range(10**9) %}{{ i }}{% endfor %}"),
    "a template that is none": _template("{% for message in messages %}"),
    "code of its own": _model_code,
    "code of another repository": lambda directory, canary: _model_code(directory, canary, "evil/repository--"),
    "a tokenizer with code": _tokenizer_code,
    "pickled weights": _pickled_weights,
    "a pickle called safetensors": _pickle_called_safetensors,
    "a pickle that its config names": _pickle_named_by_config,
    "a pickle that its index names": _pickle_named_by_index,
    "an adapter inside": _adapter_inside,
    "quantized by bitsandbytes": _with(quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}),
    "quantized by what is not installed": _with(quantization_config={"quant_method": "hqq"}),
    "quantized by a list": _with(quantization_config=[1]),
    "attention from the hub": _with(attn_implementation="evil/kernel"),
    "attention from the hub, deeper": _with(text_config={"_attn_implementation": "evil/kernel@main"}),
    "attention that is not installed": _with(attn_implementation="flash_attention_2"),
    "a number where a text belongs": _with(model_type=7),
    "a size below nothing": _with(hidden_size=-1),
    "no heads": _with(num_attention_heads=0),
    "sizes of another model": _with(hidden_size=64),
    "a dtype that is none": _with(dtype="evil"),
    "a header that is too long": _header(2**63),
    "a header longer than the file": _header(2**20),
    "a header that is a list": _header(0, [1, 2]),
    "a tensor without a shape": _header(0, {"lm_head.weight": {"dtype": "F32"}}),
    "a tensor that is larger than the file": _header(
        0, {"lm_head.weight": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 64]}}
    ),
    "a tensor with a shape below nothing": _header(
        0, {"lm_head.weight": {"dtype": "F32", "shape": [-4, -4], "data_offsets": [0, 64]}}
    ),
    "weights that are another file": _linked("model.safetensors", "/etc/passwd"),
    "a config that is another file": _linked("config.json", "/etc/passwd"),
    "a tokenizer that is another file": _linked("tokenizer.json", "/etc/passwd"),
    "weights that link to themselves": _linked("model.safetensors", "model.safetensors"),
    "a config that links to itself": _linked("config.json", "config.json"),
    "a config that is a device": _linked("config.json", "/dev/zero"),
}
"""Each must be refused in one sentence."""

HARMLESS: dict[str, Damage] = {
    "code that nobody needs": _known_type_with_code,
    "code that generates": _generate_code,
    "a processor with code": _processor_code,
    "quantized by nobody knows what": _with(quantization_config={"quant_method": "evil"}),
}
"""Each loads as if the code were not there."""


def _adapters_code(directory: Path, canary: Path) -> None:
    _code(directory, canary)
    mapping = {"base_model_class": "Evil", "parent_library": "evil"}
    changed(directory / "adapter_config.json", auto_mapping=mapping)


def _adapters_library(directory: Path, canary: Path) -> None:
    _code(directory, canary)
    changed(directory / "adapter_config.json", megatron_config={"a": 1}, megatron_core="evil")


def _pickled_adapter(directory: Path, canary: Path) -> None:
    (directory / "adapter_model.safetensors").unlink()
    (directory / "adapter_model.bin").write_bytes(pickled(canary))


def _pickle_beside_adapter(directory: Path, canary: Path) -> None:
    for name in ("adapter_model.bin", "pytorch_model.bin", "training_args.bin", "optimizer.pt", "rng_state.pth"):
        (directory / name).write_bytes(pickled(canary))


def _adapter_on(base: str) -> Damage:
    return lambda directory, canary: changed(directory / "adapter_config.json", base_model_name_or_path=base)


REFUSED_ADAPTERS: dict[str, Damage] = {
    "a library of its own": _adapters_library,
    "a pickle": _pickled_adapter,
    "another kind": lambda directory, canary: changed(directory / "adapter_config.json", peft_type="XLORA"),
    "a kind that nobody knows": lambda directory, canary: changed(directory / "adapter_config.json", peft_type="EVIL"),
    "no kind": lambda directory, canary: changed(directory / "adapter_config.json", peft_type=None),
    "layers of another model": lambda directory, canary: changed(
        directory / "adapter_config.json", target_modules=["nothing"]
    ),
    "another rank": lambda directory, canary: changed(directory / "adapter_config.json", r=2),
    "a rank that is no number": lambda directory, canary: changed(directory / "adapter_config.json", r="evil"),
    "a list": lambda directory, canary: (directory / "adapter_config.json").write_text("[]", encoding="utf-8"),
    "weights that are a pickle": lambda directory, canary: (directory / "adapter_model.safetensors").write_bytes(
        pickled(canary)
    ),
}

HARMLESS_ADAPTERS: dict[str, Damage] = {
    "a class of its own": _adapters_code,
    "pickles beside it": _pickle_beside_adapter,
    "a base on the hub": _adapter_on("evil/base"),
    "a base at a URL": _adapter_on("https://127.0.0.1:9/evil"),
    "a base on a share": _adapter_on("\\\\127.0.0.1\\evil"),
    "a base elsewhere": _adapter_on("/etc"),
    "a base above": _adapter_on("../../.."),
}
