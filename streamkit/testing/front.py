"""What happens around every endpoint: the record of requests, the key, the faults, the headers of every answer."""

import asyncio
import hmac
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import TypeAlias

from aiohttp import web

from streamkit.errors import UsageError
from streamkit.testing.answers import Answer
from streamkit.testing.api import wants_stream
from streamkit.testing.api_error import ApiError, in_api_words
from streamkit.testing.delivery import deliver
from streamkit.testing.endpoint import Endpoint
from streamkit.testing.fault import Fault, Occasion, apply_faults
from streamkit.testing.fault_list import parse_faults
from streamkit.testing.ids import random_id
from streamkit.testing.incoming import FAULTS_HEADER, RecordedRequest, record

Faults: TypeAlias = Sequence[Fault] | Callable[[RecordedRequest], Iterable[Fault]]
"""Faults for every request, or a function that chooses them for each."""

MAX_RECORDED_REQUESTS = 1_000
"""The oldest recorded request is forgotten when one more than this comes in."""

MAX_COUNTED_REQUESTS = 10_000
"""So many different requests are remembered for counting attempts at each; then the oldest is forgotten."""

_HEADERS = {
    "openai-version": "2020-10-01",
    "x-ratelimit-limit-requests": "10000",
    "x-ratelimit-limit-tokens": "2000000",
    "x-ratelimit-remaining-requests": "9999",
    "x-ratelimit-remaining-tokens": "1999990",
    "x-ratelimit-reset-requests": "6ms",
    "x-ratelimit-reset-tokens": "0s",
}
_RECEIVED_AT: ContextVar[float] = ContextVar("received_at")
_CURRENT: ContextVar[RecordedRequest] = ContextVar("current")
_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Front:
    """Stands between aiohttp and the endpoints.

    Attributes:
        requests: the requests received, the oldest first.
    """

    def __init__(self, *, api_key: str | None, faults: Faults) -> None:
        self.requests: deque[RecordedRequest] = deque(maxlen=MAX_RECORDED_REQUESTS)
        self._numbers = count(1)
        self._api_key = api_key
        self._faults = faults
        self._attempts = Attempts()
        self._answering: set[asyncio.Task[None]] = set()

    @web.middleware
    async def middleware(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Record the request, check its key, and give every refusal the shape of the API."""
        _RECEIVED_AT.set(time.monotonic())
        try:
            recorded = await record(request, number=next(self._numbers))
            self.requests.append(recorded)
            _CURRENT.set(recorded)
            self._check_key(request)
            return await handler(request)
        except (ApiError, UsageError, web.HTTPException) as error:
            return await deliver(request, _refusal(error, request))

    def handler(self, endpoint: Endpoint) -> _Handler:
        """Make an endpoint into a handler of aiohttp, whose answers suffer the faults that strike them."""

        async def handle(request: web.Request) -> web.StreamResponse:
            faults = self._striking(request)
            carried_out = not any(fault.replaces_answer for fault in faults)
            answer = await _answer(endpoint, request) if carried_out else Answer()
            with self._in_flight(request):
                return await deliver(request, apply_faults(faults, answer))

        return handle

    async def close(self) -> None:
        """Cut the answers in flight, so that nobody waits for a slow one when the server closes."""
        answering = list(self._answering)
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)

    async def add_headers(self, _request: web.Request, response: web.StreamResponse) -> None:
        """Add the headers that the API sends with every answer, unless the answer has its own."""
        spent = time.monotonic() - _RECEIVED_AT.get()
        own = {"x-request-id": random_id("req"), "openai-processing-ms": str(int(spent * 1000))}
        for name, text in (_HEADERS | own).items():
            response.headers.setdefault(name, text)

    def _check_key(self, request: web.Request) -> None:
        if self._api_key is None:
            return
        given = request.headers.get("authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, f"Bearer {self._api_key}".encode()):
            raise ApiError("Incorrect API key provided.", status=401, code="invalid_api_key")

    def _striking(self, request: web.Request) -> list[Fault]:
        occasion = self._occasion(request)
        return [fault for fault in self._chosen_faults(request) if fault.strikes(occasion)]

    def _chosen_faults(self, request: web.Request) -> Iterable[Fault]:
        text = request.headers.get(FAULTS_HEADER)
        if text is not None:
            return parse_faults(text)
        return self._faults(_CURRENT.get()) if callable(self._faults) else self._faults

    def _occasion(self, request: web.Request) -> Occasion:
        resumes = request.method == "GET" and wants_stream(request)
        place = f"{request.method} {request.path} {resumes}"
        attempt = self._attempts.count(request.headers.get("idempotency-key", place))
        if resumes:
            return Occasion(attempt, connection=attempt + 1)
        body = _CURRENT.get().body
        creates = isinstance(body, dict) and body.get("stream") is True
        return Occasion(attempt, connection=int(creates))

    @contextmanager
    def _in_flight(self, request: web.Request) -> Generator[None]:
        self._answering.add(request.task)
        try:
            yield
        finally:
            self._answering.discard(request.task)


class Attempts:
    """Counts requests by what makes them the same, remembering the last ``limit`` of those."""

    def __init__(self, *, limit: int = MAX_COUNTED_REQUESTS) -> None:
        self._limit = limit
        self._counts: dict[str, int] = {}

    def count(self, key: str) -> int:
        """Count one more, and return how many that makes."""
        # Taken out and put in again, the key counts as the youngest.
        attempt = self._counts.pop(key, 0) + 1
        self._counts[key] = attempt
        if len(self._counts) > self._limit:
            del self._counts[next(iter(self._counts))]
        return attempt


async def _answer(endpoint: Endpoint, request: web.Request) -> Answer:
    try:
        return await endpoint(request)
    except (ApiError, UsageError) as error:
        return _refusal(error, request)


def _refusal(error: ApiError | UsageError | web.HTTPException, request: web.Request) -> Answer:
    if isinstance(error, web.HTTPException):
        return in_api_words(error, request).answer()
    return error.answer() if isinstance(error, ApiError) else ApiError(str(error)).answer()
