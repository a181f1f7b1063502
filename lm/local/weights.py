"""Finding, hashing and loading weights: local directories, the shipped miniatures, and the hub's cache."""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ...core.checksums import file_hash
from ...core.errors import ConfigError
from ...tasks import miniature
from .chat_template import end_of_turn
from .untrusted import check_model, loading, read_config, weight_files

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Dtype = Literal["auto", "float32", "bfloat16"]

_SHIPPED = "miniature/"


def model_directory(path: str) -> Path:
    """The directory of a model: a path, `miniature/NAME`, or a hub name that is in the cache or can be downloaded.

    Raises ConfigError, naming the path, when there are no safetensors weights.
    """
    directory = (
        Path(miniature.__file__).parent / path.removeprefix(_SHIPPED) if path.startswith(_SHIPPED) else Path(path)
    )
    if not directory.exists() and is_hub_name(path):
        directory = _from_hub(path)
    if not (directory / "config.json").is_file():
        raise ConfigError(f"no model in {directory}: it has no config.json")
    if not weight_files(directory):
        raise ConfigError(f"no weights in {directory}: it has no .safetensors file (other formats are not loaded)")
    return directory


def is_local(path: str) -> bool:
    """Whether a model lies on this machine, and need not be downloaded."""
    return path.startswith(_SHIPPED) or Path(path).is_dir()


def is_hub_name(path: str) -> bool:
    """Whether a path may be a name on the hub."""
    return path.count("/") == 1 and not path.startswith((".", "/", "~"))


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    wanted = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ConfigError(f"no directory {name!r}, and the hub gives no model of that name") from error


@cache
def weights_hash(directory: Path) -> str:
    """SHA-256 over what decides a model's (or an adapter's) answers: its weights, and its config as far as it does."""
    digest = hashlib.sha256()
    weights = [*weight_files(directory), *weight_files(directory, "*/adapter_model.safetensors")]
    for file in sorted(weights):
        digest.update(str(file.relative_to(directory)).encode() + bytes.fromhex(file_hash(file)))
    for name in ("config.json", "adapter_config.json", "nat_config.json", "*/adapter_config.json"):
        for file in sorted(directory.glob(name)):
            digest.update(_canonical(read_config(file)).encode())
    return digest.hexdigest()


def _canonical(config: dict[str, Any]) -> str:
    """A config without what differs between two equal models: where the base lay, which version wrote it, the order
    of names (PEFT writes the names of layers from a set)."""
    values = {key: value for key, value in config.items() if key not in _INCIDENTAL}
    names = [key for key in _SETS & values.keys() if isinstance(values[key], list)]
    ordered = {key: sorted(values[key]) for key in names if all(isinstance(name, str) for name in values[key])}
    return json.dumps(values | ordered, sort_keys=True)


_INCIDENTAL = {"base_model_name_or_path", "_name_or_path", "revision", "transformers_version", "peft_version"}

_SETS = {"target_modules", "modules_to_save", "exclude_modules"}


def load_tokenizer(directory: Path) -> PreTrainedTokenizerBase:
    """The tokenizer beside a model, with something to pad with and with the end of a turn as its end of sequence.

    Raises ConfigError when there is none.
    """
    from transformers import AutoTokenizer

    with loading("the tokenizer", directory):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            directory, local_files_only=True, trust_remote_code=False
        )
        tokenizer("?")  # what is wrong with its settings comes up when it is first used
    end = end_of_turn(tokenizer)
    if end is None and (directory / "config.json").is_file():
        end = next((id for id in _published_ends(directory) if id < len(tokenizer)), None)
    if end is not None:
        tokenizer.eos_token = str(tokenizer.convert_ids_to_tokens(end))
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(directory: Path, dtype: Dtype, device: str, bits: Literal[4] | None = None) -> PreTrainedModel:
    """The causal language model in a directory, with no generation defaults of its own beyond its stop tokens.

    A published generation config may hold a repetition penalty or a top-k; samples are drawn from the model alone. With
    4 `bits` its linear layers are packed, to train adapters on. Raises ConfigError when the weights cannot be read, and
    when there is nothing that packs them.
    """
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, GenerationConfig

    place = resolved_device(device)
    kind = AutoModelForImageTextToText if _is_wrapped_alone(directory) else AutoModelForCausalLM
    packed = _in_four_bits(place) if bits else {}
    model = _loaded(kind, directory, resolved(dtype, place), **packed)
    if not hasattr(model, model.base_model_prefix) and hasattr(model, "model"):
        model.base_model_prefix = "model"  # Llama 4's class names a part that only the wrapped model has
    published = model.generation_config
    model.generation_config = GenerationConfig(
        bos_token_id=published.bos_token_id, eos_token_id=published.eos_token_id, pad_token_id=published.pad_token_id
    )
    return model if bits else moved(model, place)


def _in_four_bits(place: str) -> dict[str, Any]:
    """How transformers packs a model while it loads it: QLoRA's 4-bit NormalFloat with double quantization."""
    if find_spec("bitsandbytes") is None:
        raise ConfigError("a base in 4 bits needs bitsandbytes, which is not installed: pip install 'divcon[qlora]'")
    import torch
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32 if place == "cpu" else torch.bfloat16,
    )
    return {"quantization_config": config, "device_map": {"": place}}


def _is_wrapped_alone(directory: Path) -> bool:
    """Whether a model's language model is to be had with its towers alone (Mistral 3, LLaVA)."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    )

    with loading("the model", directory):
        check_model(directory)
        config = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    kind = config.model_type
    return kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES


def load_reader(directory: Path) -> PreTrainedModel:
    """The model in a directory without its head, in float32. Raises ConfigError when it cannot be read."""
    from transformers import AutoModel

    return _loaded(AutoModel, directory, "float32")


def _loaded(kind: Any, directory: Path, dtype: str, **options: Any) -> PreTrainedModel:
    from transformers.utils import logging

    logging.disable_progress_bar()  # the run shows its own
    logging.set_verbosity_error()  # and what the library remarks on is settled here
    with loading("the model", directory):
        check_model(directory)
        return kind.from_pretrained(
            directory, dtype=dtype, local_files_only=True, use_safetensors=True, trust_remote_code=False, **options
        )


def stop_tokens(directory: Path, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Every token that ends a turn, by the model's own list or the tokenizer's."""
    return sorted({*_published_ends(directory), *([] if (end := tokenizer.eos_token_id) is None else [int(end)])})


def _published_ends(directory: Path) -> list[int]:
    """The model's own list."""
    published = directory / "generation_config.json"
    file = published if published.is_file() else directory / "config.json"
    listed = read_config(file).get("eos_token_id")
    ends = [end for end in (listed if isinstance(listed, list) else [listed]) if end is not None]
    if not all(isinstance(end, int) and end >= 0 for end in ends):
        raise ConfigError(f"{file}: eos_token_id is neither a token's number nor a list of them")
    return ends


Moved = TypeVar("Moved", bound="nn.Module")


def moved(model: Moved, device: str) -> Moved:
    """A model on its device. Raises ConfigError when the machine has none."""
    import torch

    place = resolved_device(device)
    try:
        return model.to(torch.device(place))
    except (RuntimeError, AssertionError) as error:  # torch asserts where it was built without the device
        raise ConfigError(f"this machine has no device {place!r}") from error


def resolved_device(device: str) -> str:
    """What `auto` stands for on this machine."""
    import torch

    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_name(device: torch.device | str, count: int = 1) -> str:
    """What is written down of a device: `cpu`, `cuda: NAME`; several processes have one each (`2 x cuda: NAME`)."""
    import torch

    place = torch.device(device)
    is_here = place.type == "cuda" and torch.cuda.is_available()
    name = f"cuda: {torch.cuda.get_device_name(place)}" if is_here else place.type
    return name if count == 1 else f"{count} x {name}"


def gpus(device: str) -> int:
    """How many GPUs a device's written name stands for; 0 where it is none, unknown, or was not always one."""
    found = re.fullmatch(r"(?:(\d+) x )?cuda: [^,]+", device)
    return int(found[1] or 1) if found else 0


def resolved(dtype: Dtype, device: str) -> str:
    """What `auto` stands for on a device."""
    if dtype != "auto":
        return dtype
    return "bfloat16" if device == "cuda" or _cpu_computes_bfloat16() else "float32"


def _cpu_computes_bfloat16() -> bool:
    import torch

    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
