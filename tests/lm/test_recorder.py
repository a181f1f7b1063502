"""An engine records through one protocol, and makes the same of it whether or not anything is kept."""

from __future__ import annotations

from divcon.lm import Completion, Message, Model, Request, SampleRequest, Scripted, Store, Usage
from divcon.lm.engine import SimpleEngine
from divcon.lm.recorder import Lease, NoRecord, Purchase

REQUESTS = [Request((Message("user", text),), n=2) for text in ("a", "b")]


def shout(messages: tuple[Message, ...], index: int) -> str:
    return f"{messages[-1].content.upper()} {index}"


def test_completions_do_not_depend_on_the_recorder() -> None:
    engine = Scripted(answer=shout)
    with Store() as store:
        kept = Model("m", engine, store)(REQUESTS)
        assert Model("m", engine, store)(REQUESTS) == kept and len(engine.asked) == 4
    assert Model("m", engine, NoRecord())(REQUESTS) == kept and len(engine.asked) == 8


def test_nothing_is_ever_there_or_owed_where_nothing_is_kept() -> None:
    record = NoRecord()
    (draws, _) = Model("m", Scripted(), record).draws(REQUESTS)
    reserved = record.reserve(draws, Purchase("m", Lease("me", 60)))
    assert [attempt.draw for attempt in reserved.attempts] == draws and not (reserved.stored or reserved.busy)
    record.fail(reserved.attempts, "not sent")
    assert record.get([draw.key for draw in draws]) == {} == record.batch_draws(None)  # type: ignore[arg-type]
    assert record.batches("m") == [] and record.spend() == (0.0, 0.0)


class Shouting(SimpleEngine):
    """An engine of one's own."""

    name = "shouting"

    def complete(self, draw: SampleRequest) -> Completion:
        return Completion(shout(draw.request.messages, draw.index), "stop", Usage())


def test_an_engine_of_ones_own_is_a_name_and_a_method() -> None:
    with Store() as store:
        made = Model("mine", Shouting(), store)(REQUESTS)
        assert [[one.text for one in of] for of in made] == [["A 0", "A 1"], ["B 0", "B 1"]]
        assert len(store) == 4 and store.unsettled() == 0
