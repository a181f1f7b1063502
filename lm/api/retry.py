"""Which failed calls are made again, after how long, and whether they may have been billed.

A call that certainly was not served (429, no connection) is made again and costs nothing. One that may have been (5xx,
a broken answer, a timeout) is made again and counts at its worst. One that can never succeed (a wrong key, an unknown
model, an empty account) is not made again.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from ..types import Usage
from .options import DROPPABLE

Billed = Literal["no", "perhaps"]

LONGEST = 60.0
"""Seconds between two attempts at most, whatever a server asks for."""
_AGAIN = (408, 409, 425, 429)
_WORKED_ON = (408, 499)
"""Statuses below 500 of a call that ended while it was worked on; Azure bills some of them."""
_FILTERED = frozenset({"content_filter", "content_policy_violation"})
"""Codes of refusals that a model decided on, which Azure bills as well."""
_EMPTY_ACCOUNT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})


class CallError(Exception):
    """A call that brought nothing; its text is the cause, without what changes from call to call."""

    def __init__(
        self,
        cause: str,
        *,
        billed: Billed,
        again: bool = True,
        wait: float | None = None,
        crowded: bool = False,
        stated: Usage | None = None,
        parameter: str | None = None,
        of_request: bool = False,
    ) -> None:
        super().__init__(cause)
        self.of_request = of_request
        """Whether it is this request that can never succeed, and others may."""
        self.parameter = parameter
        """The field of the request that the server does not take; None where it names none."""
        self.billed = billed
        self.stated = stated
        """The most tokens that the server's answer speaks of; None when it speaks of none."""
        self.again = again
        """Whether the same call may succeed later."""
        self.wait = wait
        """Seconds that the server asks to wait; None when it does not say."""
        self.crowded = crowded
        """Whether fewer calls at once may help."""


def refusal(
    status: int,
    code: str | None,
    message: str,
    headers: Mapping[str, str],
    stated: Usage | None = None,
    parameter: str | None = None,
) -> CallError:
    """What a status other than 200 means. A proxy's 5xx does not say whether the server behind it has worked.

    `parameter` is the field of the request that the server speaks of, where it names one.
    """
    if code in _EMPTY_ACCOUNT:
        return CallError("the account has no quota left", billed="no", again=False)
    is_refused = 400 <= status < 500 and status not in _WORKED_ON and code not in _FILTERED
    billed: Billed = "no" if is_refused else "perhaps"
    if status in _AGAIN or status >= 500:
        crowded = status in (429, 503, 529)
        wait = asked_to_wait(headers)
        return CallError(f"status {status}", billed=billed, wait=wait, crowded=crowded, stated=stated)
    refused = unsupported(message, code, parameter) if status in _MALFORMED else None
    return CallError(
        f"status {status}: {message}",
        billed=billed,
        again=False,
        stated=stated,
        parameter=refused,
        of_request=(status in _OF_REQUEST and refused is None) or code in _FILTERED,
    )


_MALFORMED = (400, 404, 422)
_OF_REQUEST = (400, 413, 422)
"""Statuses by which a server refuses one request: it is too long, or a filter refuses it."""
_PARAMETERS = (
    *(*DROPPABLE, "max_completion_tokens", "max_tokens", "n"),
    *("reasoning_effort", "chat_template_kwargs", "thinking_token_budget", "enable_thinking", "reasoning", "thinking"),
)
_UNSUPPORTED = re.compile(
    r"unsupported|not support|does not accept|not (?:allowed|permitted)|unrecogni[sz]ed|unknown|unexpected|"
    r"extra (?:inputs|fields)|deprecated|"
    r"(?:must|should) be (?:(?:at most|exactly|equal to|less than or equal to) )?1\b|"
    r"only one|only (?:the )?default|invalid value|multiple (?:completions|choices)",
    re.IGNORECASE,
)
_NAMED = (
    r"['\"`]{name}['\"`]|(?:parameters?|arguments?|fields?|options?)[:\s]+{name}\b|:\s*{name}\.?$|"
    r"(?<![\w.]){name}(?![\w.])[:\s]*(?:[<>=!]|is\b|are\b|does\b|must\b|should\b|input\b|extra\b|only\b|not\b|un|"
    r"deprecated)"
)
"""A field in a server's words, and not the same word in a sentence about something else."""
_ONE_CHOICE = re.compile(r"only one (?:completion )?choice|multiple (?:completions|choices)", re.IGNORECASE)


def unsupported(message: str, code: str | None, parameter: str | None) -> str | None:
    """The field that a server does not take, or not with this value; None where it complains of something else."""
    if not (_UNSUPPORTED.search(message) or (code or "").startswith("unsupported")):
        return None
    if parameter in _PARAMETERS:
        return parameter
    if _ONE_CHOICE.search(message):
        return "n"
    named = ((re.search(_NAMED.format(name=name), message, re.IGNORECASE), name) for name in _PARAMETERS)
    return min(((found.start(), name) for found, name in named if found), default=(0, None))[1]


def remedy(parameter: str, extra: Collection[str] = ()) -> str:
    """Which setting drops or renames a field that a server does not take; `extra` are the config's own fields."""
    if parameter in extra:
        return f"take {parameter} out of extra_body"
    if parameter in ("max_tokens", "max_completion_tokens"):
        other = "max_completion_tokens" if parameter == "max_tokens" else "max_tokens"
        return f"set tokens_key: {other}"
    if parameter in DROPPABLE:
        return f"set drop: [{parameter}]"
    return "leave out thinking, or choose another thinking_style"


def asked_to_wait(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """The seconds in `Retry-After` (a number, or a date) or `Retry-After-Ms`, between 0 and LONGEST.

    None without such a header, and where it makes no sense.
    """
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) * unit
        except ValueError:
            seconds = _until(value, now or datetime.now(UTC))
        if seconds == seconds:  # not NaN
            return min(max(seconds, 0.0), LONGEST)
    return None


def pause(failures: int, asked: float | None) -> float:
    """Seconds before the next attempt after so many failures: what the server asks for, else growing, with jitter."""
    if asked is not None:
        return min(LONGEST, asked + random.uniform(0.0, 0.1 + asked / 10))
    return min(LONGEST, float(2 ** min(failures - 1, 10))) * random.uniform(0.5, 1.0)


def _until(date: str, now: datetime) -> float:
    try:
        when = parsedate_to_datetime(date)
    except (ValueError, TypeError):
        return float("nan")
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - now.timestamp()
