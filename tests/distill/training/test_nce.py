"""NCE against its equations written out, online, cached, and with the teacher's likeliest tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from torch import Tensor, nn

from divcon.core.errors import ConfigError
from divcon.distill.training.nce import (
    STUDENT,
    Rows,
    Teacher,
    divergence,
    enhanced,
    reply_logits,
    teacher_logprobs,
    weight,
)
from divcon.distill.training.trainer import Collate
from divcon.lm.local import nat
from divcon.lm.local.model_dir import NEGATIVE, POSITIVE
from tests.lm.local.test_nat import nat_model

pytestmark = pytest.mark.model

VOCABULARY = 40


def logs(*shape: int) -> Tensor:
    torch.manual_seed(5)
    return torch.randn(*shape, dtype=torch.float64).log_softmax(-1)


def test_the_divergence_is_from_the_negative_to_the_integrated() -> None:
    negative, integrated = logs(2, 3, 7)
    by_hand = [
        sum(float(p.exp() * (p - q)) for p, q in zip(a, b, strict=True))
        for a, b in zip(negative, integrated, strict=True)
    ]
    torch.testing.assert_close(divergence(negative, integrated), torch.tensor(by_hand, dtype=torch.float64))
    assert not torch.allclose(divergence(negative, integrated), divergence(integrated, negative))
    assert torch.equal(divergence(negative, negative), torch.zeros(3, dtype=torch.float64))


def test_the_weight_grows_with_the_divergence_and_has_its_bounds() -> None:
    kl = torch.linspace(0, 30, 50, dtype=torch.float64)
    code, paper = weight(kl, "0.5+beta"), weight(kl, "beta")
    torch.testing.assert_close(code, 0.5 + paper)
    assert code[0] == 0.5 and paper[0] == 0 and (paper <= 1).all() and (paper[:10].diff() > 0).all()
    assert torch.equal(weight(kl, "none"), torch.ones_like(kl))


def test_all_of_a_row_is_the_row() -> None:
    teacher, student = logs(2, 6, 9)
    whole = -(teacher.exp() * student).sum(-1)
    torch.testing.assert_close(Rows.of(teacher, None).cross_entropy(student), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(Rows.of(teacher, 9).cross_entropy(student), whole, rtol=0, atol=1e-12)


def test_what_a_row_leaves_out_is_taught_as_one_token() -> None:
    teacher, student = logs(2, 6, 9)
    rows = Rows.of(teacher, 3)
    rest = 1 - rows.logprobs.exp().sum(-1)
    torch.testing.assert_close(rows.tail, rest)
    own = student.gather(-1, rows.tokens).exp()
    expected = -(rows.logprobs.exp() * own.log()).sum(-1) - rest * (1 - own.sum(-1)).log()
    torch.testing.assert_close(rows.cross_entropy(student), expected, rtol=0, atol=1e-9)
    assert (rows.cross_entropy(student) <= Rows.of(teacher, None).cross_entropy(student) + 1e-12).all()


# -- with a model ------------------------------------------------------------------------------------------------------


def model() -> Any:
    made = nat_model()
    torch.manual_seed(8)
    made.add_adapter(STUDENT, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    nat.use(made, STUDENT)
    return made.double()


ROWS: list[dict[str, Any]] = [
    {"input_ids": [1, 2, 3, 4, 5, 6], "labels": [-100, -100, -100, 4, 5, 6], "right": True},
    {"input_ids": [7, 8, 9], "labels": [-100, 8, 9], "right": True},
    {"input_ids": [9, 8, 7, 6], "labels": [-100, -100, 7, 6], "right": True},
]


def batch(indices: Sequence[int] = (0, 1, 2)) -> dict[str, Tensor]:
    return Collate(0)([{**ROWS[i], "unit": i, "index": i} for i in indices])


def by_hand(made: Any, how: str, *, per_token: bool = False) -> Tensor:
    """The loss of the batch, reply by reply, with whole rows of logits and no padding."""
    total = torch.zeros((), dtype=torch.float64)
    for row in ROWS:
        tokens, start = torch.tensor([row["input_ids"]]), row["labels"].count(-100)

        def said(*adapters: str, of: Tensor = tokens, start: int = start) -> Tensor:
            nat.use(made, *adapters)
            return made(of).logits[0, start - 1 : -1].log_softmax(-1)  # type: ignore[no-any-return]

        with torch.no_grad():
            negative, integrated = said(NEGATIVE), said(POSITIVE, NEGATIVE)
        student = said(STUDENT)
        kl = (negative.exp() * (negative - integrated)).sum(-1)
        beta = torch.tanh(kl if per_token else kl.mean())
        w = {"0.5+beta": 0.5 + beta, "beta": beta, "none": torch.ones_like(beta)}[how]
        own = student[range(len(tokens[0]) - start), tokens[0, start:]]
        total = total - 0.5 * own.sum() - 0.5 * (w * (integrated.exp() * student).sum(-1)).sum()
    return total


def loss_of(made: Any, teacher: Teacher, inputs: dict[str, Tensor]) -> Tensor:
    return enhanced(made, made, teacher, inputs)[1]


@pytest.mark.parametrize("how", ["0.5+beta", "beta", "none"])
@pytest.mark.parametrize("per_token", [False, True])
@pytest.mark.parametrize("cache", ["online", "weights", "rows"])
def test_the_loss_is_the_papers_in_every_form(how: Any, per_token: bool, cache: str) -> None:
    made = model()
    expected = by_hand(made, how, per_token=per_token)
    teacher = Teacher(how, per_token=per_token)
    if cache != "online":
        teacher.remember(made, ROWS, 0, 2, 0 if cache == "weights" else None)
    torch.testing.assert_close(loss_of(made, teacher, batch()), expected, rtol=0, atol=1e-9)
    # Neither the order of a batch nor its padding matter.
    parts = loss_of(made, teacher, batch([2])) + loss_of(made, teacher, batch([1, 0]))
    torch.testing.assert_close(parts, expected, rtol=0, atol=1e-9)


def test_teachers_speak_without_dropout() -> None:
    made = model()
    quiet = teacher_logprobs(made, batch(), POSITIVE, NEGATIVE)
    for layer in made.modules():
        for adapter in getattr(layer, "lora_dropout", {}):
            layer.lora_dropout[adapter] = nn.Dropout(0.5)
    made.train()
    torch.testing.assert_close(teacher_logprobs(made, batch(), POSITIVE, NEGATIVE), quiet, rtol=0, atol=0)
    assert made.training and not torch.equal(reply_logits(made, batch()), reply_logits(made, batch()))


def test_equal_teachers_leave_half_the_weight() -> None:
    """P_neg = P_NAT: beta is 0, and w a half by the code and nothing by the figure."""
    made = model()
    for unit in nat.units(made).values():
        nn.init.zeros_(unit.up.weight)
    for name, p in made.named_parameters():
        if f"lora_B.{NEGATIVE}" in name:
            nn.init.zeros_(p)
    for how, expected in (("0.5+beta", 0.5), ("beta", 0.0)):
        teacher = Teacher(how)  # type: ignore[arg-type]
        teacher.remember(made, ROWS, 0, 2, 0)
        assert teacher.mean_weight() == pytest.approx(expected, abs=1e-12)


def test_only_the_student_learns() -> None:
    made = model()
    for name, p in made.named_parameters():
        p.requires_grad_(f".{STUDENT}." in name)
    loss_of(made, Teacher("0.5+beta"), batch()).backward()  # type: ignore[no-untyped-call]
    moved = {name for name, p in made.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert moved and all(f".{STUDENT}." in name for name in moved)


def test_shuffled_weights_are_the_same_weights() -> None:
    made, teacher = model(), Teacher("0.5+beta")
    teacher.remember(made, ROWS, 0, 2, None)
    before = list(teacher._weights or [])
    mean = teacher.mean_weight()
    teacher.shuffle(seed=1)
    after = list(teacher._weights or [])
    assert sorted(map(float, before)) == sorted(map(float, after)) and before != after
    assert teacher.mean_weight() == pytest.approx(mean)


def test_what_was_asked_is_kept_with_what_it_stands_on(tmp_path: Path) -> None:
    made, teacher = model(), Teacher("0.5+beta")
    teacher.remember(made, ROWS, 0, 2, 5)
    facts = {"base": "a", "tokenizer": "b"}
    teacher.save(tmp_path / "kept.safetensors", facts)
    again = Teacher("0.5+beta")
    again.load(tmp_path / "kept.safetensors", facts, len(ROWS))
    assert torch.equal(loss_of(made, again, batch()), loss_of(made, teacher, batch()))
    assert 0 < again.tail == teacher.tail < 1
    with pytest.raises(ConfigError, match="was made with another tokenizer; remove it to ask the teacher again"):
        again.load(tmp_path / "kept.safetensors", {**facts, "tokenizer": "c"}, len(ROWS))
    (tmp_path / "kept.safetensors").write_bytes(b"torn")
    with pytest.raises(ConfigError, match=r"kept\.safetensors is damaged"):
        again.load(tmp_path / "kept.safetensors", facts, len(ROWS))
