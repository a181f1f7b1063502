"""Buying by batches: half the price, a day's patience, and nothing lost when a run stops meanwhile."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from divcon.core.errors import ConfigError, ModelError
from divcon.lm import Completion, Message, Model, Request, Sampling, Scripted, Store, Usage
from divcon.lm.api.batch import OpenAIBatchEngine
from divcon.lm.api.engine import OpenAIEngine
from divcon.lm.api.spec import ApiSpec
from divcon.lm.cost.prices import Price, Quote, batched
from divcon.lm.recorder import Charge, Lease, Purchase
from divcon.lm.settings import OpenAISettings
from divcon.lm.store.ledger import is_at_work_elsewhere

from ...fakes.histories import Ending, History, Provider, unconnected
from ...fakes.upstream import COMPLETION_PRICE, PROMPT_PRICE, misbehaving

HALF = batched(Price(prompt=PROMPT_PRICE, completion=COMPLETION_PRICE))


def asked(questions: int, n: int = 1) -> list[Request]:
    how = Sampling(temperature=0.7, max_tokens=40)
    return [Request((Message("user", f"What is {i} and {i}?"),), how, n) for i in range(questions)]


def engine(url: str, **options: Any) -> OpenAIBatchEngine:
    return OpenAIBatchEngine(OpenAIEngine(ApiSpec("m", base_url=url, price=HALF)), poll=0.01, **options)


def test_a_batch_brings_every_sample_at_half_the_price() -> None:
    with misbehaving() as server, Store() as store:
        replies = Model("api", engine(server.url), store)(asked(30, n=2))
        bill, spend = server.bill(), store.spend()
    assert all("The answer is" in sample.text for reply in replies for sample in reply)
    assert bill["requests"] == 60 and spend.known == pytest.approx(bill["said"]) and spend.unknown == 0


def test_what_a_batch_failed_is_submitted_again_and_may_have_been_billed() -> None:
    with misbehaving(faults=0.3, seed=5) as server, Store() as store:
        Model("api", engine(server.url, attempts=12, size=20), store)(asked(50))
        assert len(store) == 50 and store.unsettled() == 0
        assert store.spend().known == pytest.approx(server.bill()["said"]) and server.bill()["twice"] == 0
        assert store.spend().unknown > 0


def test_a_request_that_always_fails_stops_the_run_and_keeps_the_others() -> None:
    with misbehaving(faults=1.0) as server, Store() as store:
        with pytest.raises(ModelError, match="failed the same requests in 3 batches"):
            Model("api", engine(server.url), store)(asked(5))
        assert store.spend().known == 0 < store.spend().unknown and store.batches("m at " + server.url[7:-3]) == []


@pytest.mark.parametrize("moment", ["create", "name_batch", "retrieve"])
def test_a_run_that_dies_finds_its_batches_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """Before the batch is created, before its number is written down, and while it is waited for."""
    import openai.resources

    class DiedError(Exception):
        pass

    def dies(*_: object, **__: object) -> None:
        raise DiedError

    owner = Store if moment == "name_batch" else openai.resources.Batches
    with misbehaving() as server:
        with monkeypatch.context() as patched, Store(tmp_path / "store.sqlite") as store:
            patched.setattr(owner, moment, dies)
            with pytest.raises(DiedError):
                Model("api", engine(server.url), store)(asked(8))
        with Store(tmp_path / "store.sqlite") as store:
            Model("api", engine(server.url), store)(asked(8))
            assert len(store) == 8 and store.unsettled() == 0
            assert store.spend().known == pytest.approx(server.bill()["said"]) and store.spend().unknown == 0
        assert server.bill()["requests"] == 8


def test_a_batch_cut_short_keeps_every_line_that_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the run that goes on wants fewer."""
    import openai.resources

    with misbehaving() as server:
        with monkeypatch.context() as patched, Store(tmp_path / "store.sqlite") as store:
            patched.setattr(openai.resources.Batches, "retrieve", None)
            with pytest.raises(TypeError):
                Model("api", engine(server.url), store)(asked(40))
        for wanted in (10, 40):
            with Store(tmp_path / "store.sqlite") as store:
                Model("api", engine(server.url), store)(asked(wanted))
                assert len(store) == 40 and store.spend().unknown == 0
                assert store.spend().known == pytest.approx(server.bill()["said"])
        assert server.bill()["requests"] == 40


def test_a_batch_is_booked_once_when_two_processes_wait_for_it(tmp_path: Path) -> None:
    with Store(tmp_path / "store.sqlite") as mine, Store(tmp_path / "store.sqlite") as theirs:
        (draw,) = Model("m", Scripted("x"), mine).draws(asked(1))[0]
        mine.reserve([draw], Purchase("m", Lease("token", 60), Quote(1.0, "{}"), token="token"))
        (batch,) = theirs.batches("m")
        completion = Completion("x", "stop", Usage(1, 1))
        mine.close_batch(batch, [(draw, completion)], {draw.key: Charge(0.25)}, "batch completed")
        theirs.close_batch(batch, [], {draw.key: Charge(0.0)}, "batch completed")
        assert theirs.spend() == (0.25, 0.0) and theirs.ledger.outcomes() == {"stored": 1}
        assert theirs.batch_draws(batch)[draw.key].request == replace(draw.request, n=1)


def test_a_batch_that_another_process_is_just_submitting_is_left_to_it() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    node = platform.node()
    assert is_at_work_elsewhere(f"{node}/{os.getppid()}/x") and is_at_work_elsewhere("another machine/1/x")
    assert not is_at_work_elsewhere(f"{node}/{os.getpid()}/x") and not is_at_work_elsewhere(f"{node}/{gone.pid}/x")
    assert not is_at_work_elsewhere(None)


def test_samples_that_a_batch_will_bring_are_not_bought_one_by_one() -> None:
    with Store() as store:
        direct = OpenAIEngine(ApiSpec("m", base_url="http://127.0.0.1:9/v1", price=HALF))
        model = Model("api", direct, store)
        (draw,) = model.draws(asked(1))[0]
        store.reserve([draw], Purchase(direct.spec.name, Lease("token", 60), token="token"))
        with pytest.raises(ConfigError, match=r"1 of these samples are in batches .* go on with batch_api: true"):
            model(asked(2))


def test_an_output_that_is_gone_for_good_is_given_up_after_a_month(tmp_path: Path) -> None:
    """And counts at its worst; until then the run stops, and nothing is bought anew."""
    history = History(True, (), (), (Ending(download="404 for good"),))
    provider = Provider(history)
    with Store(tmp_path / "store.sqlite") as store:
        model = Model("api", OpenAIBatchEngine(unconnected(provider, HALF, 0, 1), poll=0.0), store)
        for _ in range(2):
            with pytest.raises(
                ModelError, match="does not hand out the output of batch batch-0; nothing of it is lost"
            ):
                model(asked(2))
        store._db.execute("UPDATE batch SET started = started - 31 * 86400")
        model(asked(2))
        assert len(store) == 2 and store.spend().known < sum(provider.bills.values()) < store.spend().most


def test_creating_a_batch_is_never_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not knowing whether it is there, the run stops, and the next one looks for it."""
    import openai.resources

    create, retries = openai.resources.Batches.create, []

    def watched(self: openai.resources.Batches, **options: Any) -> Any:
        retries.append(self._client.max_retries)
        return create(self, **options)

    monkeypatch.setattr(openai.resources.Batches, "create", watched)
    with misbehaving() as server, Store() as store:
        Model("api", engine(server.url), store)(asked(2))
    assert retries == [0]


def test_a_server_out_of_reach_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = engine("http://127.0.0.1:9/v1")
    monkeypatch.setattr(broken, "_client", lambda: broken._connect(retries=0))
    with Store() as store, pytest.raises(ModelError, match=r"m at 127\.0\.0\.1:9 could not be reached"):
        Model("api", broken, store)(asked(1))


def test_batches_are_a_setting_and_halve_the_price() -> None:
    settings = OpenAISettings.model_validate(
        {"engine": "openai", "model": "m", "batch_api": True, "price": {"prompt": 2, "completion": 8}}
    )
    rates = settings.rates()
    assert rates and (rates.prompt, rates.completion) == (1, 4) and "batch" in rates.source
    assert isinstance(settings.open(), OpenAIBatchEngine)
    with pytest.raises(ConfigError, match="an adapter cannot be loaded"):
        settings.open().identity(Path("student"))
