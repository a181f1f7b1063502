"""An endpoint's models at work, without the HTTP before them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from divcon.lm import Usage
from divcon.serve.backends.batcher import Batcher
from divcon.serve.backends.decomposer_cache import BatchedDecomposer
from divcon.serve.http.service import Service
from divcon.serve.pipeline.pipeline import RequestTrace
from divcon.serve.pipeline.types import DecomposeRequest, DecomposeResult
from divcon.solve.voting.election import Election, Sample, VoteResult

from ...fakes.chat_upstream import ANSWER, chatting
from ...fakes.upstream import Server
from ..pipeline.test_pipeline import request, settings, text


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with chatting() as server:
        yield server


def test_those_who_ask_for_one_decomposition_at_once_pay_for_it_once() -> None:
    async def scene() -> None:
        asked: list[DecomposeRequest] = []

        def work(wanted: list[DecomposeRequest]) -> list[DecomposeResult]:
            asked.extend(wanted)
            return [DecomposeResult(("How many?",), "asked", "dec-1", Usage(30, 20)) for _ in wanted]

        remembering = BatchedDecomposer(Batcher(work, most=4, max_queue=4), most=10)
        found = await asyncio.gather(*(remembering(DecomposeRequest("2 + 3?", 6), 10.0) for _ in range(3)))
        assert [each.was_there for each in found] == [False, True, True]
        assert len(asked) == 1

    asyncio.run(scene())


class Pondering(Election):
    """Votes when it is let."""

    def __init__(self) -> None:
        super().__init__("number", None)
        self.let = threading.Event()

    def __call__(self, question: str, samples: Sequence[Sample], rule: str) -> VoteResult:
        self.let.wait(30)
        return super().__call__(question, samples, rule)


def test_a_vote_that_takes_too_long_elects_nobody(server: Server) -> None:
    async def scene() -> None:
        of = settings(decomposer=None, upstream={"url": server.url, "model": "m"}, vote={"timeout": 0.5})
        endpoint, trail, election = Service(of), RequestTrace(), Pondering()
        endpoint.composition = replace(endpoint.composition, election=election)
        reply = await asyncio.wait_for(endpoint.answer(request(of, divcon={"k": 3}), trail), 10)
        assert (text(reply), trail.share) == (ANSWER, 0.0)
        election.let.set()
        reply = await endpoint.answer(request(of, divcon={"k": 3}), trail)
        assert (text(reply), trail.share) == (ANSWER, 1.0)
        await endpoint.close()

    asyncio.run(scene())
