"""A request's way to its answer, step by step: no network, no model, no event loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from divcon.core import config
from divcon.core.async_to_sync import run_sync
from divcon.core.errors import ModelError
from divcon.lm import Usage
from divcon.lm.cost.prices import MachinePrice, Price
from divcon.serve.pipeline.billing import Rates, RequestBill
from divcon.serve.pipeline.errors import APIError
from divcon.serve.pipeline.pipeline import Ask, Composition, Decompose, Elect, RequestTrace, Step, Who, chain, run
from divcon.serve.pipeline.request import Chat, answering, read
from divcon.serve.pipeline.templates import family
from divcon.serve.pipeline.types import CachedResult, DecomposeRequest, DecomposeResult
from divcon.serve.settings import ServeSettings
from divcon.solve.voting.election import Election, Sample

QUESTION = "A crate holds 10 pears. Mia has 3 crates. How many pears does Mia have?"
ASKED = ("How many pears are in 3 crates?", "How many pears are there in all?")


def settings(**more: Any) -> ServeSettings:
    values = {"decomposer": {"path": "d"}, "upstream": {"url": "http://127.0.0.1:1/v1", "model": "m"}}
    return config.check(ServeSettings, {**values, **more}, "test")


def request(of: ServeSettings | None = None, content: Any = QUESTION, **more: Any) -> Chat:
    body = {"model": "m", "messages": [{"role": "user", "content": content}], **more}
    return read(body, {}, of or settings())


class World:
    """Whoever takes the steps: decomposes as it is told to, answers from a list, and remembers what it was asked."""

    def __init__(
        self,
        *texts: str | None,
        made: Callable[[DecomposeRequest], DecomposeResult | None] = lambda wanted: DecomposeResult(
            ASKED, "asked", "dec-1", Usage(30, 20)
        ),
        usage: Any = (100, 10),
        **more: Any,
    ) -> None:
        self.texts = list(texts)
        self.made = made
        self.usage = usage
        self.settings = settings(**more)
        names: dict[Who, str] = {"upstream": "serve", **({"local": "miniature"} if self.settings.local else {})}
        self.composition = Composition(
            {who: family(name) for who, name in names.items()},
            Election("number"),
            b"secret",
            self.settings.decomposer,
            self.settings.cascade,
        )
        self.asked: list[Ask] = []
        self.wanted: list[DecomposeRequest] = []
        self.trail = RequestTrace()

    def run(self, chat: Chat) -> dict[str, Any]:
        return run_sync(run(chain(chat, self.composition, self.trail), self.take))

    async def take(self, step: Step) -> Any:
        match step:
            case Decompose(wanted):
                self.wanted.append(wanted)
                made = self.made(wanted)
                return made and CachedResult(made, was_there=False)
            case Ask(_, body):
                self.asked.append(step)
                return self.reply(body.get("n") or 1)
            case Elect(question, samples, rule):
                return self.composition.election(question, samples, rule)

    def reply(self, n: int) -> dict[str, Any]:
        texts, self.texts = self.texts[:n], self.texts[n:]
        choices = [
            {"index": i, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            for i, text in enumerate(texts)
        ]
        usage = self.usage and {"prompt_tokens": self.usage[0], "completion_tokens": self.usage[1]}
        return {"object": "chat.completion", "choices": choices, "usage": usage}

    @property
    def prompts(self) -> list[str]:
        """The last turn of every call."""
        return [str(step.body["messages"][-1]["content"]) for step in self.asked]


def text(reply: Mapping[str, Any]) -> str:
    (choice,) = reply["choices"]
    return str(choice["message"]["content"])


def test_the_last_user_turn_is_asked_with_its_sub_questions() -> None:
    world = World("30")
    assert text(world.run(request())) == "30"
    (prompt,) = world.prompts
    assert prompt.startswith(QUESTION)
    assert all(subquestion in prompt for subquestion in ASKED)
    assert world.trail.decomposition == "asked"
    assert world.trail.subquestions == ASKED
    assert world.asked[0].is_last


def test_only_the_last_user_turn_changes() -> None:
    world = World("30")
    before = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Hello?"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "tool_call_id": "1", "content": "12 degrees"},
    ]
    tools = [{"type": "function", "function": {"name": "f"}}]
    body = {"model": "m", "messages": [*before, {"role": "user", "content": QUESTION}], "tools": tools, "seed": 7}
    world.run(read(body, {}, world.settings))
    sent = world.asked[0].body
    assert sent["messages"][:-1] == before
    assert (sent["tools"], sent["seed"]) == (tools, 7)


def test_in_the_middle_of_an_agents_work_the_turn_that_began_it_is_decomposed() -> None:
    world = World("30")
    tail = [
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "tool_call_id": "1", "content": "3"},
    ]
    world.run(read({"model": "m", "messages": [{"role": "user", "content": QUESTION}, *tail]}, {}, world.settings))
    sent = world.asked[0].body["messages"]
    assert ASKED[0] in sent[0]["content"]
    assert sent[1:] == tail


def test_pictures_stay_in_a_turn_whose_text_is_decomposed() -> None:
    world = World("30")
    picture = {"type": "image_url", "image_url": {"url": "data:"}}
    world.run(request(content=[picture, {"type": "text", "text": QUESTION}]))
    first, second = world.asked[0].body["messages"][0]["content"]
    assert first == picture
    assert ASKED[0] in second["text"]


@pytest.mark.parametrize("ends_with_a_picture", [False, True])
def test_what_is_said_of_each_picture_stays_beside_it(ends_with_a_picture: bool) -> None:
    def picture(name: str) -> dict[str, Any]:
        return {"type": "image_url", "image_url": {"url": name}}

    world = World("30")
    asked = [{"type": "text", "text": "Is this"}, picture("a"), {"type": "text", "text": "more than"}, picture("b")]
    asked += [] if ends_with_a_picture else [{"type": "text", "text": "or not?", "cache_control": {}}]
    world.run(request(content=asked))
    sent = world.asked[0].body["messages"][0]["content"]
    assert sent[:4] == asked[:4]
    (last,) = sent[4:]
    assert last["text"].startswith("" if ends_with_a_picture else "or not?") and ASKED[0] in last["text"]
    assert ("cache_control" in last) is not ends_with_a_picture


@pytest.mark.parametrize("mode", ["static", "interactive"])
def test_a_question_that_needs_no_decomposition_goes_through_as_it_is(mode: str) -> None:
    world = World("5", made=lambda wanted: DecomposeResult((), "not needed", "dec-1", Usage()))
    world.run(request(divcon={"mode": mode}))
    assert world.prompts == [QUESTION]
    assert world.trail.decomposition == "not needed"


@pytest.mark.parametrize("mode", ["static", "interactive"])
def test_or_is_put_into_the_prompt_for_one_stage(mode: str) -> None:
    made = DecomposeResult((), "not needed", "dec-1", Usage())
    world = World("5", made=lambda wanted: made, decomposer={"path": "d", "skip": False})
    world.run(request(divcon={"mode": mode}))
    assert world.prompts[0] != QUESTION
    assert world.prompts[0].startswith(QUESTION)


def test_nobody_is_asked_to_decompose_where_it_is_off() -> None:
    world = World("30")
    world.run(request(divcon={"mode": "off"}))
    assert world.prompts == [QUESTION]
    assert world.wanted == []
    assert world.trail.decomposition == "off"


@pytest.mark.parametrize(
    ("content", "outcome"), [(None, "no question"), ("   ", "no question"), ("x" * 9000, "too long")]
)
def test_what_is_no_question_to_decompose_goes_through(content: str | None, outcome: str) -> None:
    world = World("30")
    chat = request(content=content)
    world.run(chat)
    assert world.wanted == []
    assert world.asked[0].body["messages"] == chat.body["messages"]
    assert world.trail.decomposition == outcome


def test_when_the_decomposer_fails_the_question_goes_through_and_the_trail_says_so() -> None:
    world = World("30", made=lambda wanted: None)
    assert text(world.run(request())) == "30"
    assert world.prompts == [QUESTION]
    assert world.trail.decomposition == "failed"


def test_or_the_request_is_refused() -> None:
    world = World(made=lambda wanted: None, decomposer={"path": "d", "on_failure": "refuse"})
    with pytest.raises(APIError) as refused:
        world.run(request())
    assert refused.value.status == 503
    assert world.asked == []


def one_at_a_time(wanted: DecomposeRequest) -> DecomposeResult:
    history = wanted.history or ()
    return DecomposeResult(ASKED[len(history) :][:1], "asked", f"dec-{len(history)}", Usage(30, 10))


def test_one_sub_question_is_answered_before_the_next_is_asked_for() -> None:
    world = World("There are 10. The answer is: 30", "The answer is: 30", "Mia has 30.", made=one_at_a_time)
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert text(world.run(request(divcon={"mode": "interactive"}, tools=tools))) == "Mia has 30."
    assert [len(wanted.history or ()) for wanted in world.wanted] == [0, 1, 2]
    first, second, last = world.prompts
    assert ASKED[0] in first and ASKED[1] not in first
    assert f"1. {ASKED[0]} 30" in second and ASKED[1] in second
    assert f"2. {ASKED[1]} 30" in last
    assert [step.is_last for step in world.asked] == [False, False, True]
    assert ["tools" in step.body for step in world.asked] == [False, False, True]
    assert world.trail.id == "dec-0"
    assert world.trail.subquestions == ASKED


def test_what_the_next_turn_is_told_is_made_of_whole_characters() -> None:
    world = World("\ud83c pears", "30", "30", made=one_at_a_time)
    world.run(request(divcon={"mode": "interactive"}))
    assert [answered.answer for answered in world.wanted[1].history or ()] == ["\N{REPLACEMENT CHARACTER} pears"]


def test_no_more_sub_questions_are_asked_than_a_request_allows() -> None:
    world = World("1", "2", made=one_at_a_time)
    world.run(request(divcon={"mode": "interactive", "max_subquestions": 1}))
    assert len(world.wanted) == 1


def test_samples_vote() -> None:
    world = World("The answer is 7.", "The answer is 30.", "It is 30. The answer is 30.")
    reply = world.run(request(divcon={"k": 3}))
    assert text(reply) == "The answer is 30."
    assert [choice["index"] for choice in reply["choices"]] == [0]
    assert world.asked[0].body["n"] == 3
    assert not world.asked[0].is_last
    assert world.trail.share == pytest.approx(2 / 3)
    assert "The answer is: ..." in world.prompts[0]


def test_a_server_that_knows_no_n_is_asked_until_there_are_enough() -> None:
    world = World("The answer is 7.", "The answer is 30.", "The answer is 30.")
    world.reply = lambda n, whole=world.reply: whole(1)  # type: ignore[method-assign, misc]
    assert text(world.run(request(divcon={"k": 3}, seed=7))) == "The answer is 30."
    assert [step.body["n"] for step in world.asked] == [3, 2, 1]
    assert [step.body["seed"] for step in world.asked] == [7, 8, 9], "the same seed would draw the same sample"


def test_when_no_sample_can_be_read_the_first_is_the_answer() -> None:
    world = World("no idea", None, "none")
    assert text(world.run(request(divcon={"k": 3}))) == "no idea"
    assert world.trail.share == 0


def test_samples_vote_by_their_probability() -> None:
    world = World("The answer is 7.", "The answer is 30.")
    plain = world.reply

    def reply(n: int) -> dict[str, Any]:
        found = plain(n)
        for choice, logprob in zip(found["choices"], (-0.1, -2.0), strict=True):
            choice["logprobs"] = {"content": [{"token": "x", "logprob": logprob}]}
        return found

    world.reply = reply  # type: ignore[method-assign]
    assert text(world.run(request(divcon={"k": 2, "vote": "ws"}))) == "The answer is 7."
    assert world.asked[0].body["logprobs"] is True


def test_log_probabilities_that_only_the_vote_asked_for_stay_here() -> None:
    world = World("The answer is 7.", "The answer is 7.")
    plain = world.reply

    def reply(n: int) -> dict[str, Any]:
        found = plain(n)
        for choice in found["choices"]:
            choice["logprobs"] = {"content": [{"token": "x", "logprob": -1.0}]}
        return found

    world.reply = reply  # type: ignore[method-assign]
    assert world.run(request(divcon={"k": 2, "vote": "ws"}))["choices"][0]["logprobs"] is None
    world.texts = ["The answer is 7.", "The answer is 7."]
    assert world.run(request(divcon={"k": 2, "vote": "ws"}, logprobs=True))["choices"][0]["logprobs"] is not None


CASCADE: dict[str, Any] = {"local": {"path": "l"}, "cascade": {"share": 0.75, "samples": 4}}


def test_a_local_solver_that_agrees_with_itself_answers() -> None:
    world = World("The answer is 30.", "The answer is 30.", "The answer is 30.", "The answer is 7.", **CASCADE)
    assert text(world.run(request(world.settings))) == "The answer is 30."
    assert [step.who for step in world.asked] == ["local"]
    assert world.asked[0].body["temperature"] == 0.7
    assert world.trail.answered_by == "local"


def test_the_api_answers_where_it_does_not() -> None:
    world = World(*(f"The answer is {i}." for i in (30, 30, 7, 8)), "Surely 30.", **CASCADE)
    assert text(world.run(request(world.settings))) == "Surely 30."
    assert [step.who for step in world.asked] == ["local", "upstream"]
    assert len(world.wanted) == 1
    assert world.prompts[0] != world.prompts[1], "each is asked as it knows to be"
    assert world.trail.answered_by == "upstream"


@pytest.mark.parametrize("fields", [{"tools": [{"type": "function"}]}, {"n": 2}])
def test_a_request_for_more_than_one_text_goes_to_the_api_at_once(fields: dict[str, Any]) -> None:
    world = World("30", "31", **CASCADE)
    reply = world.run(request(world.settings, **fields))
    assert [step.who for step in world.asked] == ["upstream"]
    assert len(reply["choices"]) == fields.get("n", 1)


@pytest.mark.parametrize("error", [APIError(400, "this model takes no response_format"), ModelError("out of memory")])
def test_what_the_local_solver_cannot_answer_the_api_does(error: Exception) -> None:
    world = World("30", **CASCADE)
    steps = chain(request(world.settings), world.composition, world.trail)
    asked = steps.send(run_sync(world.take(next(steps))))
    assert isinstance(asked, Ask) and asked.who == "local"
    asked = steps.throw(error)
    assert isinstance(asked, Ask) and asked.who == "upstream"
    with pytest.raises(StopIteration):
        steps.send(run_sync(world.take(asked)))
    assert [who for who, _ in world.trail.solving] == ["upstream"]


def test_what_the_api_refuses_is_refused() -> None:
    world = World(**CASCADE)
    steps = chain(request(world.settings, n=2), world.composition, world.trail)
    steps.send(run_sync(world.take(next(steps))))
    with pytest.raises(APIError, match="no quota"):
        steps.throw(APIError(429, "no quota"))


def test_an_answer_is_asked_for_in_a_line_of_its_own_when_it_is_to_be_read() -> None:
    world = World("30", "30")
    world.run(answering(request()))
    world.run(request())
    assert ["The answer is: ..." in prompt for prompt in world.prompts] == [True, False]


def test_a_question_gets_the_same_marks_every_time_and_another_gets_others() -> None:
    world = World("30", "30", "30")
    world.run(request())
    world.run(request())
    world.run(request(content=QUESTION.replace("3", "4")))
    first, second, third = world.prompts
    assert first == second
    assert first.replace("3 crates. How", "4 crates. How") != third


def test_every_call_is_counted_and_paid_for() -> None:
    world = World("1", "2", "3", made=one_at_a_time)
    reply = world.run(request(divcon={"mode": "interactive"}))
    rates = Rates(upstream=Price(prompt=1.0, completion=2.0), decomposer=MachinePrice(second=0.0))
    account = RequestBill.of(world.trail, rates)
    assert account.solve.usage == Usage(300, 30)
    assert account.decompose.usage == Usage(90, 30)
    assert account.dollars == pytest.approx((300 + 60) / 1e6)
    usage = account.usage(reply["usage"], world.trail)
    assert usage is not None
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (300, 30, 330)
    assert usage["divcon"]["decomposition_id"] == "dec-0"


def test_what_nobody_says_is_unknown_and_not_zero() -> None:
    world = World("30", usage=None)
    world.run(request())
    account = RequestBill.of(world.trail, Rates(upstream=Price(prompt=1.0, completion=2.0)))
    assert account.solve.usage is None
    assert account.solve.dollars is None
    assert account.decompose.dollars is None
    assert account.dollars is None


def test_a_sum_with_an_unknown_part_is_left_out() -> None:
    trail = RequestTrace(solving=[("upstream", None), ("upstream", Usage(100, 10))])
    usage = RequestBill.of(trail, Rates()).usage({"prompt_tokens": 100, "completion_tokens": 10}, trail)
    assert usage is None


def test_dollars_are_of_one_type_whatever_they_are() -> None:
    """Programs add them up and look at their types."""
    trail = RequestTrace(solving=[("upstream", Usage(10, 5))])
    usage = RequestBill.of(trail, Rates(upstream=Price(prompt=1.0, completion=2.0))).usage({"prompt_tokens": 10}, trail)
    assert usage is not None
    ours = usage["divcon"]
    assert {type(part) for part in (ours["decompose"]["dollars"], ours["solve"]["dollars"], ours["dollars"])} == {float}


def test_details_of_the_only_call_are_kept() -> None:
    world = World("30")
    world.run(request())
    said = {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 64}}
    usage = RequestBill.of(world.trail, Rates()).usage(said, world.trail)
    assert usage is not None
    assert usage["prompt_tokens_details"] == {"cached_tokens": 64}


def test_a_remembered_decomposition_costs_nothing() -> None:
    trail = RequestTrace(decomposition="cached", solving=[("upstream", Usage(10, 5))])
    assert RequestBill.of(trail, Rates(upstream=Price(prompt=1.0, completion=2.0))).dollars == pytest.approx(20e-6)


def calling(name: str) -> dict[str, Any]:
    tool = {"id": "1", "type": "function", "function": {"name": name, "arguments": "{}"}}
    return {
        "index": 0,
        "finish_reason": "tool_calls",
        "message": {"role": "assistant", "content": None, "tool_calls": [tool]},
    }


@pytest.mark.parametrize(("calls", "is_call"), [(2, True), (1, False)])
def test_samples_that_call_a_tool_are_heard_where_they_are_most(calls: int, is_call: bool) -> None:
    world = World("The answer is 3.", "The answer is 3.", "The answer is 3.")
    plain = world.reply

    def reply(n: int) -> dict[str, Any]:
        found = plain(n)
        return {**found, "choices": [*(calling("f") for _ in range(calls)), *found["choices"][calls:]]}

    world.reply = reply  # type: ignore[method-assign]
    chat = request(divcon={"k": 3}, tools=[{"type": "function", "function": {"name": "f"}}])
    assert bool(world.run(chat)["choices"][0]["message"].get("tool_calls")) == is_call


def test_an_agent_at_work_does_not_pay_for_every_sub_question_again() -> None:
    world = World(
        "30", made=lambda wanted: DecomposeResult(ASKED, "asked", "dec-1", Usage()) if wanted.history is None else None
    )
    turns = [{"role": "user", "content": QUESTION}, {"role": "tool", "tool_call_id": "1", "content": "3"}]
    body = {"model": "m", "messages": turns, "divcon": {"mode": "interactive"}}
    world.run(read(body, {}, world.settings))
    assert len(world.asked) == 1
    assert world.trail.subquestions == ASKED


def test_a_vote_over_expressions_takes_no_time() -> None:
    """Computer algebra would take minutes to tell these apart."""
    election = Election("math", algebra=False)
    began = time.monotonic()
    samples = [Sample(rf"The answer is \boxed{{(x+{i})^{{1000}}}}", None) for i in range(16)]
    assert (
        election("?", [*samples, Sample(r"It is \boxed{0.5}", None), Sample(r"\boxed{\frac12}", None)], "sc").winner
        == 16
    )
    assert time.monotonic() - began < 5


def test_prompts_come_from_a_folder_wherever_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "some" / "words"
    folder.mkdir(parents=True)
    for name in ("solve", "cot", "step", "finish"):
        (folder / f"{name}.md").write_text(f"{name}: {{question}}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for given in ("some/words", "some/words/", "./some/words", str(folder)):
        assert family(given).single_stage.text == "cot: {question}"
