"""Which field a server complains of, in whichever words; and complaints that are of something else."""

from __future__ import annotations

import pytest

from divcon.lm import Message, Request, SampleRequest
from divcon.lm.api.batch_lines import read_line
from divcon.lm.api.limits import Limits, PermanentFailures
from divcon.lm.api.retry import refusal
from divcon.lm.api.spec import ApiSpec
from divcon.lm.cost.prices import Price


@pytest.mark.parametrize(
    ("message", "parameter"),
    [
        ("Unsupported parameter: 'temperature' is not supported with this model.", "temperature"),
        (
            "Unsupported value: 'temperature' does not support 0.7; only the default (1) value is supported.",
            "temperature",
        ),
        ("`top_p` is deprecated for this model", "top_p"),
        ("top_p: Extra inputs are not permitted", "top_p"),
        ("Unrecognized request argument: seed", "seed"),
        ('unknown field: "logprobs"', "logprobs"),
        ("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "max_tokens"),
        ("n is not supported", "n"),
        ("'n' : number must be at most 1", "n"),
        ("n must be 1", "n"),
        ("parameter n: unsupported", "n"),
        ("n > 1 is not supported", "n"),
        ("Only one completion choice is allowed", "n"),
        ("multiple completions are not supported", "n"),
        ("[{'loc': ['body', 'n'], 'msg': 'Input should be less than or equal to 1'}]", "n"),
        ("n: Input should be less than or equal to 1", "n"),
        ("Additional properties are not allowed ('seed' was unexpected)", "seed"),
        ("Argument not supported on this model: reasoning_effort", "reasoning_effort"),
        # of something else
        ("The content is not allowed: please stop asking for this.", None),
        ("Your prompt was flagged: reasoning about weapons is not permitted.", None),
        ("unknown model", None),
        ("maximum context length is 9 tokens", None),
        ("Images are not supported in the thinking of this request", None),
    ],
)
def test_the_field_that_a_server_does_not_take_is_found_in_its_words(message: str, parameter: str | None) -> None:
    error = refusal(400, None, message, {})
    assert error.parameter == parameter
    assert error.of_request is (parameter is None)


def test_a_field_that_a_server_names_apart_is_believed() -> None:
    assert refusal(400, "unsupported_value", "no", {}, parameter="seed").parameter == "seed"


def test_requests_that_fail_permanently_are_counted_whole_however_many_samples_they_ask_for() -> None:
    requests = [Request((Message("user", str(i)),), n=16) for i in range(40)]
    draws = [SampleRequest(request, i, f"{request.messages[0].content}-{i}") for request in requests for i in range(16)]
    failures = PermanentFailures(Limits(), draws)
    assert all(failures.allow(requests[3]) for _ in range(16))  # each of its samples, if need be one by one
    assert not failures.allow(requests[4])
    assert not PermanentFailures(Limits(max_failures=0.9), draws[:16]).allow(requests[0])  # never all of them


@pytest.mark.parametrize("status", [400, "400"])
@pytest.mark.parametrize(("code", "is_free"), [("context_length_exceeded", True), ("content_filter", False)])
def test_a_line_of_a_batch_that_is_refused_fails_permanently_whether_or_not_it_is_billed(
    status: object, code: str, is_free: bool
) -> None:
    spec = ApiSpec("m", base_url="http://127.0.0.1:9/v1", price=Price(prompt=1.0, completion=10.0))
    draw = SampleRequest(Request((Message("user", "?"),)), 0, "0" * 64)
    error = {"error": {"message": "no", "code": code}}
    found = read_line({"custom_id": draw.key, "response": {"status_code": status, "body": error}}, draw, spec)
    assert found.sample is None and found.is_refused
    assert (found.charge.dollars == 0.0) is is_free and (found.charge.worst > 0) is not is_free
