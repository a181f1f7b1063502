"""What is counted, and that nothing is invented."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from divcon.lm import Usage
from divcon.lm.completion import shared_prompt
from divcon.lm.cost import Footprint, footprint_of
from divcon.lm.prices import MachinePrice, Price
from divcon.lm.settings import TransformersSettings
from divcon.lm.weights import load_model, model_directory


def test_k_samples_cost_the_prompt_once_and_k_completions() -> None:
    samples = [Usage(100, 10, 20, 1.0), Usage(100, 30, 20, 1.0)]
    assert shared_prompt(samples) == Usage(100, 40, 20, 2.0)
    footprint = Footprint(1000)
    assert footprint.flops(samples) == 2 * 1000 * (100 + 10 + 30)


def test_no_sample_costs_nothing() -> None:
    assert Footprint(1000).flops([]) == 0.0
    assert shared_prompt([]) == Usage()


def test_a_sample_attends_to_its_own_tokens_only() -> None:
    footprint = Footprint(0, layers=2, width=8)
    alone = footprint.flops([Usage(10, 5)])
    assert alone == 2 * 2 * 8 * 15**2
    assert footprint.flops([Usage(10, 5), Usage(10, 5)]) == 2 * alone - 2 * 2 * 8 * 10**2


def test_the_count_agrees_with_torch() -> None:
    """Causal attention does half of what torch counts for the full square; all else is counted alike."""
    directory = model_directory("miniature/base")
    model, footprint, tokens = load_model(directory, "float32", "cpu"), footprint_of(directory), 64
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.ones(1, tokens, dtype=torch.long))
    square = 2 * footprint.layers * footprint.width * tokens**2
    ours = footprint.flops([Usage(tokens, 0)]) + square
    assert ours == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_cached_tokens_have_their_own_price() -> None:
    usage = Usage(prompt_tokens=1_000_000, completion_tokens=500_000, cached_tokens=400_000)
    assert Price(1.0, 2.0).dollars(usage) == pytest.approx(2.0)
    assert Price(1.0, 2.0, cached=0.5).dollars(usage) == pytest.approx(1.8)


def test_a_machine_is_paid_by_its_time_or_by_its_operations() -> None:
    usage = Usage(10, 5, seconds=4.0)
    assert MachinePrice(second=0.001).dollars(usage) == pytest.approx(0.004)
    assert MachinePrice(exaflop=0.5).dollars(usage, 2e18) == pytest.approx(1.0)
    assert MachinePrice(second=1.0, exaflop=0.5).dollars(usage, None) is None


@pytest.mark.parametrize(
    ("price", "rates"),
    [
        ({"prompt": 1, "completion": 2, "cached": 0.5, "scale": 0.5}, Price(0.5, 1.0, 0.25)),
        ({"second": 0.001}, MachinePrice(second=0.001)),
        ({"exaflop": 2}, MachinePrice(exaflop=2.0)),
    ],
)
def test_a_price_is_told_by_its_keys(price: dict[str, float], rates: object) -> None:
    settings = TransformersSettings.model_validate({"engine": "transformers", "path": "miniature/llm", "price": price})
    assert settings.rates() == rates
    assert TransformersSettings.model_validate(settings.model_dump()).rates() == rates
