"""A local server that speaks the Responses API and answers with scripted streams: no key, no network, no bill."""

import asyncio
import hmac
import math
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from types import NoneType, TracebackType
from typing import Self

from aiohttp import web
from pydantic import JsonValue
from pydantic_core import from_json, to_json

from streamkit.errors import UsageError
from streamkit.testing.request import JsonObject, input_items, section
from streamkit.testing.scenarios import SCENARIOS, Scenario, lookup, play
from streamkit.testing.sending import Pace, send_events
from streamkit.testing.store import ResponseStore, StoredResponse, call_ids

SCENARIO_HEADER = "x-streamkit-scenario"
"""Request header that chooses the scenario of this one answer."""

TOKENS_PER_SECOND_HEADER = "x-streamkit-tokens-per-second"
"""Request header that sets the pace of this one answer; 0 means as fast as possible."""

MAX_RECORDED_REQUESTS = 1_000
"""The oldest recorded request is forgotten when one more than this comes in."""

MAX_REQUEST_BYTES = 64 * 1024 * 1024
"""Larger requests are refused with 413; images and files come as base64 within the body."""

_MODEL_PREFIX = "scenario:"
_HIDDEN = "(hidden)"
_SECRET_HEADERS = ("authorization", "api-key", "cookie", "proxy-authorization", "x-api-key")
_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})
_EVENT_STREAM = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
_RATE_LIMITS = {
    "openai-version": "2020-10-01",
    "x-ratelimit-limit-requests": "10000",
    "x-ratelimit-limit-tokens": "2000000",
    "x-ratelimit-remaining-requests": "9999",
    "x-ratelimit-remaining-tokens": "1999990",
    "x-ratelimit-reset-requests": "6ms",
    "x-ratelimit-reset-tokens": "0s",
}

_FIELD_TYPES: Mapping[str, tuple[type[object], ...]] = {
    "model": (str,),
    "input": (str, list),
    "stream": (bool,),
    "tools": (list,),
    "metadata": (dict,),
}

_RECEIVED_AT: ContextVar[float] = ContextVar("received_at")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request that the server received, for a test to look at.

    Attributes:
        method: such as ``"POST"``.
        path: such as ``"/v1/responses"``, with the query if there was one.
        headers: by name, in any case; keys and cookies are hidden.
        body: the parsed JSON, or None where there was none.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: JsonValue


RECORDED_REQUESTS: web.AppKey[deque[RecordedRequest]] = web.AppKey("RECORDED_REQUESTS", deque[RecordedRequest])
"""Where an application made by ``create_app`` keeps the requests it received."""


def create_app(
    *,
    scenario: str | Scenario = "text",
    tokens_per_second: float | None = None,
    api_key: str | None = None,
) -> web.Application:
    """Make the application that ``LocalServer`` runs, for a program that runs aiohttp applications itself.

    Args:
        scenario: what answers a request that asks for nothing else: a name from ``SCENARIOS`` or a function of yours.
        tokens_per_second: how fast deltas are sent; None or 0 means as fast as possible.
        api_key: the only key that is accepted; None accepts everybody.

    Raises:
        UsageError: no scenario is called that, or the pace is negative.
    """
    api = _Api(scenario, _checked_pace(tokens_per_second), api_key)
    app = web.Application(client_max_size=MAX_REQUEST_BYTES, middlewares=[api.middleware])
    app[RECORDED_REQUESTS] = api.requests
    app.add_routes(api.routes())
    app.on_response_prepare.append(_add_headers)
    app.on_shutdown.append(api.cancel_streams)
    return app


class LocalServer:
    """A Responses server on this machine, running for as long as its ``async with`` block::

        async with LocalServer(scenario="reasoning", tokens_per_second=50) as server:
            client = AsyncOpenAI(base_url=server.url, api_key="any")

    A request chooses another scenario by the model ``scenario:NAME``, the header ``x-streamkit-scenario`` or
    ``metadata.scenario``. Leaving the block cuts the streams that are still open.

    Args:
        host: the address to listen on.
        port: the port to listen on; 0 lets the system choose a free one.
        scenario: what answers a request that asks for nothing else: a name from ``SCENARIOS`` or a function of yours.
        tokens_per_second: how fast deltas are sent; None or 0 means as fast as possible.
        api_key: the only key that is accepted; None accepts everybody.

    Raises:
        UsageError: no scenario is called that, or the pace is negative.
        OSError: on entering, the port is taken or the address is not one of this machine.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        scenario: str | Scenario = "text",
        tokens_per_second: float | None = None,
        api_key: str | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._app = create_app(scenario=scenario, tokens_per_second=tokens_per_second, api_key=api_key)
        self._runner = web.AppRunner(self._app, access_log=None, handler_cancellation=True)

    @property
    def url(self) -> str:
        """The base URL to give to a client, such as ``http://127.0.0.1:43211/v1``.

        Raises:
            UsageError: the server is not running; enter its ``async with`` block first.
        """
        if not self._runner.addresses:
            raise UsageError("the server is not running, so it has no address; use `async with LocalServer(...)`")
        host, port = self._runner.addresses[0][:2]
        return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests received so far, the oldest first; the last ``MAX_RECORDED_REQUESTS`` of them."""
        recorded = self._app[RECORDED_REQUESTS]
        return list(recorded)

    async def serve_forever(self) -> None:
        """Wait until cancelled, which is what a program does that is nothing but this server."""
        await asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError:
            await self._runner.cleanup()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()


class _ApiError(Exception):
    """A refusal, in the words and the shape of the API."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.body: JsonObject = {
            "error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}
        }


class _Api:
    """The endpoints, and what they share: the default scenario, the stored responses, the streams in flight."""

    def __init__(self, scenario: str | Scenario, tokens_per_second: float, api_key: str | None) -> None:
        self.requests: deque[RecordedRequest] = deque(maxlen=MAX_RECORDED_REQUESTS)
        self._scenario = lookup(scenario) if isinstance(scenario, str) else scenario
        self._tokens_per_second = tokens_per_second
        self._api_key = api_key
        self._store = ResponseStore()
        self._streams: set[asyncio.Task[None]] = set()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/responses", self._create),
            web.get("/v1/responses/{id}", self._retrieve),
            web.delete("/v1/responses/{id}", self._delete),
            web.post("/v1/responses/{id}/cancel", self._cancel),
            web.get("/v1/responses/{id}/input_items", self._list_input_items),
            web.get("/v1/models", self._list_models),
            web.get("/v1/models/{id}", self._retrieve_model),
        ]

    async def cancel_streams(self, _app: web.Application) -> None:
        """Cut the streams in flight, so that nobody waits for a paced answer when the server closes."""
        streams = list(self._streams)
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)

    @web.middleware
    async def middleware(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Note the request, check its key, and give every refusal the shape of the API."""
        _RECEIVED_AT.set(time.monotonic())
        try:
            self.requests.append(await _record(request))
            self._check_key(request)
            return await handler(request)
        except _ApiError as error:
            return _json(error.body, status=error.status, headers=error.headers)
        except UsageError as error:
            return _json(_ApiError(str(error)).body, status=400)
        except web.HTTPException as error:
            refusal = _in_api_words(error, request)
            return _json(refusal.body, status=refusal.status, headers=refusal.headers)

    def _check_key(self, request: web.Request) -> None:
        if self._api_key is None:
            return
        given = request.headers.get("authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, f"Bearer {self._api_key}".encode()):
            raise _ApiError("Incorrect API key provided.", status=401, code="invalid_api_key")

    async def _create(self, request: web.Request) -> web.StreamResponse:
        body = await _read_object(request)
        _check_body(body)
        self._check_calls_are_answered(body)
        pace = _asked_pace(request, self._tokens_per_second)
        events = play(self._chosen_scenario(request, body), body, make_id=_random_id, created_at=int(time.time()))
        if body.get("stream") is True:
            return await self._stream(request, self._storing(events, body), pace)
        return _whole_answer(list(self._storing(events, body))[-1])

    def _check_calls_are_answered(self, body: JsonObject) -> None:
        items, previous = input_items(body), self._previous(body)
        calls = call_ids(items, "function_call")
        if previous is not None:
            calls |= previous.open_calls()
        for call_id in sorted(calls - call_ids(items, "function_call_output")):
            raise _ApiError(f"No tool output found for function call {call_id}.", param="input")

    def _previous(self, body: JsonObject) -> StoredResponse | None:
        previous_id = body.get("previous_response_id")
        previous = self._store.get(str(previous_id))
        if previous is None and previous_id is not None:
            raise _ApiError(
                f"Previous response with id '{previous_id}' not found.",
                code="previous_response_not_found",
                param="previous_response_id",
            )
        return previous

    def _chosen_scenario(self, request: web.Request, body: JsonObject) -> Scenario:
        model, metadata = str(body["model"]), section(body, "metadata")
        named = model.removeprefix(_MODEL_PREFIX) if model.startswith(_MODEL_PREFIX) else None
        name = named or request.headers.get(SCENARIO_HEADER) or metadata.get("scenario")
        return self._scenario if name is None else lookup(str(name))

    def _storing(self, events: list[JsonObject], body: JsonObject) -> Iterator[JsonObject]:
        """Pass the events on; the response is stored as soon as its end is about to be told, and not before."""
        for event in events:
            response = event.get("response")
            if event["type"] in _TERMINAL and isinstance(response, dict) and body.get("store") is not False:
                self._store.add(StoredResponse(response, input_items(body)))
            yield event

    async def _stream(
        self, request: web.Request, events: Iterator[JsonObject], tokens_per_second: float
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=_EVENT_STREAM)
        loop = asyncio.get_running_loop()
        pace = Pace(tokens_per_second, start=loop.time())
        # A client may leave whenever it likes; that ends its stream and is no error of the server's.
        with self._in_flight(request), suppress(ConnectionError):
            await response.prepare(request)
            await send_events(events, write=response.write, pace=pace, clock=loop.time, sleep=asyncio.sleep)
        return response

    @contextmanager
    def _in_flight(self, request: web.Request) -> Generator[None]:
        self._streams.add(request.task)
        try:
            yield
        finally:
            self._streams.discard(request.task)

    def _stored(self, request: web.Request) -> StoredResponse:
        response_id = request.match_info["id"]
        stored = self._store.get(response_id)
        if stored is None:
            raise _ApiError(f"Response with id '{response_id}' not found.", status=404, param="id")
        return stored

    async def _retrieve(self, request: web.Request) -> web.Response:
        stored = self._stored(request)
        if request.query.get("stream") == "true":
            raise _ApiError("Only a background response can be streamed again.", param="stream")
        return _json(stored.response)

    async def _delete(self, request: web.Request) -> web.Response:
        response_id = str(self._stored(request).response["id"])
        self._store.delete(response_id)
        return _json({"id": response_id, "object": "response", "deleted": True})

    async def _cancel(self, request: web.Request) -> web.Response:
        self._stored(request)
        raise _ApiError("Only a background response can be cancelled; close the connection to stop any other.")

    async def _list_input_items(self, request: web.Request) -> web.Response:
        items = [{"id": f"item_{index}", **item} for index, item in enumerate(self._stored(request).input)]
        if request.query.get("order") != "asc":
            items.reverse()
        return _json(_page(items))

    async def _list_models(self, _request: web.Request) -> web.Response:
        return _json(_page([_model(f"{_MODEL_PREFIX}{name}") for name in SCENARIOS]))

    async def _retrieve_model(self, request: web.Request) -> web.Response:
        model = request.match_info["id"]
        if model.removeprefix(_MODEL_PREFIX) not in SCENARIOS:
            raise _ApiError(f"The model '{model}' does not exist.", status=404, code="model_not_found", param="model")
        return _json(_model(model))


def _json(body: JsonValue, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=to_json(body), status=status, headers=headers, content_type="application/json")


def _page(items: list[JsonObject]) -> JsonObject:
    first, last = (items[0]["id"], items[-1]["id"]) if items else (None, None)
    return {"object": "list", "data": list(items), "first_id": first, "last_id": last, "has_more": False}


def _model(model_id: str) -> JsonObject:
    return {"id": model_id, "object": "model", "created": 1_767_225_600, "owned_by": "streamkit"}


def _whole_answer(last: JsonObject) -> web.Response:
    """What a request without ``stream`` gets: the response, or the error that took its place."""
    if last["type"] in _TERMINAL:
        return _json(last["response"])
    if last["type"] == "error":
        error = last.get("error")
        facts = error if isinstance(error, dict) else last
        message, code = facts["message"], facts["code"]
    else:
        message, code = "The response ended early.", None
    return _json({"error": {"message": message, "type": "server_error", "param": None, "code": code}}, status=500)


async def _record(request: web.Request) -> RecordedRequest:
    headers = request.headers.copy()
    for name in _SECRET_HEADERS:
        if name in headers:
            headers[name] = _HIDDEN
    body: JsonValue = None
    with suppress(ValueError):
        body = from_json(await request.read(), allow_inf_nan=False)
    return RecordedRequest(request.method, request.path_qs, headers, body)


async def _read_object(request: web.Request) -> JsonObject:
    try:
        body: JsonValue = from_json(await request.read(), allow_inf_nan=False)
    except ValueError as error:
        raise _ApiError(f"We could not parse the JSON body of your request: {error}.") from None
    if not isinstance(body, dict):
        raise _ApiError("The body of your request is not a JSON object.")
    return body


def _check_body(body: JsonObject) -> None:
    if body.get("model") is None:
        raise _ApiError("Missing required parameter: 'model'.", code="missing_required_parameter", param="model")
    for name, kinds in _FIELD_TYPES.items():
        if not isinstance(body.get(name), (*kinds, NoneType)):
            raise _ApiError(f"Invalid type for '{name}'.", code="invalid_type", param=name)
    if body.get("background") is True:
        raise _ApiError("This server has no background mode.", code="unsupported_parameter", param="background")


def _checked_pace(tokens_per_second: float | None) -> float:
    pace = tokens_per_second or 0.0
    if pace < 0 or not math.isfinite(pace):
        raise UsageError(f"tokens_per_second must be a number from 0 on, not {tokens_per_second}")
    return pace


def _asked_pace(request: web.Request, default: float) -> float:
    asked = request.headers.get(TOKENS_PER_SECOND_HEADER)
    if asked is None:
        return default
    try:
        return _checked_pace(float(asked))
    except ValueError:
        raise _ApiError(f"{TOKENS_PER_SECOND_HEADER} is not a number: {asked!r}.") from None


def _in_api_words(error: web.HTTPException, request: web.Request) -> _ApiError:
    """A refusal of the router, which answers in plain text, as the API would put it."""
    place = f"{request.method} {request.path}"
    if isinstance(error, web.HTTPMethodNotAllowed):
        headers = {"Allow": error.headers["Allow"]}
        return _ApiError(f"Not allowed to {place}.", status=405, code="method_not_supported", headers=headers)
    if error.status == web.HTTPNotFound.status_code:
        return _ApiError(f"Invalid URL ({place})", status=404)
    return _ApiError(f"{error.reason} ({place})", status=error.status)


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    spent = time.monotonic() - _RECEIVED_AT.get()
    response.headers.update(_RATE_LIMITS)
    response.headers["x-request-id"] = _random_id("req")
    response.headers["openai-processing-ms"] = str(int(spent * 1000))


def _random_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(16)}"
