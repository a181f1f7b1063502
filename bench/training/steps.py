"""Steps of training beside one another: NAT, NCE in its three forms, and batches of like length.

    python -m bench.training.steps MODEL [nat|nce|lengths] [TRACES] [ROUNDS]

Forward, loss and backward of one batch on one base, taking turns; medians of the rounds' ratios, the range beside them.
What torch's counter of operations promises stands beside each ratio. TRACES is a folder of published traces, for
`lengths`.
"""

from __future__ import annotations

import random
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from divcon.distill.traces import importers
from divcon.distill.training.batch_plan import plan
from divcon.distill.training.nce import STUDENT, Teacher, enhanced, reply_logits
from divcon.distill.training.trainer import Collate
from divcon.lm.local import nat
from divcon.lm.local.model_dir import NEGATIVE, POSITIVE
from divcon.lm.local.nat_config import NatConfig
from divcon.lm.local.weights import load_model, load_tokenizer

ROWS, TIME, REPLY = 4, 128, 96
Loss = Callable[[], Tensor]


def batch(vocabulary: int) -> list[dict[str, Any]]:
    """Rows of random tokens, three quarters of them a reply."""
    random.seed(0)
    rows = []
    for i in range(ROWS):
        tokens = [random.randrange(vocabulary) for _ in range(TIME)]
        labels = [-100] * (TIME - REPLY) + tokens[TIME - REPLY :]
        rows.append({"input_ids": tokens, "labels": labels, "right": True, "unit": i, "index": i})
    return rows


def three_adapters(path: str) -> Any:
    """One base with a NAT model's two adapters and a plain student's."""
    base = load_model(Path(path), "float32", "cpu")
    config = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(base, config, adapter_name=NEGATIVE)
    model.add_adapter(POSITIVE, config)
    model.add_adapter(STUDENT, config)
    nat.add_integration_units(model, NatConfig(width=nat.default_width(base.config.hidden_size, 8)))
    return model.train()


def training(model: Any, *adapters: str, of: Sequence[str]) -> None:
    """Make adapters active, and let what belongs to one of the names learn."""
    nat.use(model, *adapters)
    for name, p in model.named_parameters():
        p.requires_grad_(any(f".{part}" in name for part in of))


def likelihood(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    logits = reply_logits(model, inputs)
    return torch.nn.functional.cross_entropy(logits, inputs["labels"][:, 1:][inputs["labels"][:, 1:] != -100])


def measured(forms: dict[str, tuple[Callable[[], None], Loss]], rounds: int) -> dict[str, tuple[list[float], float]]:
    """Seconds of every round, and operations, of a step in each form, the forms taking turns."""
    found: dict[str, tuple[list[float], float]] = {}
    for name, (prepare, loss) in forms.items():
        prepare()
        with FlopCounterMode(display=False) as counter:
            loss().backward()  # type: ignore[no-untyped-call]
        found[name] = ([], float(counter.get_total_flops()))
    for _ in range(rounds):
        for name, (prepare, loss) in forms.items():
            prepare()
            started = time.perf_counter()
            loss().backward()  # type: ignore[no-untyped-call]
            found[name][0].append(time.perf_counter() - started)
    return found


def said(found: dict[str, tuple[list[float], float]], first: str) -> None:
    seconds, flops = found[first]
    for name, (own, operations) in found.items():
        ratios = [a / b for a, b in zip(own, seconds, strict=True)]
        print(
            f"{name}: {median(own):.2f} s a step, {median(ratios):.3f} [{min(ratios):.3f}, {max(ratios):.3f}] of "
            f"{first}; operations {operations / flops:.3f} of it"
        )


def nat_steps(path: str, rounds: int) -> None:
    """A NAT step beside a plain LoRA step, both on q and v, with units of divcon's width and of the authors'."""
    model = three_adapters(path)
    inputs = Collate(0)(batch(model.config.vocab_size))

    def integrated(width: int) -> None:
        nat.add_integration_units(model, NatConfig(width=width))
        training(model, POSITIVE, NEGATIVE, of=[f"{POSITIVE}.", "nat_units."])

    forms: dict[str, tuple[Callable[[], None], Loss]] = {
        "LoRA": (lambda: training(model, STUDENT, of=[f"{STUDENT}."]), lambda: likelihood(model, inputs))
    }
    for width in (nat.default_width(model.config.hidden_size, 8), 128):
        forms[f"NAT of width {width}"] = (lambda width=width: integrated(width), lambda: likelihood(model, inputs))
    said(measured(forms, rounds), "LoRA")


def nce_steps(path: str, rounds: int) -> None:
    """NCE with three forwards a step, with kept weights, and with kept rows."""
    model = three_adapters(path)
    rows = batch(model.config.vocab_size)
    inputs = Collate(0)(rows)
    teachers = {"online": Teacher("0.5+beta"), "weights": Teacher("0.5+beta"), "rows": Teacher("0.5+beta")}
    nat.use(model, STUDENT)
    teachers["weights"].remember(model, rows, 0, ROWS, 0)
    teachers["rows"].remember(model, rows, 0, ROWS, 64)

    def learn() -> None:
        training(model, STUDENT, of=[f"{STUDENT}."])

    forms: dict[str, tuple[Callable[[], None], Loss]] = {
        name: (learn, lambda teacher=teacher: enhanced(model, model, teacher, inputs)[1])
        for name, teacher in teachers.items()
    }
    found = measured(forms, rounds)
    said(found, "online")
    seconds, flops = found["online"]
    for name in ("weights", "rows"):
        own, operations = found[name]
        faster = median(a / b for a, b in zip(seconds, own, strict=True))
        print(f"{name}: {faster:.2f} times as fast; its operations promise {flops / operations:.2f}")
    bases = sum(p.numel() for name, p in model.named_parameters() if "lora_" not in name and "nat_units" not in name)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"weights of the base in memory: {bases:,}, once; peak {peak:.2f} GiB")


def length_steps(path: str, traces: Path, rounds: int, size: int = 8, longest: int = 1024) -> None:
    """Real tokens a second in batches of like length and in random ones, of published traces."""
    tokenizer = load_tokenizer(Path(path))
    texts = [f"{t.question.prompt}\n{t.solution}" for t in importers.read(traces).traces[:4000]]
    encoded = [ids for ids in tokenizer(texts)["input_ids"] if len(ids) <= longest]
    lengths = [len(ids) for ids in encoded]
    grouped = plan(lengths, batch=size, micro_batch=size, seed=0, tokens=None, epochs=1)
    order = random.Random(0).sample(range(len(lengths)), len(lengths))
    at_random = [order[i : i + size] for i in range(0, len(order), size)]
    model = three_adapters(path)
    training(model, STUDENT, of=[f"{STUDENT}."])

    def real(batches: Sequence[Sequence[int]]) -> float:
        return sum(lengths[i] for b in batches for i in b) / sum(len(b) * max(lengths[i] for i in b) for b in batches)

    print(f"real tokens: {real(grouped):.1%} in batches of like length, {real(at_random):.1%} in random ones")
    draw = random.Random(1)
    speeds: dict[str, list[float]] = {"like": [], "random": []}
    for _ in range(rounds):
        for name, batches in (("like", grouped), ("random", at_random)):
            chosen = draw.choice(batches)
            rows = [
                {"input_ids": encoded[i], "labels": encoded[i], "right": True, "unit": 0, "index": 0} for i in chosen
            ]
            inputs = Collate(0)(rows)
            started = time.perf_counter()
            likelihood(model, inputs).backward()  # type: ignore[no-untyped-call]
            speeds[name].append(sum(lengths[i] for i in chosen) / (time.perf_counter() - started))
    print({name: round(median(each), 1) for name, each in speeds.items()}, "real tokens a second, medians")


def main(path: str, what: str = "nat", traces: str = "", rounds: str = "5") -> None:
    if what == "lengths":
        length_steps(path, Path(traces), int(rounds))
    else:
        {"nat": nat_steps, "nce": nce_steps}[what](path, int(rounds))


if __name__ == "__main__":
    main(*sys.argv[1:])
