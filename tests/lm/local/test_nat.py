"""NAT's unit against equations written out by hand, and a NAT model on its way to disk and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from divcon.core.errors import ConfigError
from divcon.distill.data.examples import Example
from divcon.distill.data.groups import TrainingGroup
from divcon.distill.recipes import Training
from divcon.distill.training.nce import reply_logits
from divcon.distill.training.objectives import ScoredReplies, likelihood
from divcon.distill.training.trainer import ObjectiveTrainer, fit
from divcon.lm import Message, Model, Request, Sampling, Store
from divcon.lm.engines.transformers import Transformers
from divcon.lm.local import nat
from divcon.lm.local.footprint import adapter_parameters
from divcon.lm.local.model_dir import NEGATIVE, POSITIVE
from divcon.lm.local.nat import Integration
from divcon.lm.local.nat_config import NatConfig
from divcon.lm.local.weights import load_model, load_tokenizer, model_directory, weights_hash
from divcon.tasks import miniature

pytestmark = pytest.mark.model

WIDTH = 5
SHAPES = [(6, 6), (6, 4), (4, 9)]


def unit_of(d_in: int, d_out: int, **changes: Any) -> Integration:
    """A unit whose bottleneck is not zero any more."""
    torch.manual_seed(1)
    unit = Integration(d_in, d_out, NatConfig(width=WIDTH, **changes)).double()
    for p in unit.parameters():
        nn.init.normal_(p)
    return unit


def inputs(d_in: int, d_out: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(2)
    return tuple(torch.randn(2, 3, d, dtype=torch.float64) for d in (d_in, d_out, d_out, d_out))  # type: ignore[return-value]


def by_hand(unit: Integration, x: Tensor, o: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Equations 4 and 5 as they are written, both branches in full; a_neg and the output."""
    keys, values = [], []
    for h in (o + positive, o + negative):
        keys.append(h @ unit.key.weight.T)
        inner = h @ unit.down.weight.T
        values.append((inner * 0.5 * (1 + torch.erf(inner / 2**0.5))) @ unit.up.weight.T)
    query = x @ unit.query.weight.T
    e = torch.stack([(query * key).sum(-1) for key in keys])
    p = e.exp() / e.exp().sum(0)
    beta = unit.config.beta
    a = (2 * beta * p[1] - beta)[..., None]
    return a, o + (1 - a) * values[0] + a * values[1]


@pytest.mark.parametrize(("d_in", "d_out"), SHAPES)
@pytest.mark.parametrize("beta", [0.5, 0.2])
def test_the_unit_is_the_papers_equations(d_in: int, d_out: int, beta: float) -> None:
    unit, given = unit_of(d_in, d_out, beta=beta), inputs(d_in, d_out)
    a, expected = by_hand(unit, *given)
    torch.testing.assert_close(unit(*given), expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(unit.weigh(given[0], *given[2:]), a, rtol=0, atol=1e-9)
    assert a.abs().max() <= beta
    assert unit.negative == pytest.approx(a.mean().item(), abs=1e-9)


@pytest.mark.parametrize(("d_in", "d_out"), SHAPES)
def test_a_new_unit_changes_nothing(d_in: int, d_out: int) -> None:
    x, o, positive, negative = inputs(d_in, d_out)
    assert torch.equal(Integration(d_in, d_out, NatConfig(width=WIDTH)).double()(x, o, positive, negative), o)


def test_equal_branches_weigh_alike() -> None:
    unit, (x, o, positive, _) = unit_of(6, 6), inputs(6, 6)
    assert torch.equal(unit.weigh(x, positive, positive), torch.zeros(2, 3, 1, dtype=torch.float64))
    value = unit.up(nn.functional.gelu(unit.down(o + positive)))
    torch.testing.assert_close(unit(x, o, positive, positive), o + value, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("sign", "weights"), [(1.0, (0.5, 0.5)), (-1.0, (1.5, -0.5))])
def test_the_weights_have_their_bounds(sign: float, weights: tuple[float, float]) -> None:
    """p_neg -> 1 gives o + 0.5 V(h_pos) + 0.5 V(h_neg); p_neg -> 0 gives o + 1.5 V(h_pos) - 0.5 V(h_neg)."""
    unit, (x, o, positive, negative) = unit_of(6, 6), inputs(6, 6)
    e = (unit.query(x) * unit.key(negative - positive)).sum(-1, keepdim=True)
    x = x * sign * 1e6 * torch.sign(e)  # as sure as can be, the way that is wanted
    values = [unit.up(nn.functional.gelu(unit.down(o + update))) for update in (positive, negative)]
    torch.testing.assert_close(unit(x, o, positive, negative), o + weights[0] * values[0] + weights[1] * values[1])


@pytest.mark.parametrize(
    "changes", [{}, {"weights": "fixed"}, {"correction": False}, {"value": False}, {"form": "extrapolate"}]
)
def test_gradients_are_right(changes: dict[str, Any]) -> None:
    unit = unit_of(6, 4, **changes)
    given = tuple(t.requires_grad_() for t in inputs(6, 4))
    assert torch.autograd.gradcheck(unit, given)


def test_what_is_left_out_is_left_out() -> None:
    x, o, positive, negative = inputs(6, 4)
    e = unit_of(6, 4)
    p = torch.sigmoid((e.query(x) * e.key(negative - positive)).sum(-1, keepdim=True))
    torch.testing.assert_close(unit_of(6, 4, correction=False).weigh(x, positive, negative), p)
    plain = unit_of(6, 4, value=False, weights="fixed", fixed_negative=-0.25)
    torch.testing.assert_close(plain(x, o, positive, negative), o + 1.25 * positive - 0.25 * negative)
    extrapolated = unit_of(6, 4, form="extrapolate")
    torch.testing.assert_close(extrapolated(x, o, positive, negative), o + 2 * positive - negative)
    assert not list(extrapolated.parameters()) and not list(plain.parameters())


@pytest.mark.parametrize(("d_in", "d_out"), SHAPES)
def test_the_unit_has_the_parameters_that_are_promised(d_in: int, d_out: int) -> None:
    unit = Integration(d_in, d_out, NatConfig(width=WIDTH))
    assert sum(p.numel() for p in unit.parameters()) == WIDTH * (d_in + 3 * d_out)
    assert nat.default_width(4096, 8) == 128 and nat.default_width(4096, 4) == 128
    assert nat.default_width(128, 4) == 64 and nat.default_width(128, 64) == 128 and nat.default_width(64, 0) == 8


# -- in a model ------------------------------------------------------------------------------------------------------


def grouped() -> LlamaForCausalLM:
    """A model with grouped-query attention: its v_proj has fewer outputs than inputs."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    return LlamaForCausalLM(config).double().eval()


def nat_model(base: Any = None, targets: list[str] | None = None, config: NatConfig | None = None) -> PeftModel:
    """Adapters and units with random weights."""
    base = base or grouped()
    lora = LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=targets or ["q_proj", "v_proj"],
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(3)
    model = get_peft_model(base, lora, adapter_name=NEGATIVE)
    model.add_adapter(POSITIVE, lora)
    nat.add_integration_units(model, config or NatConfig(width=WIDTH))
    for unit in nat.units(model).values():
        for p in unit.parameters():
            nn.init.normal_(p, std=0.1)
    nat.use(model, POSITIVE, NEGATIVE)
    return model.eval()


TOKENS = torch.arange(24).reshape(2, 12) % 40


def test_each_combination_of_adapters_is_what_it_was() -> None:
    """Units work only where both adapters are active; one alone, or none, is what stock PEFT makes of it."""
    plain, lora = grouped(), LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    with torch.no_grad():
        base = plain(TOKENS).logits
        model = nat_model()
        both = model(TOKENS).logits
        nat.use(model, NEGATIVE)
        negative = model(TOKENS).logits
        torch.manual_seed(3)
        stock = get_peft_model(plain, LoraConfig(**{**lora.to_dict(), "lora_alpha": 8}), adapter_name=NEGATIVE).eval()
        torch.testing.assert_close(negative, stock(TOKENS).logits, rtol=0, atol=1e-9)
        with model.disable_adapter():
            torch.testing.assert_close(model(TOKENS).logits, base, rtol=0, atol=1e-9)
        nat.use(model, POSITIVE, NEGATIVE)
        torch.testing.assert_close(model(TOKENS).logits, both, rtol=0, atol=0)
    assert not torch.allclose(both, negative) and not torch.allclose(both, base)


@pytest.mark.parametrize("at", ["layers.0.self_attn.q_proj", "layers.1.self_attn.v_proj"])
def test_a_layer_of_a_model_is_the_papers_equations(at: str) -> None:
    """From the layer's own weights alone; v_proj has half as many outputs as inputs here (grouped-query attention)."""
    model = nat_model()
    layer = model.get_submodule(f"base_model.model.model.{at}")
    seen: list[tuple[Tensor, Tensor]] = []
    layer.register_forward_hook(lambda _, inputs, out: seen.append((inputs[0], out)))
    with torch.no_grad():
        model(TOKENS)
        (x, out) = seen[0]
        o = x @ layer.base_layer.weight.T
        s = 8 / 4  # alpha / rank
        h = {
            name: o + s * x @ layer.lora_A[name].weight.T @ layer.lora_B[name].weight.T for name in (POSITIVE, NEGATIVE)
        }
        unit = next(iter(layer.nat_units.values()))
        q = x @ unit.query.weight.T
        e = torch.stack([(q * (h[name] @ unit.key.weight.T)).sum(-1) for name in (POSITIVE, NEGATIVE)])
        a_neg = e.softmax(0)[1][..., None] - 0.5
        v = {name: nn.functional.gelu(h[name] @ unit.down.weight.T) @ unit.up.weight.T for name in h}
        expected = o + (1 - a_neg) * v[POSITIVE] + a_neg * v[NEGATIVE]
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-9)
    assert (a_neg.abs() > 1e-3).any() and not torch.allclose(out, o)


class Checked(ObjectiveTrainer):
    """Beside whole rows of logits, reply by reply and without padding."""

    losses: ClassVar[list[tuple[Tensor, Tensor, Tensor]]] = []

    def _loss(self, model: Any, inputs: dict[str, Tensor]) -> tuple[ScoredReplies, Tensor]:
        scored, loss = super()._loss(model, inputs)
        expected = torch.zeros((), dtype=torch.float64)
        for tokens, labels, seen in zip(inputs["input_ids"], inputs["labels"], inputs["attention_mask"], strict=True):
            reply = labels[labels != -100]
            logits = model(tokens[None, : seen.sum()]).logits[0, -len(reply) - 1 : -1]
            expected = expected + nn.functional.cross_entropy(logits, reply, reduction="sum")
        shown = inputs["labels"][:, 1:]
        own = reply_logits(model, inputs).log_softmax(-1).gather(-1, shown[shown != -100][:, None])[:, 0]
        whole = torch.zeros(shown.shape, dtype=own.dtype).masked_scatter(shown != -100, own)
        double = likelihood(ScoredReplies(whole, shown != -100, inputs["right"], inputs["unit"]))
        self.losses.append((loss.detach(), double.detach(), expected.detach()))
        return scored, loss


def test_the_loss_of_the_second_stage_is_the_replies_cross_entropy(tmp_path: Path) -> None:
    base = model_directory("miniature/base")
    model = nat_model(load_model(base, "float32", "cpu")).double()
    for at, p in model.named_parameters():
        p.requires_grad_(f".{POSITIVE}." in at or ".nat_units." in at)
    asked = (Message("user", "How many apples does Ben have?"),)
    units: list[TrainingGroup] = [
        (Example(asked, reply),) for reply in ("The answer is 3.", "3 + 4 = 7. The answer is 7.")
    ]
    recipe = Training(batch_size=2, epochs=2, checkpoints=1)
    fit(model, load_tokenizer(base), units, recipe, seed=0, scratch=tmp_path, kind=Checked)
    assert len(Checked.losses) == 2
    for loss, double, expected in Checked.losses:
        torch.testing.assert_close(double, expected, rtol=0, atol=1e-9)
        torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)  # TRL's head computes in float32


def test_the_order_of_the_branches_is_kept() -> None:
    model = nat_model()
    assert {tuple(layer.active_adapters) for _, layer in nat._layers(model, POSITIVE)} == {(POSITIVE, NEGATIVE)}
    assert len(nat.units(model)) == 4
    assert {(u.query.in_features, u.up.out_features) for u in nat.units(model).values()} == {(32, 32), (32, 16)}


def test_a_new_nat_model_is_its_base() -> None:
    model = nat_model()
    for unit in nat.units(model).values():
        nn.init.zeros_(unit.up.weight)
    with torch.no_grad():
        torch.testing.assert_close(model(TOKENS).logits, grouped()(TOKENS).logits, rtol=0, atol=1e-9)


def test_it_refuses_to_merge() -> None:
    model = nat_model()
    for merge in (model.merge_and_unload, model.base_model.merge_adapter, model.base_model.merge_and_unload):
        with pytest.raises(ConfigError, match="cannot be merged: its two adapters are weighed anew for every token"):
            merge()


def test_no_layer_with_both_adapters_is_refused() -> None:
    model = get_peft_model(grouped(), LoraConfig(target_modules=["q_proj"]), adapter_name=NEGATIVE)
    model.add_adapter(POSITIVE, LoraConfig(target_modules=["v_proj"]))
    with pytest.raises(ConfigError, match="no layer has both adapters"):
        nat.add_integration_units(model, NatConfig(width=WIDTH))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A NAT student of the miniature base with random weights."""
    out = tmp_path_factory.mktemp("nat") / "solver"
    nat.save(nat_model(load_model(model_directory("miniature/base"), "float32", "cpu")), out)
    return out


def test_a_saved_model_says_what_it_said(directory: Path) -> None:
    before = nat_model(load_model(model_directory("miniature/base"), "float32", "cpu"))
    base = load_model(model_directory("miniature/base"), "float32", "cpu")
    after = PeftModel.from_pretrained(base, str(directory / NEGATIVE), adapter_name=NEGATIVE)
    after.load_adapter(str(directory / POSITIVE), adapter_name=POSITIVE)
    nat.load_units(after, directory)
    nat.use(after.eval(), POSITIVE, NEGATIVE)
    tokens = torch.arange(60).reshape(2, 30)
    with torch.no_grad():
        torch.testing.assert_close(after(tokens).logits, before(tokens).logits, rtol=0, atol=1e-6)
    assert sorted(path.name for path in directory.iterdir()) == [
        "nat_config.json",
        "nat_gate.safetensors",
        "negative",
        "positive",
    ]


def requests() -> list[Request]:
    texts = [question.text for question in miniature.questions("train", 16)]
    how = Sampling(max_tokens=24)
    return [
        Request((Message("user", f"{text}\n\nList the questions to ask first."),), how, logprobs=True) for text in texts
    ]


def test_it_generates_alike_in_any_batch_and_without_a_cache(directory: Path) -> None:
    spoken = []
    for batch in (1, 16):
        with Store() as store:
            engine = Transformers("miniature/base", dtype="float32", concurrency=batch)
            spoken.append(Model("nat", engine, store, adapter=directory)(requests()))
            bare = Model("base", engine, store)(requests())
    assert [[c.text for c in cs] for cs in spoken[0]] != [[c.text for c in cs] for cs in bare]
    for (one,), (other,) in zip(*spoken, strict=True):
        assert one.text == other.text
        torch.testing.assert_close(torch.tensor(one.logprobs), torch.tensor(other.logprobs), rtol=0, atol=1e-4)
    model = nat_model(load_model(model_directory("miniature/base"), "float32", "cpu"))
    tokens = torch.arange(40)[None]
    with torch.no_grad():
        whole = model(tokens, use_cache=False).logits.log_softmax(-1)
        first = model(tokens[:, :20], use_cache=True)
        rest = model(tokens[:, 20:], past_key_values=first.past_key_values, use_cache=True)
    cached = torch.cat([first.logits, rest.logits], 1).log_softmax(-1)
    torch.testing.assert_close(cached, whole, rtol=0, atol=1e-4)


def test_a_nat_student_is_a_model_of_its_own(directory: Path, tmp_path: Path) -> None:
    """Every file of it counts in its hash, and every multiplication in its operations."""
    copy = tmp_path / "copy"
    nat.save(nat_model(load_model(model_directory("miniature/base"), "float32", "cpu")), copy)
    assert weights_hash(copy) == weights_hash(directory)
    (copy / "negative" / "adapter_model.safetensors").write_bytes(b"")
    weights_hash.cache_clear()
    assert weights_hash(copy) != weights_hash(directory)
    lora, unit = 2 * 4 * (128 + 128), WIDTH * (128 + 4 * 128)  # W_1 sees both branches
    assert adapter_parameters(directory) == 8 * (lora + unit)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "nat_gate.safetensors").write_bytes(b"x"), "cannot load .*nat_gate"),
        (lambda d: (d / "nat_config.json").write_text('{"width": 7}'), "belongs to other layers"),
        (lambda d: (d / "nat_config.json").write_text('{"width": 5, "wings": 2}'), "does not know: wings"),
        (lambda d: (d / "positive" / "adapter_model.safetensors").unlink(), "no adapter weights in .*positive"),
    ],
)
def test_a_damaged_student_is_one_sentence(tmp_path: Path, damage: Any, message: str) -> None:
    nat.save(nat_model(load_model(model_directory("miniature/base"), "float32", "cpu")), tmp_path / "nat")
    damage(tmp_path / "nat")
    with Store() as store, pytest.raises(ConfigError, match=message):
        Model("nat", Transformers("miniature/base", dtype="float32"), store, adapter=tmp_path / "nat")(requests())
