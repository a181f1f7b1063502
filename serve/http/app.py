"""The endpoint's routes, as an ASGI application."""

from __future__ import annotations

import asyncio
import gc
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ...core.errors import ModelError
from ..backends import sse
from ..pipeline import request as chats
from ..pipeline.billing import RequestBill
from ..pipeline.errors import STREAM_TIMEOUT, APIError
from ..pipeline.pipeline import RequestTrace
from ..pipeline.request import Chat
from ..settings import ServeSettings
from . import allowed_fields, openapi
from .admission import AdmissionQueue, MemoryBudget
from .budget import Budget
from .keys import ANYONE, Caller, Keys, bearer
from .quotas import Quotas
from .request import ClientLeft, body, drain, while_there
from .response import Answering
from .server import is_loopback
from .service import Service

_LOG = logging.getLogger("divcon.serve.requests")
_MISSING = {404: "there is nothing here; this server answers POST /v1/chat/completions"}
_TURN = 16
"""Pieces of a stream that go out in a row."""


@dataclass
class RequestContext:
    """A request from its first byte to its last, for whoever watches."""

    id: str = field(default_factory=lambda: f"req-{secrets.token_hex(12)}")
    began: float = field(default_factory=time.perf_counter)
    caller: str | None = None
    trail: RequestTrace | None = None
    account: RequestBill | None = None
    first: float | None = None
    """Seconds to the first piece of a stream."""
    error: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What goes out beside every answer."""
        found = {"x-request-id": self.id}
        if self.trail is not None:
            found["x-divcon-decomposition"] = self.trail.decomposition.replace(" ", "-")
            if self.trail.id:
                found["x-divcon-decomposition-id"] = self.trail.id
            if self.trail.answered_by:
                found["x-divcon-answered-by"] = self.trail.answered_by
        return found


class App:
    """The routes over an endpoint."""

    def __init__(self, endpoint: Service, keys: Keys | None, allowance: Quotas) -> None:
        self._endpoint = endpoint
        self._keys = keys
        self._allowance = allowance
        self._limits = limits = endpoint.settings.limits
        self._room = MemoryBudget(limits.held_bytes, self._share, limits.body_bytes)
        self._gate = AdmissionQueue(limits.concurrency, limits.max_queue, limits.queue_timeout, share=self._share)
        self._watch = endpoint.watch
        self._watch.queue(self._gate)
        self._began = int(time.time())

    @property
    def _share(self) -> float:
        """Of one caller; without keys there is one."""
        return self._limits.key_share if self._keys else 1.0

    def reload(self, settings: ServeSettings) -> None:
        """Other settings, for all that comes from now on; what is in work stays in work."""
        self._endpoint.reload(settings)
        self._limits = limits = settings.limits
        self._room.resize(limits.held_bytes, self._share, limits.body_bytes)
        self._gate.resize(limits.concurrency, limits.max_queue, limits.queue_timeout, self._share)

    def asgi(self) -> Starlette:
        """The application."""
        routes = [
            Route("/v1/chat/completions", _Raw(self._completions), methods=["POST"]),
            Route("/v1/models", self._models, methods=["GET"]),
            Route("/v1/models/{name:path}", self._model, methods=["GET"]),
            Route("/healthz", self._healthz, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
            Route("/openapi.json", self._openapi, methods=["GET"]),
        ]
        errors: Mapping[Any, Any] = {HTTPException: _refused, APIError: _refused, Exception: _broken}
        made = Starlette(routes=routes, lifespan=self._lifespan, exception_handlers=errors)
        made.router.redirect_slashes = False  # it would send clients to whatever host they name
        return made

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        await self._endpoint.warm()
        gc.collect()
        gc.freeze()  # a collection that looks through all the libraries halts every request meanwhile
        try:
            yield
        finally:
            await self._endpoint.close()

    # -- who asks ----------------------------------------------------------------------------------------------------

    def _admit(self, headers: Headers) -> Caller:
        """Whoever sent these headers. Raises Refused for strangers."""
        if self._keys is None:
            _refuse_browsers(headers)
            return ANYONE
        caller = self._keys.caller(bearer(headers.get("authorization")))
        if caller is None:
            raise APIError(401, "give one of this server's keys: Authorization: Bearer KEY", code="invalid_api_key")
        return caller

    # -- small routes ------------------------------------------------------------------------------------------------

    async def _models(self, request: Request) -> Response:
        self._admit(request.headers)
        return JSONResponse({"object": "list", "data": [self._described()]})

    async def _model(self, request: Request) -> Response:
        self._admit(request.headers)
        if request.path_params["name"] != self._endpoint.name:
            raise _unknown_model(self._endpoint.name)
        return JSONResponse(self._described())

    async def _healthz(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _metrics(self, request: Request) -> Response:
        if not self._admit(request.headers).metrics:
            raise APIError(403, "this key may not read metrics; divcon keys add --metrics makes one that may")
        return Response(self._watch.text(), media_type="text/plain; version=0.0.4")

    async def _openapi(self, _: Request) -> Response:
        return JSONResponse(openapi.description(self._endpoint.settings, self._endpoint.name))

    def _described(self) -> dict[str, Any]:
        return {"id": self._endpoint.name, "object": "model", "created": self._began, "owned_by": "divcon"}

    # -- the route ---------------------------------------------------------------------------------------------------

    async def _completions(self, headers: Headers, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens: with a reply, with an error, or not at all where nobody is left."""
        visit, answer = RequestContext(), Answering(send)
        status = 0
        try:
            await self._answer(headers, receive, answer, visit)
            status = answer.status
        except ClientLeft:
            status = 499
            self._watch.left()
        except APIError as refused:
            status = refused.status
            visit.error = refused.code or str(refused.status)
            self._watch.limited(refused.code)
            await answer.refuse(refused, visit.headers)
        except ModelError as error:
            status, visit.error = 503, "unavailable"
            await answer.refuse(APIError(503, str(error), code="unavailable", retry_after=1), visit.headers)
        except Exception as error:  # noqa: BLE001  # whatever it is, its client shall be told
            status, visit.error = 500, type(error).__name__
            _LOG.exception("a request failed")
            await answer.refuse(APIError(500, "the server failed on this request", code="internal"), visit.headers)
        finally:
            self._log(visit, status or 499)

    async def _answer(self, headers: Headers, receive: Receive, answer: Answering, visit: RequestContext) -> None:
        try:
            caller = self._admit(headers)
            visit.caller = caller.name
            _refuse_other_types(headers)
            self._allowance.request(caller)
        except APIError:
            await drain(receive, self._limits.body_timeout)
            raise
        with self._room.taken(caller.name) as take:
            raw = await body(headers, receive, self._limits.body_bytes, self._limits.body_timeout, take)
            await while_there(receive, self._work(raw, headers, caller, answer, visit))

    def _read(self, raw: bytes, headers: Headers) -> Chat:
        found = chats.parse(raw)
        chat = chats.read(found, headers, self._endpoint.settings)
        if not isinstance(found.get("model"), str):
            raise APIError(400, "model is no name of a model", param="model")
        if found["model"] != self._endpoint.name:
            raise _unknown_model(self._endpoint.name)
        return chat

    async def _work(
        self, raw: bytes, headers: Headers, caller: Caller, answer: Answering, visit: RequestContext
    ) -> None:
        """Wait for a place, answer, and settle what it cost."""
        async with self._gate.place(caller.name):
            chat = self._read(raw, headers)  # not before: what is read takes many times the room
            chat = self._allowed(chat, caller)
            budget = self._budget(chat, caller)
            visit.trail = trail = RequestTrace(caller=caller.name, budget=budget)
            try:
                if chat.stream:
                    await self._stream(chat, answer, visit, trail)
                else:
                    reply = await self._endpoint.answer(chat, trail)
                    account = RequestBill.of(trail, self._endpoint.rates)
                    usage = account.usage(reply.get("usage"), trail)
                    await answer.whole({**reply, "model": self._endpoint.name, "usage": usage}, visit.headers)
            finally:
                visit.account = RequestBill.of(trail, self._endpoint.rates)
                if budget is not None:
                    budget.settle()

    async def _stream(self, chat: Chat, answer: Answering, visit: RequestContext, trail: RequestTrace) -> None:
        """Send a stream, for as long as one may take. Raises Refused, perhaps in between."""
        seconds = self._limits.stream_timeout
        try:
            async with asyncio.timeout(seconds) as limit:
                await self._pieces(chat, answer, visit, trail)
        except TimeoutError:
            if not limit.expired():
                raise
            message = f"this stream was ended: the server lets one take {seconds:g} s"
            raise APIError(504, message, code=STREAM_TIMEOUT, may_be_billed=True) from None

    async def _pieces(self, chat: Chat, answer: Answering, visit: RequestContext, trail: RequestTrace) -> None:
        last: dict[str, Any] = {}
        sent = 0
        async with aclosing(self._endpoint.stream(chat, trail)) as chunks:
            async for chunk in chunks:
                if visit.first is None:
                    visit.first = time.perf_counter() - visit.began
                    self._watch.first_byte(visit.first)
                last = {**chunk, "model": self._endpoint.name}
                await answer.piece(sse.event(last), visit.headers)
                sent += 1
                if sent % _TURN == 0:
                    await asyncio.sleep(0)  # others get theirs, however much of this is there already
        if chat.wants_usage:
            usage = RequestBill.of(trail, self._endpoint.rates).usage(trail.usage, trail)
            await answer.piece(sse.event({**last, "choices": [], "usage": usage}), visit.headers)
        await answer.piece(sse.DONE, visit.headers)
        await answer.end()

    def _allowed(self, chat: Chat, caller: Caller) -> Chat:
        """What goes on of a request. Raises Refused for what a key with a limit in dollars may not ask."""
        upstream = self._endpoint.settings.upstream
        if caller.dollars_per_day is None or upstream is None:
            return chat
        allowed_fields.check(chat, upstream.context)
        return allowed_fields.limited(chat, upstream.limit)

    def _budget(self, chat: Chat, caller: Caller) -> Budget | None:
        """Hold back what the request may cost; None where nobody limits that, or no upstream is asked."""
        upstream = self._endpoint.settings.upstream
        if caller.dollars_per_day is None or upstream is None:
            return None
        price = self._endpoint.rates.upstream
        if price is None:
            message = "this key has a limit in dollars, and the price of the model is unknown"
            raise APIError(503, message, code="no_price")
        return Budget(self._allowance, caller, price, upstream.context, chat, upstream.extra_body)

    def _log(self, visit: RequestContext, status: int) -> None:
        seconds = time.perf_counter() - visit.began
        self._watch.answered(status, seconds)
        line: dict[str, Any] = {"id": visit.id, "key": visit.caller, "status": status, "seconds": round(seconds, 4)}
        if visit.trail is not None and visit.account is not None:
            self._watch.worked(visit.trail, visit.account)
            line |= {
                "decomposition": visit.trail.decomposition,
                "decomposition_id": visit.trail.id,
                "answered_by": visit.trail.answered_by,
                "phases": {phase: round(each, 4) for phase, each in visit.trail.seconds.items()},
                "dollars": visit.account.dollars,
                "billed": self._endpoint.rates.billed(visit.trail),
            }
        if visit.error:
            line["error"] = visit.error
        _LOG.info("request", line)


class _Raw:
    """A route that sees ASGI itself: it has to know when its client leaves."""

    def __init__(self, handle: Callable[[Headers, Receive, Send], Awaitable[None]]) -> None:
        self._handle = handle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._handle(Headers(scope=scope), receive, send)


def _refuse_other_types(headers: Headers) -> None:
    """A page in a browser may send a text to any server without asking it first, but no JSON."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise APIError(415, "send JSON, and say so: Content-Type: application/json", code="unsupported_media_type")


def _refuse_browsers(headers: Headers) -> None:
    """Without keys whoever reaches loopback may ask, and a browser reaches it for any page that it shows."""
    origin = headers.get("origin")
    if not is_loopback(_host(f"//{headers.get('host', '')}")) or (origin and not is_loopback(_host(origin))):
        raise APIError(403, "without keys this server answers this machine alone", code="not_local")


def _host(url: str) -> str:
    """The host in a URL; empty where there is none, where a user is named before it, or where it is no URL."""
    try:
        return "" if "@" in url else urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _unknown_model(name: str) -> APIError:
    return APIError(404, f"there is one model here: {name}", code="model_not_found", param="model")


async def _refused(_: Request, error: Exception) -> Response:
    """Of the small routes, and of paths that are none."""
    if isinstance(error, APIError):
        refused, headers = error, error.headers
    else:
        assert isinstance(error, HTTPException)
        refused, headers = (
            APIError(error.status_code, _MISSING.get(error.status_code, str(error.detail))),
            dict(error.headers or {}),
        )
    return JSONResponse(refused.body(), refused.status, {"x-request-id": RequestContext().id, **headers})


async def _broken(_: Request, __: Exception) -> Response:
    return JSONResponse(APIError(500, "the server failed on this request", code="internal").body(), 500)
