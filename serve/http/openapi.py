"""The endpoint's OpenAPI description, for people, clients and tests that take it at its word."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, get_args

from ..settings import MOST, Mode, ServeSettings

_JSON = "application/json"


def description(settings: ServeSettings, model: str) -> dict[str, Any]:
    """OpenAPI 3.1 of what this server takes, its limits among it."""
    secured: list[Any] = [{"key": []}] if settings.keys else []
    errors = {str(status): {"$ref": "#/components/responses/error"} for status in (400, 401, 403, 404, 405, 429)}
    worked = {
        str(status): {"$ref": "#/components/responses/error"} for status in (408, 413, 415, 422, 500, 502, 503, 504)
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "divcon",
            "version": version("divcon"),
            "description": "Chat completions, with a distilled decomposer in front of the model.",
        },
        "paths": {
            "/v1/chat/completions": {
                "post": {
                    "operationId": "createChatCompletion",
                    "security": secured,
                    "parameters": _switches(settings),
                    "requestBody": {"required": True, "content": {_JSON: {"schema": _request(settings, model)}}},
                    "responses": {"200": _completion(), **errors, **worked},
                }
            },
            "/v1/models": {"get": _get("listModels", "The models", _models(), errors, secured)},
            "/v1/models/{name}": {
                "get": {
                    **_get("retrieveModel", "The model", _model(), errors, secured),
                    "parameters": [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}],
                }
            },
            "/healthz": {"get": _get("health", "It answers", {"type": "object"}, {}, [])},
            "/metrics": {
                "get": {
                    "operationId": "metrics",
                    "security": secured,
                    "responses": {
                        "200": {"description": "Prometheus", "content": {"text/plain": {"schema": {"type": "string"}}}},
                        **errors,
                    },
                }
            },
        },
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "responses": {"error": {"description": "An error", "content": {_JSON: {"schema": _error()}}}},
        },
    }


def _request(settings: ServeSettings, model: str) -> dict[str, Any]:
    limits = settings.limits
    part = {"type": "object", "properties": {"type": {"type": "string"}, "text": {"type": "string"}}}
    message = {
        "type": "object",
        "required": ["role"],
        "properties": {
            "role": {"type": "string"},
            "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": part}, {"type": "null"}]},
        },
    }
    return {
        "type": "object",
        "required": ["model", "messages"],
        "properties": {
            "model": {"type": "string", "enum": [model]},
            "messages": {"type": "array", "minItems": 1, "items": message},
            "n": _whole(limits.n),
            "max_tokens": _whole(),
            "max_completion_tokens": _whole(),
            "stream": {"type": ["boolean", "null"]},
            "stream_options": {"type": ["object", "null"], "properties": {"include_usage": {"type": "boolean"}}},
            "divcon": {
                "type": ["object", "null"],
                "additionalProperties": False,
                "properties": {
                    "mode": {"type": "string", "enum": [*get_args(Mode)]},
                    "max_subquestions": _whole(MOST),
                    "k": _whole(limits.samples),
                    "vote": {"type": "string"},
                },
            },
        },
    }


def _switches(settings: ServeSettings) -> list[dict[str, Any]]:
    """The same switches as headers."""
    schemas = {
        "Mode": {"type": "string", "enum": [*get_args(Mode)]},
        "Max-Subquestions": {"type": "integer", "minimum": 1, "maximum": MOST},
        "K": {"type": "integer", "minimum": 1, "maximum": settings.limits.samples},
        "Vote": {"type": "string"},
    }
    return [{"name": f"X-Divcon-{name}", "in": "header", "schema": schema} for name, schema in schemas.items()]


def _whole(most: int | None = None) -> dict[str, Any]:
    return {"type": ["integer", "null"], "minimum": 1, **({"maximum": most} if most else {})}


def _completion() -> dict[str, Any]:
    usage = {"type": "object", "properties": {"divcon": {"type": "object"}}}
    schema = {
        "type": "object",
        "required": ["choices", "usage"],
        "properties": {"choices": {"type": "array", "minItems": 1}, "usage": usage},
    }
    return {
        "description": "A completion, or its chunks",
        "content": {_JSON: {"schema": schema}, "text/event-stream": {}},
    }


def _error() -> dict[str, Any]:
    text = {"type": ["string", "null"]}
    inner = {"message": {"type": "string"}, "type": {"type": "string"}, "param": text, "code": text}
    error = {"type": "object", "required": [*inner], "properties": inner}
    return {"type": "object", "required": ["error"], "properties": {"error": error}}


def _model() -> dict[str, Any]:
    return {"type": "object", "required": ["id", "object"], "properties": {"id": {"type": "string"}}}


def _models() -> dict[str, Any]:
    return {"type": "object", "required": ["data"], "properties": {"data": {"type": "array", "items": _model()}}}


def _get(name: str, what: str, schema: Any, errors: dict[str, Any], secured: list[Any]) -> dict[str, Any]:
    answer = {"description": what, "content": {_JSON: {"schema": schema}}}
    return {"operationId": name, "security": secured, "responses": {"200": answer, **errors}}
