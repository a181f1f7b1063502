"""From a request to its answer, as steps that somebody else takes: decompose, ask a model, vote.

A generator that yields what is to be done and is sent what came of it. It waits for nothing and knows no network, so
that the endpoint drives it, a Python call does, and a test by hand.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NoReturn

from ...core.errors import ModelError
from ...lm.api.retry import unsupported
from ...lm.types import Usage
from ...prompts import PromptFamily
from ...solve.policy import AnswerQuestion, History, NextSubquestion, self_ask
from ...solve.policy import listing as answered_listing
from ...solve.voting import rules
from ...solve.voting.election import Election, Sample, VoteResult
from ..settings import CascadeSettings, DecomposerSettings
from . import response, usage
from .errors import APIError
from .request import Chat
from .response import Reply
from .sanitize import mark
from .templates import fill, two_stage_prompt
from .types import CachedResult, DecomposeRequest, Spending

Who = Literal["upstream", "local"]
_OF_THE_ANSWER = (
    *("n", "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"),
    *("response_format", "logprobs", "top_logprobs"),
)
"""Fields of a request that speak of its answer, and not of the answers to sub-questions before it."""
Outcome = Literal["off", "no question", "too long", "asked", "cached", "not needed", "unreadable", "failed"]
"""What became of decomposing a request."""


@dataclass(frozen=True)
class Decompose:
    """Decompose this; to be sent `CachedResult`, or None when the decomposer failed."""

    wanted: DecomposeRequest


@dataclass(frozen=True)
class Ask:
    """Ask a model; to be sent its `Reply`, or thrown what kept it from one."""

    who: Who
    body: dict[str, Any]
    is_last: bool
    """Whether its reply is what the client gets, so that it may be streamed."""


@dataclass(frozen=True)
class Elect:
    """Vote; to be sent `VoteResult`."""

    question: str
    samples: tuple[Sample, ...]
    rule: str


Step = Decompose | Ask | Elect
Steps = Generator[Step, Any, Reply]
Take = Callable[[Step], Awaitable[Any]]
"""Takes a step: what comes of it."""


@dataclass
class RequestTrace:
    """What was done for a request, while it is done."""

    caller: str = ""
    """Who asks: what others have asked is nobody's business, not even that it was."""
    decomposition: Outcome = "off"
    id: str | None = None
    """Of the (first) decomposition."""
    subquestions: tuple[str, ...] = ()
    decomposing: list[Usage] = field(default_factory=list)
    """What it took; nothing where it was remembered."""
    solving: list[tuple[Who, Usage | None]] = field(default_factory=list)
    """What each call took; None where the model does not say."""
    share: float | None = None
    """Of the samples, those that agree with the answer."""
    answered_by: Who | None = None
    usage: Any = None
    """What the last call said of its tokens."""
    streamed: int = 0
    """Characters that the last call brought in a stream."""
    budget: Spending | None = None
    """Of a caller with a limit in dollars."""
    seconds: dict[str, float] = field(default_factory=dict)
    """By phase: `decompose`, `solve`, `vote`."""


@dataclass(frozen=True)
class Composition:
    """Who may be asked, and with what."""

    templates: dict[Who, PromptFamily]
    election: Election
    secret: bytes
    """What delimiters are made with."""
    decomposer: DecomposerSettings | None = None
    cascade: CascadeSettings | None = None
    singly: set[Who] = field(default_factory=set)
    """Who gives one sample a call, as far as that was found out."""

    @property
    def answerer(self) -> Who:
        """Who answers when nobody else did before."""
        return "upstream" if "upstream" in self.templates else "local"


@dataclass(frozen=True)
class _Known:
    """A question, and what came of decomposing it."""

    subquestions: tuple[str, ...] = ()
    history: History = ()
    is_whole: bool = True
    """Whether it goes on untouched when there is nothing to add."""


def chain(chat: Chat, composition: Composition, trail: RequestTrace) -> Steps:
    """Answer a request, by way of steps; the reply. Raises Refused."""
    return (yield from _answered(chat, composition, trail))


async def run(steps: Steps, take: Take) -> Reply:
    """The reply at the end of the steps, each of which is taken."""
    last = await ahead(steps, take)
    if not isinstance(last, Ask):
        return last
    try:
        reply = await take(last)
    except Exception as error:  # noqa: BLE001  # raised again by the chain
        failed(steps, error)
    return ended(steps, reply)


async def ahead(steps: Steps, take: Take) -> Ask | Reply:
    """The call whose reply is the client's, after the steps before it; the reply itself where none may be streamed.

    What taking a step raises is the chain's to judge.
    """
    try:
        step = steps.send(None)
        while not (isinstance(step, Ask) and step.is_last):
            try:
                done = await take(step)
            except Exception as error:  # noqa: BLE001  # raised again by the chain, unless it can do without
                step = steps.throw(error)
            else:
                step = steps.send(done)
    except StopIteration as end:
        return dict(end.value)
    return step


def ended(steps: Steps, reply: Reply) -> Reply:
    """The reply at the end of the steps, given what came of the last call."""
    try:
        steps.send(reply)
    except StopIteration as end:
        return dict(end.value)
    raise AssertionError("a chain ends with its last call")


def failed(steps: Steps, error: Exception) -> NoReturn:
    """Raises what kept the last call from its reply, after the chain has seen it."""
    steps.throw(error)
    raise AssertionError("a chain ends with its last call") from error


def _answered(chat: Chat, composition: Composition, trail: RequestTrace) -> Steps:
    who: Who = composition.answerer
    known = _Known()
    if chat.wishes.mode == "interactive" and not chat.is_at_work:
        known = yield from _interactive(chat, composition, trail, who)
    elif chat.wishes.mode != "off":
        known = yield from _static(chat, composition, trail)
    if composition.cascade and chat.turn is not None and not known.history and chat.takes_one_text:
        reply = yield from _agreed(chat, composition, trail, known, composition.cascade)
        if reply is not None:
            return reply
    if chat.wishes.samples == 1:
        body = _body(chat, composition, who, known, answers=chat.wishes.answers)
        reply = yield from _ask(trail, Ask(who, body, is_last=True))
    else:
        voted, elected = yield from _voted(chat, composition, trail, who, known, chat.wishes.samples, chat.wishes.rule)
        reply = _only(chat, voted, _chosen(voted, elected))
    trail.answered_by = who
    return reply


def _static(chat: Chat, composition: Composition, trail: RequestTrace) -> Generator[Step, Any, _Known]:
    """All sub-questions at once."""
    found = yield from _decompose(chat, composition, trail, None)
    if found is None:
        return _Known()
    trail.subquestions = found.made.subquestions
    return _Known(found.made.subquestions, is_whole=_is_whole(composition, found))


def _interactive(chat: Chat, composition: Composition, trail: RequestTrace, who: Who) -> Generator[Step, Any, _Known]:
    """One sub-question at a time, each answered before the next is asked for."""
    found: CachedResult | None = None
    templates = composition.templates[who]
    walk = self_ask(chat.wishes.limit)
    step = next(walk)
    while not isinstance(step, AnswerQuestion):  # which is asked as any question is: with a cascade, or a vote
        history = step.history
        if isinstance(step, NextSubquestion):
            found = yield from _decompose(chat, composition, trail, history)
            step = walk.send(next(iter(found.made.subquestions), None) if found else None)
        else:
            trail.subquestions += (step.subquestion,)
            text = _filled(chat, composition, templates.step, history, f"{len(history) + 1}. {step.subquestion}")
            body = chat.asking(text, **dict.fromkeys(_OF_THE_ANSWER))
            reply = yield from _ask(trail, Ask(who, body, is_last=False))
            step = walk.send(composition.election.solution(Sample(response.text(reply["choices"][0]), None)))
    return _Known(history=step.history, is_whole=found is None or _is_whole(composition, found))


def _is_whole(composition: Composition, found: CachedResult) -> bool:
    """Whether a question without sub-questions goes on as it is."""
    return found.made.kind != "not needed" or composition.decomposer is None or composition.decomposer.skip


def _decompose(
    chat: Chat, composition: Composition, trail: RequestTrace, history: History | None
) -> Generator[Step, Any, CachedResult | None]:
    """A decomposition; None where there is none to be had, which the trail says."""
    settings = composition.decomposer
    if chat.turn is None or settings is None or len(chat.question) > settings.max_question_chars:
        trail.decomposition = "too long" if chat.turn is not None else "no question"
        return None
    found: CachedResult | None = yield Decompose(DecomposeRequest(chat.question, chat.wishes.limit, history))
    if found is None:
        trail.decomposition = "failed"
        if settings.on_failure == "refuse":
            raise APIError(503, "the decomposer does not answer now", code="decomposer_failed", retry_after=1)
        return None
    if not history:
        trail.id = found.made.id
        trail.decomposition = _outcome(found)
    if not found.was_there:
        trail.decomposing.append(found.made.usage)
    return found


def _outcome(found: CachedResult) -> Outcome:
    if found.made.kind in ("not needed", "unreadable"):
        return "not needed" if found.made.kind == "not needed" else "unreadable"
    return "cached" if found.was_there else "asked"


def _agreed(
    chat: Chat, composition: Composition, trail: RequestTrace, known: _Known, cascade: CascadeSettings
) -> Generator[Step, Any, Reply | None]:
    """What the local solver says, if it can be asked for that, and enough of its samples say it."""
    cooler = replace(chat, body={**chat.body, "temperature": cascade.temperature})
    try:
        reply, elected = yield from _voted(cooler, composition, trail, "local", known, cascade.samples, "count")
    except (APIError, ModelError):  # it reads no pictures, its context is short, or it is busy: the API knows better
        return None
    if elected.winner is None or elected.share < cascade.share:
        trail.share = None  # nobody's answer was voted on
        return None
    trail.answered_by = "local"
    return _only(chat, reply, elected.winner)


def _voted(
    chat: Chat, composition: Composition, trail: RequestTrace, who: Who, known: _Known, samples: int, rule: str
) -> Generator[Step, Any, tuple[Reply, VoteResult]]:
    """So many samples with all their choices in one reply, and what they come to."""
    wants_logprobs = {"logprobs": True} if rules.score_of(rule) is not None else {}
    body = _body(chat, composition, who, known, answers=True)
    reply: Reply = {}
    choices: list[dict[str, Any]] = []
    while len(choices) < samples:  # a server that knows no `n` is asked again
        wanted = 1 if who in composition.singly else samples - len(choices)
        asked = {**body, "n": wanted, **wants_logprobs, **_seed(chat, len(choices))}
        try:
            reply = yield from _ask(trail, Ask(who, asked, is_last=False))
        except Exception as refused:  # of the endpoint's own class, or of a client's
            if wanted == 1 or not _refuses_n(refused):
                raise
            composition.singly.add(who)
            continue
        choices += reply["choices"][:wanted]
    reply = {**reply, "choices": choices}
    drawn = tuple(_sample(choice) for choice in choices)
    elected: VoteResult = yield Elect(chat.question, drawn, rule)
    trail.share = elected.share
    return reply, elected


def _refuses_n(error: Exception) -> bool:
    """Whether a server says that it gives one sample a call."""
    status = getattr(error, "status", getattr(error, "status_code", None))
    named = unsupported(str(error), getattr(error, "code", None), getattr(error, "param", None))
    return status in (400, 422) and named == "n"


def _body(chat: Chat, composition: Composition, who: Who, known: _Known, *, answers: bool) -> dict[str, Any]:
    """What a model is asked at last."""
    templates = composition.templates[who]
    text = chat.question
    if known.history:
        text = _filled(chat, composition, templates.finish, known.history)
    elif known.subquestions:
        text = two_stage_prompt(templates, chat.question, known.subquestions, composition.secret)
    elif not known.is_whole or (not templates.answer and (answers or chat.wishes.mode != "off")):
        # Without a sentence that asks for an answer, the model was taught with these prompts and knows no others.
        text = fill(templates.single_stage, question=chat.question)
    return chat.asking(_ended(text, templates) if answers else text)


def _seed(chat: Chat, drawn: int) -> dict[str, Any]:
    """Another seed after so many samples, where there is one: the same would draw the same sample again."""
    seed = chat.body.get("seed")
    return {"seed": seed + drawn} if drawn and isinstance(seed, int) else {}


def _filled(chat: Chat, composition: Composition, prompt: Any, history: History, subquestion: str = "") -> str:
    return fill(
        prompt,
        question=chat.question,
        answered=answered_listing(history),
        subquestion=subquestion,
        mark=mark(chat.question, composition.secret),
    )


def _ended(text: str, templates: PromptFamily) -> str:
    return f"{text}\n{templates.answer}" if templates.answer and text.strip() else text


def _ask(trail: RequestTrace, step: Ask) -> Generator[Step, Any, Reply]:
    call = trail.budget.begin(step.body) if trail.budget and step.who == "upstream" else None
    try:
        reply: Reply = yield step
    except APIError as refused:
        if trail.budget and call and not refused.may_be_billed:
            trail.budget.refused(call)
        raise
    trail.usage = reply.get("usage")
    trail.solving.append((step.who, response.consumed(reply)))
    if trail.budget and call:
        believed = usage.believed(reply, step.body, trail.streamed)
        trail.budget.answered(call, believed, usage.stated(trail.usage))
    return reply


def _chosen(voted: Reply, elected: VoteResult) -> int:
    """The winner; the first that calls a tool, where more samples do than agree with the winner."""
    calling = [i for i, choice in enumerate(voted["choices"]) if choice["message"].get("tool_calls")]
    if len(calling) > elected.share * len(voted["choices"]):
        return calling[0]
    return elected.winner or 0


def _only(chat: Chat, reply: Reply, chosen: int) -> Reply:
    """A reply with the one choice that won, and no log-probabilities that only the vote has asked for."""
    won = {**reply["choices"][chosen], "index": 0}
    return {**reply, "choices": [won if chat.body.get("logprobs") else {**won, "logprobs": None}]}


def _sample(choice: dict[str, Any]) -> Sample:
    content = (choice.get("logprobs") or {}).get("content") if isinstance(choice.get("logprobs"), dict) else None
    values = [token.get("logprob") for token in content or [] if isinstance(token, dict)]
    known = [float(value) for value in values if isinstance(value, int | float)]
    mean = sum(known) / len(known) if known and len(known) == len(values) else None
    return Sample(response.text(choice), mean)
