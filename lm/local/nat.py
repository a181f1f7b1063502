"""NAT, negative assistant training: each wrapped layer has two LoRA adapters, and a unit weighs them token by token.

Li et al., *Turning Dust into Gold* (AAAI 2024), as the authors' code computes it (their equation 4 writes no softmax,
but the bounds that the text gives need one; their equation 5 writes no `o`, which the code adds):

    o     = W0 x                                   the frozen layer
    h_pos = o + s B_pos A_pos x                    both adapters' outputs include the layer's own
    h_neg = o + s B_neg A_neg x
    e_i   = (W_Q x) . (W_K h_i)                    no 1/sqrt(width)
    p     = softmax(e_pos, e_neg)
    a_neg = 2 beta p_neg - beta,  a_pos = 1 - a_neg          (4) negative knowledge may be added or taken away
    out   = o + a_pos V(h_pos) + a_neg V(h_neg)              (5) V(h) = W_2 GELU(W_1 h); W_2 begins at 0, so out = o

The adapters are stock PEFT; the units lie in a file of their own beside them. PEFT merges an adapter by adding it to
the weights; this is no sum, so that a NAT model cannot be merged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from ...core import documents
from ...core.errors import ConfigError
from .model_dir import NAT_CONFIG, NAT_UNITS, NEGATIVE, POSITIVE
from .nat_config import NatConfig
from .untrusted import loading, read_config

if TYPE_CHECKING:
    from peft import PeftModel
    from peft.tuners.lora import Linear as LoraLinear


class Integration(nn.Module):
    """The dynamic integration unit of one layer: width x (d_in + 3 d_out) parameters."""

    def __init__(self, d_in: int, d_out: int, config: NatConfig) -> None:
        super().__init__()
        self.config = config
        self.negative: Tensor | None = None
        """a_neg's mean over the last batch's tokens, padding included; for those who watch a training."""
        if config.form == "extrapolate":
            return
        if config.weights == "attention":
            self.query = nn.Linear(d_in, config.width, bias=False)  # W_Q
            self.key = nn.Linear(
                d_out, config.width, bias=False
            )  # W_K: the authors declare d_in, and have d_in = d_out
        if config.value:
            self.down = nn.Linear(d_out, config.width, bias=False)  # W_1
            self.up = nn.Linear(config.width, d_out, bias=False)  # W_2
            nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor, out: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """From a layer's input (..., d_in), output `o` and both updates s B A x (..., d_out) to its new output."""
        if self.config.form == "extrapolate":
            return out + 2 * positive - negative
        a = self.weigh(x, positive, negative)  # ..., 1: the negative branch's weight
        self.negative = a.detach().mean()
        if not self.config.value:
            return out + (1 - a) * positive + a * negative
        # W_2 is linear, and needs to be applied only once.
        hidden = (1 - a) * gelu(self.down(out + positive)) + a * gelu(self.down(out + negative))
        integrated: Tensor = out + self.up(hidden)
        return integrated

    def weigh(self, x: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """a_neg (4), of shape (..., 1)."""
        config = self.config
        if config.weights == "fixed":
            return torch.full_like(x[..., :1], config.fixed_negative)
        # A softmax over two is a sigmoid of their difference, and h_neg - h_pos has no `o` in it.
        difference = (self.query(x) * self.key(negative - positive)).sum(-1, keepdim=True)
        p = torch.sigmoid(difference)
        return 2 * config.beta * p - config.beta if config.correction else p


def default_width(hidden_size: int, rank: int) -> int:
    """The authors' 128 at hidden size 4,096 and rank 8, at any size.

    That is a thirty-second of the hidden size and 16 times the rank. On small models the two part, and a unit narrower
    than its adapters is a bottleneck, so that the larger holds, up to the hidden size.
    """
    return min(hidden_size, max(8, hidden_size // 32, 16 * rank))


def add_integration_units(
    model: PeftModel, config: NatConfig, positive: str = POSITIVE, negative: str = NEGATIVE
) -> None:
    """Give each layer that both adapters wrap a unit, which works whenever both are active and nothing else is.

    Raises ConfigError when there is no such layer.
    """
    layers = dict(_layers(model, positive, negative))
    if not layers:
        raise ConfigError(f"no layer has both adapters, {positive} and {negative}")
    for layer in layers.values():
        if positive in layer.lora_variant or negative in layer.lora_variant:
            raise ConfigError("NAT integrates plain LoRA adapters, without DoRA or other variants")
        if not hasattr(layer, "nat_units"):
            layer.nat_units = nn.ModuleDict()
            layer.forward = MethodType(_forward, layer)
        unit = Integration(layer.in_features, layer.out_features, config)
        reference = layer.lora_A[positive].weight
        layer.nat_units[_name(positive, negative)] = unit.to(reference.device, reference.dtype)
    model.merge_and_unload = MethodType(_no_merging, model)
    model.base_model.merge_adapter = MethodType(_no_merging, model)
    model.base_model.merge_and_unload = MethodType(_no_merging, model)


def units(model: nn.Module, positive: str = POSITIVE, negative: str = NEGATIVE) -> dict[str, Integration]:
    """The units of two adapters, by the names of their layers."""
    name = _name(positive, negative)
    return {at: layer.nat_units[name] for at, layer in model.named_modules() if name in getattr(layer, "nat_units", {})}


def use(model: PeftModel, *adapters: str) -> None:
    """Make these adapters active: both of a NAT model, or one alone. What is trained does not change."""
    wanted = {name: p.requires_grad for name, p in model.named_parameters()}
    model.base_model.set_adapter(list(adapters))
    for name, p in model.named_parameters():
        p.requires_grad_(wanted[name])


def save(model: PeftModel, out: Path, positive: str = POSITIVE, negative: str = NEGATIVE) -> None:
    """Write a NAT model's directory: `positive/`, `negative/`, the units, and their config."""
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    own = {name: p for name, p in model.state_dict().items() if ".nat_units." not in name}
    for adapter, folder in ((positive, POSITIVE), (negative, NEGATIVE)):
        model.save_pretrained(out / folder, selected_adapters=[adapter], state_dict=own)
        nested = out / folder / adapter  # PEFT puts an adapter that is not called `default` into a folder of its name
        for file in nested.iterdir() if nested.is_dir() else ():
            file.replace(out / folder / file.name)
        if nested.is_dir():
            nested.rmdir()
    found = units(model, positive, negative)
    tensors = {f"{at}.{name}": p.contiguous() for at, unit in found.items() for name, p in unit.state_dict().items()}
    save_file(tensors, out / NAT_UNITS)
    config = next(iter(found.values())).config
    values = {"width": config.width, **config.model_dump(exclude={"width"})}  # in the order that hashes of models know
    (out / NAT_CONFIG).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def read(directory: Path) -> NatConfig:
    """The config of a NAT model. Raises ConfigError when it cannot be read."""
    values = read_config(directory / NAT_CONFIG)
    if unknown := sorted(values.keys() - NatConfig.model_fields.keys()):
        raise ConfigError(f"{directory / NAT_CONFIG} has settings that this divcon does not know: {', '.join(unknown)}")
    config: NatConfig = documents.checked(NatConfig, values, str(directory / NAT_CONFIG))
    return config


def load_units(model: PeftModel, directory: Path, positive: str = POSITIVE, negative: str = NEGATIVE) -> None:
    """Integrate two loaded adapters with the units of a directory. Raises ConfigError when these do not fit."""
    from safetensors.torch import load_file

    config = read(directory)
    with loading("the gate", directory / NAT_UNITS):
        add_integration_units(model, config, positive, negative)
        tensors = load_file(directory / NAT_UNITS)
    found = units(model, positive, negative)
    own = {f"{at}.{name}": p for at, unit in found.items() for name, p in unit.state_dict().items()}
    if own.keys() != tensors.keys() or any(own[name].shape != tensors[name].shape for name in own):
        raise ConfigError(f"{directory / NAT_UNITS} belongs to other layers than the adapters beside it")
    with torch.no_grad():
        for name, p in own.items():
            p.copy_(tensors[name])


def _layers(model: nn.Module, *adapters: str) -> Iterator[tuple[str, LoraLinear]]:
    from peft.tuners.lora import Linear

    for name, layer in model.named_modules():
        if isinstance(layer, Linear) and all(adapter in layer.lora_A for adapter in adapters):
            yield name, layer


def _forward(layer: LoraLinear, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """In place of the layer's own: that one, unless both adapters of a unit are active."""
    active = layer.active_adapters
    name = _name(*active) if len(active) == 2 else ""
    if layer.disable_adapters or name not in layer.nat_units:
        return type(layer).forward(layer, x, *args, **kwargs)  # type: ignore[no-any-return]
    out = layer.base_layer(x, *args, **kwargs)
    positive, negative = active
    updates = [_update(layer, adapter, x) for adapter in (positive, negative)]
    unit = layer.nat_units[name]
    dtype = next(iter(unit.parameters()), updates[0]).dtype
    return unit(x.to(dtype), out.to(dtype), *updates).to(out.dtype)  # type: ignore[no-any-return]


def _update(layer: LoraLinear, adapter: str, x: Tensor) -> Tensor:
    """s B A x, each adapter with a dropout of its own."""
    down, up = layer.lora_A[adapter], layer.lora_B[adapter]
    dropped = layer.lora_dropout[adapter](x.to(down.weight.dtype))
    return up(down(dropped)) * layer.scaling[adapter]  # type: ignore[no-any-return]


def _name(positive: str, negative: str) -> str:
    return f"{positive}+{negative}"


def _no_merging(model: PeftModel, *_: object, **__: object) -> None:
    raise ConfigError(
        "a NAT model cannot be merged: its two adapters are weighed anew for every token. Distil the NCE student from "
        "it (--method nce), which is a plain adapter and merges"
    )
