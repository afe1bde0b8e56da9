"""Bytes over HTTP: the requests to a server, and a streamed answer as a source."""

import asyncio
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from secrets import token_hex
from typing import Self

import aiohttp
import anyio
from pydantic import ValidationError
from yarl import URL

from streamkit.clocks import Timeouts
from streamkit.cursor import Cursor
from streamkit.errors import (
    ClockExpired,
    ConnectFailed,
    ConnectionLost,
    NotAnEventStream,
    ServerError,
    StreamkitError,
    UsageError,
)
from streamkit.failures import from_body, request_id, shown
from streamkit.outcome import Opened
from streamkit.response import Response
from streamkit.sources.listener import Listener

ERROR_BODY_BYTES = 64 * 1024
"""How much of the body of an error is read."""
ERROR_BODY_SECONDS = 5.0
"""For how long."""
JSON_BODY_BYTES = 16 * 1024 * 1024
"""How large the answer to ``post_json`` may be."""


@dataclass(frozen=True, slots=True)
class ResponsesApi:
    """The requests of one run to one server."""

    session: aiohttp.ClientSession
    base_url: str
    headers: Mapping[str, str]
    timeouts: Timeouts

    def address(self, path: str) -> URL:
        """Return the address of a path below the base; a query of the base, such as Azure's API version, is kept."""
        return _address(self.base_url, path)

    def create(self, path: str, body: bytes, idempotency_key: str) -> Awaitable[aiohttp.ClientResponse]:
        """Request a response and return the answer, whose body is its stream; raises as ``request``."""
        return self.request("POST", path, body=body, headers={"Idempotency-Key": idempotency_key})

    def take_up(self, response_id: str, after: int | None) -> Awaitable[aiohttp.ClientResponse]:
        """Ask for the stream of a background response, from behind an event on; raises as ``request``."""
        query = {"stream": "true"} | ({} if after is None else {"starting_after": str(after)})
        return self.request("GET", f"responses/{response_id}", query=query)

    async def retrieve(self, response_id: str) -> Response:
        """Fetch a response as it stands; raises as ``request``, and ``ServerError`` where the answer is no response."""
        answer = await self.request("GET", f"responses/{response_id}", accept="application/json")
        async with answer:
            body = await _whole_body(answer)
        try:
            response = Response.model_validate_json(body)
        except ValidationError as error:
            raise _no_response(answer, body) from error
        if response.status is None:
            raise _no_response(answer, body)
        return response

    async def cancel(self, response_id: str) -> None:
        """Ask the server to stop a background response; raises as ``request``."""
        answer = await self.request("POST", f"responses/{response_id}/cancel", accept="application/json")
        answer.close()

    async def post_json(self, path: str, body: bytes) -> bytes:
        """Post JSON to a path below the base and return the body of the answer.

        Raises:
            ServerError: the status of the answer is no success, or its body is larger than ``JSON_BODY_BYTES``.
            TransportError: there is no answer, or it is not whole within the time for a first event.
        """
        seconds = self.timeouts.first_event
        try:
            with anyio.fail_after(seconds):
                async with await self.request("POST", path, body=body, accept="application/json") as answer:
                    return await _limited_body(answer)
        except TimeoutError as error:
            raise ClockExpired("first_event", seconds or 0.0) from error

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        accept: str = "text/event-stream",
        headers: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        """Send a request and return the answer once its headers are there; the caller closes it.

        Raises:
            ServerError: its status is no success.
            TransportError: there is no answer.
        """
        url = self.address(path)
        if query is not None:
            url = url.update_query(query)
        try:
            answer = await self.session.request(
                method,
                url,
                data=body,
                headers={**self.headers, "Accept": accept, **(headers or {})},
                allow_redirects=False,
                timeout=_client_timeout(self.timeouts.connect),
            )
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            # RuntimeError is what aiohttp raises for a session that was closed.
            raise _connect_error(error, url, self.timeouts) from error
        except (TypeError, ValueError) as error:
            raise UsageError(f"the request's headers, the API key among them, cannot be sent: {error}") from error
        if 200 <= answer.status < 300:
            return answer
        async with answer:
            raise from_body(answer.status, answer.headers, await _head_of(answer), now=time.time())


@lru_cache
def _address(base_url: str, path: str) -> URL:
    base = URL(base_url)
    return base.with_path(f"{base.path.rstrip('/')}/{path}").with_query(base.query)


@lru_cache
def _client_timeout(connect: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=connect)


class HttpSource:
    """A streamed response as a source: a request, and for a background response also what follows a cut.

    Args:
        api: sends the requests.
        body: what is asked, ``None`` where a background response is only taken up.
        background: whether the response goes on when its stream is cut.
        path: where it is asked, below the base URL.
    """

    def __init__(self, api: ResponsesApi, body: bytes | None, *, background: bool, path: str = "responses") -> None:
        self._api = api
        self._body = body
        self._path = path
        self._background = background
        self._idempotency_key = f"streamkit-{token_hex(16)}"

    async def open(self, cursor: Cursor) -> "HttpChunks":
        """Request the response, or take its stream up behind the cursor where it goes on in the background."""
        if self._body is None or (self._background and cursor.response_id is not None):
            assert cursor.response_id is not None
            return HttpChunks(await self._api.take_up(cursor.response_id, cursor.position))
        # The same key for every attempt at the same response, so that a server that knows it answers once.
        key = f"{self._idempotency_key}-{cursor.restarts}"
        return HttpChunks(await self._api.create(self._path, self._body, key))


class HttpChunks:
    """The body of an answer, chunk by chunk as it comes.

    Attributes:
        opened: what the server said.
        has_more: whether something may be left that the last ``take`` did not return, be it the end.
    """

    __slots__ = ("_content", "_is_encoded", "_listener", "_response", "has_more", "opened")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.opened = Opened(
            url=str(response.url),
            status=response.status,
            headers=response.headers,
            request_id=request_id(response.headers),
        )
        self.has_more = True
        self._response = response
        self._content = response.content
        self._is_encoded = "content-encoding" in response.headers
        self._listener: Listener | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._content.readany()
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            # RuntimeError is what aiohttp raises for a connection that was closed before this read.
            raise self._lost(error) from error
        if not chunk:
            raise StopAsyncIteration
        return chunk

    def take(self) -> bytes | None:
        """Return what has come and was not taken: ``b""`` where that is nothing, ``None`` where the bytes have ended.

        Raises:
            ConnectionLost: the connection broke off before the end.
        """
        content, listener = self._content, self._listener
        came = content.total_bytes
        try:
            chunk = content.read_nowait()
        except Exception as error:
            if content.at_eof():
                return None
            # A body that cannot be decoded breaks off although its connection goes on.
            raise self._lost(error) from error
        if chunk:
            # To read may have had aiohttp decode more, or find that it cannot.
            self.has_more = listener is None or listener.is_over or self._is_encoded or content.total_bytes > came
            return chunk
        if listener is not None and not listener.is_over:
            return b""
        if content.at_eof():
            return None
        # Where its session was closed, the content is not told.
        cause = ConnectionError("it was closed on this side")
        raise self._lost(cause) from cause

    def listen(self, came: Callable[[], None]) -> None:
        """From now on, have a function called whenever there may be something to take."""
        connection = self._response.connection
        transport = None if connection is None else connection.transport
        # None where all has come already; and a connection over TLS that is just being lost has no protocol any more.
        if transport is not None and isinstance(transport.get_protocol(), asyncio.Protocol):
            self._listener = Listener(transport, self._content, came)

    async def aclose(self) -> None:
        """Give the connection back if its answer was read to the end, else close it."""
        if self._listener is not None:
            self._listener.stop()
        if self._content.at_eof():
            await self._response.release()
        else:
            self._response.close()

    def _lost(self, error: BaseException) -> ConnectionLost:
        return ConnectionLost(f"the connection to {self.opened.url} was lost: {_reason(error)}")


async def _head_of(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    try:
        with anyio.move_on_after(ERROR_BODY_SECONDS):
            while len(body) < ERROR_BODY_BYTES and (chunk := await response.content.readany()):
                body += chunk
    except (aiohttp.ClientError, OSError):
        pass  # The status says enough; a body that is cut off, or stalls, must not hide it.
    return bytes(body[:ERROR_BODY_BYTES])


async def _whole_body(answer: aiohttp.ClientResponse) -> bytes:
    try:
        return await answer.read()
    except (aiohttp.ClientError, OSError, RuntimeError) as error:
        raise ConnectionLost(f"the connection to {answer.url} was lost: {_reason(error)}") from error


async def _limited_body(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    try:
        while chunk := await answer.content.readany():
            body += chunk
            if len(body) > JSON_BODY_BYTES:
                message = f"{answer.url} answered with more than {JSON_BODY_BYTES:,} bytes"
                raise ServerError(message, status=answer.status, request_id=request_id(answer.headers))
    except (aiohttp.ClientError, OSError, RuntimeError) as error:
        raise ConnectionLost(f"the connection to {answer.url} was lost: {_reason(error)}") from error
    return bytes(body)


def _no_response(answer: aiohttp.ClientResponse, body: bytes) -> NotAnEventStream:
    return NotAnEventStream(
        f"{answer.url} answered with something that is no response, beginning {shown(body)!r}",
        content_type=answer.headers.get("content-type"),
        body_head=body[:ERROR_BODY_BYTES],
        status=answer.status,
        request_id=request_id(answer.headers),
    )


def _connect_error(error: Exception, url: URL, timeouts: Timeouts) -> StreamkitError:
    address = str(url.origin())
    if isinstance(error, aiohttp.ServerTimeoutError) and timeouts.connect is not None:
        return ClockExpired("connect", timeouts.connect)
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError | ssl.SSLError):
        message = f"no secure connection to {address}: {_reason(error)}; check the certificate and the port"
    elif isinstance(error, aiohttp.ClientConnectorDNSError):
        message = f"cannot find {url.host}: {_reason(error)}; check base_url and the network"
    elif isinstance(error, aiohttp.ClientConnectorError):
        message = (
            f"cannot connect to {address}: {_reason(error)}; check that the server runs and that base_url is right"
        )
    else:
        message = f"{address} did not answer the request: {_reason(error)}"
    return ConnectFailed(message, url=str(url))


def _reason(error: BaseException) -> str:
    inner = _cause(error)
    if isinstance(inner, ConnectionError) and inner.errno:
        return os.strerror(inner.errno)
    text = inner.strerror if isinstance(inner, OSError) and inner.strerror else str(inner)
    return " ".join(text.split()) or type(error).__name__


def _cause(error: BaseException) -> BaseException:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return error.certificate_error
    return error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
