"""A line of a batch's output: the sample in it, and what it cost."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ...core.jsonlines import Row, readable
from ..recorder import Charge, free
from ..types import Completion, SampleRequest, Usage
from .response import Reply, read, stated
from .retry import CallError, refusal
from .spec import ApiSpec
from .token_estimate import estimated


class BatchLine(NamedTuple):
    """What a line says."""

    sample: Completion | None
    """None where none can be read."""
    charge: Charge
    is_refused: bool = False
    """Whether the request can never succeed."""


def rows(text: str) -> Iterator[Row]:
    """The lines of a file. Of one that is broken, whose it is and the tokens that it speaks of."""
    for line in text.split("\n"):
        found = next(readable(line), None)
        if found is not None:
            yield found
        elif key := _KEY.search(line):
            usage = stated(line) or Usage()
            tokens = {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
            yield {"custom_id": key[1], "usage": tokens}


_KEY = re.compile(r'"custom_id"\s*:\s*"([^"\\]+)"')


def readable_lines(text: str) -> int:
    """How many lines of a file can be read."""
    return sum(1 for _ in readable(text))


def read_line(line: Row, draw: SampleRequest, spec: ApiSpec) -> BatchLine:
    """A line of the output, or of the file of errors. What a server may have worked on is never free."""
    response = line.get("response")
    response = response if isinstance(response, dict) else {}
    status = response.get("status_code")
    request = draw.request
    if status in (None, 200, "200") and "body" in response:
        try:
            reply = read(_content(response["body"]), 1, estimated(request.messages), request.sampling.max_tokens, 0.0)
        except CallError as error:
            return BatchLine(None, Charge(None, spec.worst([draw], error.stated)))
        return BatchLine(reply.completions[0], _charge(reply, draw, spec))
    worst = Charge(None, spec.worst([draw], stated(json.dumps(line))))
    if not str(status).isdecimal():
        return BatchLine(None, worst)
    refused = refusal(int(str(status)), _code(response.get("body")), _message(response.get("body")), {})
    return BatchLine(None, free(spec.price) if refused.billed == "no" else worst, refused.of_request)


def together(charges: Sequence[Charge]) -> Charge:
    """Of all lines that speak of one request: a server that answers twice may have worked twice."""
    billed = [charge for charge in charges if charge.dollars != 0.0]
    if len(billed) < 2:
        return [*billed, *charges][0]
    return Charge(None, sum(charge.worst if charge.dollars is None else charge.dollars for charge in billed))


def _charge(reply: Reply, draw: SampleRequest, spec: ApiSpec) -> Charge:
    if spec.price is not None and reply.is_known:
        return Charge(spec.price.dollars(reply.billed[0]))
    return Charge(None, spec.worst([draw], reply.stated, reply.beyond))


def _content(body: object) -> str:
    """A body as JSON; some servers send it as a text."""
    return body if isinstance(body, str) else json.dumps(body)


def _code(body: object) -> str | None:
    """The code of an error, where there is one."""
    return _of_error(body, "code")


def _message(body: object) -> str:
    return _of_error(body, "message") or ""


def _of_error(body: object, name: str) -> str | None:
    error = body.get("error") if isinstance(body, dict) else None
    value = error.get(name) if isinstance(error, dict) else None
    return value if isinstance(value, str) else None
