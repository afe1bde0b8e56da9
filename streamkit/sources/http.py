"""Responses over HTTP: the ``Client``, and the source that one of its requests is."""

import os
import ssl
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import aiohttp
from pydantic_core import PydanticSerializationError, to_json
from yarl import URL

from streamkit.clocks import Timeouts
from streamkit.codec import decode, decode_strictly
from streamkit.errors import ClockExpired, ConnectFailed, ConnectionLost, StreamkitError, UsageError
from streamkit.failures import from_body, request_id
from streamkit.outcome import Opened
from streamkit.response import Response
from streamkit.run import Handlers, StreamRun
from streamkit.sse import MAX_EVENT_BYTES

DEFAULT_BASE_URL = "https://api.openai.com/v1"
MAX_CONNECTIONS = 1000
"""Connections of a client's own session; each open stream holds one. Further streams wait for one to be free."""
ERROR_BODY_BYTES = 64 * 1024
"""How much of the body of an error is read."""


class Client:
    """Streams responses from one server that speaks the Responses API.

    Use it as ``async with Client() as client`` and share it: it keeps connections open between requests.

    Args:
        base_url: the address up to and without ``/responses``; by default ``OPENAI_BASE_URL``, else OpenAI's own.
        api_key: by default ``OPENAI_API_KEY``. A server on this machine needs none.
        organization, project: sent as ``OpenAI-Organization`` and ``OpenAI-Project``.
        headers: sent with every request; they replace headers of the same name.
        session: an ``aiohttp.ClientSession`` to use; it stays yours to close, with its own limits and proxies.
        timeouts: the clocks of each run.
        max_event_bytes: the largest event to accept.
        max_connections: open streams at a time; not used with a ``session``.
        strict: end a run at the first event that does not fit its model, instead of delivering an ``InvalidEvent``.

    Raises:
        UsageError: ``base_url`` is not an ``http://`` or ``https://`` address.
    """

    def __init__(
        self,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        organization: str | None = None,
        project: str | None = None,
        headers: Mapping[str, str] | None = None,
        session: aiohttp.ClientSession | None = None,
        timeouts: Timeouts | None = None,
        max_event_bytes: int = MAX_EVENT_BYTES,
        max_connections: int = MAX_CONNECTIONS,
        strict: bool = False,
    ) -> None:
        self.base_url = _checked_url(base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL)
        self.timeouts = timeouts or Timeouts()
        self._headers = _headers(
            api_key=api_key or os.environ.get("OPENAI_API_KEY"),
            organization=organization or os.environ.get("OPENAI_ORG_ID"),
            project=project or os.environ.get("OPENAI_PROJECT_ID"),
            extra=headers or {},
        )
        self._session = session
        self._owns_session = session is None
        self._max_event_bytes = max_event_bytes
        self._max_connections = max_connections
        self._decode = decode_strictly if strict else decode

    def stream(
        self, *, timeouts: Timeouts | None = None, extra_headers: Mapping[str, str] | None = None, **request: object
    ) -> StreamRun:
        """Prepare a run; nothing is sent until it is entered with ``async with`` and driven.

        Args:
            timeouts: other clocks for this run.
            extra_headers: further headers for this request.
            request: the body of the request, as in OpenAI's API reference: ``model``, ``input``, ``tools``, …
                Models of this package, such as the items of an earlier response, may stand in ``input``.

        Raises:
            UsageError: there is no API key for a server that is not on this machine, the client is closed, or the
                request cannot be written as JSON.
        """
        headers = {**self._headers, **(extra_headers or {})}
        self._check_key(headers)
        source = _HttpSource(
            self._open_session(), URL(f"{self.base_url}/responses"), headers, _body(request), timeouts or self.timeouts
        )
        return StreamRun(
            source,
            timeouts=timeouts or self.timeouts,
            max_event_bytes=self._max_event_bytes,
            decode=self._decode,
        )

    async def run(
        self,
        *handlers: Handlers,
        timeouts: Timeouts | None = None,
        extra_headers: Mapping[str, str] | None = None,
        **request: object,
    ) -> Response:
        """Stream one response through handlers and return it.

        Raises:
            UnfinishedResponse: the response did not complete; the subclass says how it ended.
            UsageError: as ``stream``.
            Exception: whatever a handler raised, unchanged.
        """
        async with self.stream(timeouts=timeouts, extra_headers=extra_headers, **request) as run:
            return await run.dispatch(*handlers)

    async def aclose(self) -> None:
        """Close the session, unless it was given; streams that are still open are cut."""
        if self._session is not None and self._owns_session:
            await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"Client(base_url={self.base_url!r})"

    def _check_key(self, headers: Mapping[str, str]) -> None:
        host = URL(self.base_url).host or ""
        named = {name.lower() for name in headers}
        if not named & {"authorization", "api-key"} and not _is_local(host):
            raise UsageError(f"there is no API key for {host}: set OPENAI_API_KEY, or pass api_key to Client(...)")

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            # aiohttp's own timeouts are off: a run has its clocks, and a healthy stream may last for hours.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._max_connections, limit_per_host=0),
                timeout=aiohttp.ClientTimeout(total=None),
                # Proxies of the environment are for the network: they do not know the servers of this machine.
                trust_env=not _is_local(URL(self.base_url).host or ""),
            )
        if self._session.closed:
            raise UsageError("the client is closed; make a new one")
        return self._session


class _HttpSource:
    def __init__(
        self, session: aiohttp.ClientSession, url: URL, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> None:
        self._session = session
        self._url = url
        self._headers = headers
        self._body = body
        self._timeouts = timeouts

    async def open(self) -> "_HttpChunks":
        try:
            response = await self._session.post(
                self._url,
                data=self._body,
                headers=self._headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeouts.connect),
            )
        except (aiohttp.ClientError, OSError) as error:
            raise _connect_error(error, self._url, self._timeouts) from error
        except ValueError as error:
            raise UsageError(f"the request's headers, the API key among them, cannot be sent: {error}") from error
        if not 200 <= response.status < 300:
            async with response:
                raise from_body(response.status, response.headers, await _head_of(response), now=time.time())
        return _HttpChunks(response)


class _HttpChunks:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.opened = Opened(
            url=str(response.url),
            status=response.status,
            headers=response.headers,
            request_id=request_id(response.headers),
        )
        self._response = response
        self._content = response.content

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._content.readany()
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            # RuntimeError is what aiohttp raises for a connection that was closed before this read.
            raise ConnectionLost(f"the connection to {self.opened.url} was lost: {_reason(error)}") from error
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        if self._content.at_eof():
            await self._response.release()
        else:
            self._response.close()


def _checked_url(base_url: str) -> str:
    try:
        url = URL(base_url)
    except ValueError as error:
        raise UsageError(f"base_url is no address: {error}: {base_url!r}") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise UsageError(f"base_url must be an address such as 'https://api.openai.com/v1', not {base_url!r}")
    return base_url.rstrip("/")


def _headers(
    *, api_key: str | None, organization: str | None, project: str | None, extra: Mapping[str, str]
) -> dict[str, str]:
    headers = {
        "Accept": "text/event-stream",
        # Compression makes proxies hold events back until a block is full.
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "User-Agent": "streamkit",
        "Authorization": f"Bearer {api_key.strip()}" if api_key else "",
        "OpenAI-Organization": organization or "",
        "OpenAI-Project": project or "",
    }
    replaced = {name.lower() for name in extra}
    return {name: value for name, value in headers.items() if value and name.lower() not in replaced} | dict(extra)


def _is_local(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.") or host.endswith(".localhost")


def _body(request: dict[str, object]) -> bytes:
    if request.get("stream", True) is not True:
        raise UsageError("streamkit always streams: leave out stream=False")
    try:
        return to_json({**request, "stream": True}, exclude_none=True)
    except PydanticSerializationError as error:
        raise UsageError(f"the request cannot be written as JSON: {error}") from error


async def _head_of(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    try:
        while len(body) < ERROR_BODY_BYTES and (chunk := await response.content.readany()):
            body += chunk
    except (aiohttp.ClientError, OSError):
        pass  # The status says enough; a body that is cut off must not hide it.
    return bytes(body[:ERROR_BODY_BYTES])


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


def _reason(error: Exception) -> str:
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(inner, ConnectionError) and inner.errno:
        return os.strerror(inner.errno)
    text = inner.strerror if isinstance(inner, OSError) and inner.strerror else str(inner)
    return " ".join(text.split()) or type(error).__name__
