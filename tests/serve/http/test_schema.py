"""The endpoint is taken at its word: requests made from its own OpenAPI description, and from what that forbids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

from ...fakes.chat_upstream import chatting
from ...fakes.serving import Served, serving

EQUIVALENCE = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
]


GOOD, BAD = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
ROUTES = [
    ("/v1/chat/completions", "POST", GOOD, 300),
    ("/v1/chat/completions", "POST", BAD, 300),
    ("/v1/models/{name}", "GET", GOOD, 50),
    ("/v1/models", "GET", GOOD, 2),
    ("/healthz", "GET", GOOD, 2),
    ("/metrics", "GET", GOOD, 2),
]
"""What is asked, by the description or against it, and how often."""


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    words = (
        "--decomposer",
        "miniature/llm",
        "--set",
        "decomposer.max_tokens=24",
        "--set",
        "decomposer.max_subquestions=2",
    )
    with chatting() as upstream, serving("--upstream", upstream.url, "--model", "m", *words) as running:
        yield running


@pytest.fixture(scope="module")
def described(served: Served) -> OpenApiSchema:
    return schemathesis.openapi.from_url(served.url.removesuffix("/v1") + "/openapi.json")


@pytest.mark.parametrize(("path", "method", "mode", "examples"), ROUTES)
def test_no_request_is_too_much_for_it(
    described: OpenApiSchema, path: str, method: str, mode: GenerationMode, examples: int
) -> None:
    @settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(described[path][method].as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(checks=EQUIVALENCE)

    ask()


def test_every_route_is_tried(described: OpenApiSchema) -> None:
    assert {path for path, *_ in ROUTES} == set(described)
