"""Buying from a server that misbehaves: every sample arrives, and the books agree with the bill."""

from __future__ import annotations

import pytest

from divcon.lm import Message, Model, Request, Sampling, Store
from divcon.lm.api import retry
from divcon.lm.api.engine import OpenAIEngine
from divcon.lm.api.limits import Limits
from divcon.lm.api.spec import ApiSpec
from divcon.lm.cost.prices import Price
from divcon.lm.store.ledger import BudgetError

from ...fakes.upstream import COMPLETION_PRICE, FAULTS, PROMPT_PRICE, misbehaving

PRICE = Price(prompt=PROMPT_PRICE, completion=COMPLETION_PRICE)
PATIENT = Limits(concurrency=32, timeout=2.0, attempts=40, timeouts=20)


def asked(questions: int, n: int = 1) -> list[Request]:
    how = Sampling(temperature=0.7, max_tokens=40)
    return [Request((Message("user", f"What is {i} and {i}?"),), how, n) for i in range(questions)]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "LONGEST", 0.05)


@pytest.mark.parametrize("together", [True, False])
def test_every_sample_arrives_and_the_books_agree_with_the_bill(together: bool) -> None:
    with misbehaving(faults=0.3, seed=1, hang=9.0) as server, Store() as store:
        engine = OpenAIEngine(ApiSpec("m", base_url=server.url, limits=PATIENT, price=PRICE, together=together))
        replies = Model("api", engine, store)(asked(400, n=4))
        bill, spend, unsettled, kept = server.bill(), store.spend(), store.unsettled(), len(store)
    assert all("The answer is" in sample.text or not sample.text for reply in replies for sample in reply)
    assert [len(reply) for reply in replies] == [4] * 400 and kept == 1600
    assert set(FAULTS) <= {*bill["faults"], "fewer"}
    assert spend.known <= bill["said"] + 1e-9  # less where an answer came too late
    assert bill["said"] + bill["unclear"] <= spend.most
    assert unsettled == 0


def test_a_run_stops_before_its_budget_and_goes_on_under_a_larger_one() -> None:
    with misbehaving() as server, Store() as store:
        with pytest.raises(BudgetError, match=r"the budget of \$0.02 might be passed: spent .* raise max_usd"):
            Model("api", OpenAIEngine(ApiSpec("m", base_url=server.url, price=PRICE, budget=0.02)), store)(asked(200))
        spent, bought = store.spend(), len(store)
        assert 0 < bought < 200 and spent.most <= 0.02 and spent.unknown == 0
        Model("api", OpenAIEngine(ApiSpec("m", base_url=server.url, price=PRICE, budget=2.0)), store)(asked(200))
        assert len(store) == 200 and server.bill()["twice"] == 0
