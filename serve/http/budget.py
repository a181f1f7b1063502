"""What a request of a key with a limit in dollars may cost, from before its first call to after its last.

Before a call is sent, it counts at the most that it can cost by what is sent: so the key's account is never below what
the upstream bills. When it is answered it counts as what the upstream states, where that can be true.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import ceil
from types import MappingProxyType
from typing import Any

from ...lm.cost.prices import Price
from ...lm.types import Usage
from ..pipeline.request import NESTED_REASONING_BUDGETS, REASONING_BUDGETS, Chat, is_text
from ..pipeline.types import Call
from .keys import Caller
from .quotas import Quotas

_ADDED = 8192
"""Tokens that our prompts and sub-questions add to a prompt at first sight; what they do add is counted when sent."""
_FORMAT = 1024
"""Tokens that a server's chat format adds to what it is sent."""


class Budget:
    """What one request has spent."""

    def __init__(
        self,
        allowance: Quotas,
        caller: Caller,
        price: Price,
        context: int | None,
        chat: Chat,
        added: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Hold back what the request may cost. `added` is what the server adds to each call's body.

        Raises Refused when the key has less left.
        """
        self._added = added
        self._allowance = allowance
        self._caller = caller
        self._price = price
        self._context = context
        self._calls: list[Call] = []
        self._reservation = allowance.reserve(caller, self._dollars(expected(chat, context, added)))

    def begin(self, body: Mapping[str, Any]) -> Call:
        """A call counts before it is sent. Raises Refused, and it does not count, when the key has less left."""
        call = Call(self._dollars(most({**body, **self._added}, self._context)))
        self._allowance.cover(self._caller, self._reservation, self._spent + call.dollars)
        self._calls.append(call)
        return call

    def refused(self, call: Call) -> None:
        """A call that certainly is not billed counts no more."""
        self._calls.remove(call)

    def answered(self, call: Call, usage: Usage | None, stated: Usage) -> None:
        """A call counts as what it took; where that is unknown (None), at its most or as what is stated if larger."""
        call.is_known = usage is not None
        call.dollars = max(call.dollars, self._dollars(stated)) if usage is None else self._dollars(usage)

    def settle(self) -> None:
        """The request is over: it counts as what its calls cost; as no less than was held back, if one is unknown."""
        is_known = all(call.is_known for call in self._calls)
        self._allowance.settle(
            self._reservation, self._spent if is_known else max(self._spent, self._reservation.worst)
        )

    @property
    def _spent(self) -> float:
        return sum(call.dollars for call in self._calls)

    def _dollars(self, usage: Usage) -> float:
        try:
            return self._price.dollars(usage)
        except OverflowError:  # no float is as large
            return float("inf")


def expected(chat: Chat, context: int | None, added: Mapping[str, Any] = MappingProxyType({})) -> Usage:
    """The tokens of all calls of a request, at most, as far as that can be known before the first."""
    steps = chat.wishes.limit if chat.wishes.mode == "interactive" else 0
    prompts = steps + chat.wishes.samples  # of a server that knows no n each sample is asked for by itself
    samples = steps + max(chat.wishes.samples, chat.n)
    one = most({**chat.body, **added, "n": 1}, context)
    return Usage(prompts * (one.prompt_tokens - _FORMAT + _ADDED), samples * one.completion_tokens)


def most(body: Mapping[str, Any], context: int | None) -> Usage:
    """The tokens that a call can take: no text has more tokens than bytes, and nothing more than the context holds.

    A part that is no text may fill the context, however short it is; so may a completion without a limit. Where the
    context is unknown, `allowed.check` refuses both.
    """
    room = context or 0
    prompt = len(json.dumps(body)) + _FORMAT + (0 if is_text(body["messages"]) else room)
    limits = [body[name] for name in ("max_tokens", "max_completion_tokens") if body.get(name) is not None]
    return Usage(prompt, (body.get("n") or 1) * (max(limits, default=room) + _reasoning(body)))


def _reasoning(body: Mapping[str, Any]) -> int:
    """Tokens of reasoning that a request allows on top of its limit, by whichever name."""
    nested = [(part, name) for key, name in NESTED_REASONING_BUDGETS if isinstance(part := body.get(key), Mapping)]
    said = [*(body.get(name) for name in REASONING_BUDGETS), *(part.get(name) for part, name in nested)]
    return max((ceil(n) for n in said if isinstance(n, int | float) and n > 0), default=0)
