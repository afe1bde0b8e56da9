"""The client: one server that speaks the Responses API, and the runs that its responses are."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Literal, Self
from weakref import WeakSet

import aiohttp
from pydantic_core import PydanticSerializationError, to_json
from yarl import URL

from streamkit.clocks import Timeouts
from streamkit.codec import decode, decode_strictly
from streamkit.cursor import Cursor, Retry
from streamkit.dispatch.on import State
from streamkit.errors import UsageError
from streamkit.limits import Limits
from streamkit.response import Response
from streamkit.run import Handlers, StreamRun
from streamkit.source import Background, Source
from streamkit.sources.cassette import Cassette
from streamkit.sources.http import HttpSource, ResponsesApi
from streamkit.sources.recording import Recording
from streamkit.sources.redaction import HttpRequest
from streamkit.stage import Stage

DEFAULT_BASE_URL = "https://api.openai.com/v1"
DEFAULT_RETRY = Retry()


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
        retry: when failed attempts are made again; ``None`` for never.
        limits: how much to accept.
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
        retry: Retry | None = DEFAULT_RETRY,
        limits: Limits | None = None,
        strict: bool = False,
    ) -> None:
        self.base_url = _checked_url(base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL)
        self.timeouts = timeouts or Timeouts()
        self.retry = retry
        self._headers = _headers(
            api_key=api_key or os.environ.get("OPENAI_API_KEY"),
            organization=organization or os.environ.get("OPENAI_ORG_ID"),
            project=project or os.environ.get("OPENAI_PROJECT_ID"),
            extra=headers or {},
        )
        self._session = session
        self._owns_session = session is None
        self._closed = False
        self._runs: WeakSet[StreamRun[object]] = WeakSet()
        self._limits = limits or Limits()
        self._decode = decode_strictly if strict else decode

    def stream(
        self,
        *,
        timeouts: Timeouts | None = None,
        retry: Retry | Literal["default"] | None = "default",
        restart: Literal["never", "allowed"] = "never",
        extra_headers: Mapping[str, str] | None = None,
        record: str | os.PathLike[str] | None = None,
        state: State | None = None,
        stages: Sequence[Stage] = (),
        **request: object,
    ) -> StreamRun[State]:
        """Prepare a run; nothing is sent until it is entered with ``async with`` and driven.

        With ``background=True`` in the request the response goes on at the server when the stream is cut; the run takes
        it up again where it broke off, and handlers notice nothing.

        Args:
            timeouts: other clocks for this run.
            retry: another retry policy for this run; ``None`` for no retries.
            restart: ``"allowed"`` requests a response anew that broke off and cannot be taken up. Handlers get a
                ``Restarted`` notice then, and must discard what they have; tokens are paid again. An iteration asks
                for it: ``run.events(OutputTextDelta, Restarted)``.
            extra_headers: further headers for this request.
            record: a file to write the stream into as it comes, for ``replay``; it is overwritten, and holds no secret.
            state: what ``run.state`` is for handlers; by default an empty ``SimpleNamespace``.
            stages: what stands between the stream and its handlers, such as ``smooth()``, one behind the other.
            request: the body of the request, as in OpenAI's API reference: ``model``, ``input``, ``tools``, …
                Models of this package, such as the items of an earlier response, may stand in ``input``.

        Raises:
            UsageError: there is no API key for a server that is not on this machine, the client is closed, or the
                request cannot be written as JSON.
        """
        api = self._api(extra_headers, timeouts)
        body = _body(request)
        asked = HttpRequest(method="POST", url=str(api.address("responses")), headers=api.headers, body=body)
        background = request.get("background") is True
        return self._run(
            *_recorded(HttpSource(api, body, background=background), api if background else None, record, asked),
            timeouts=timeouts,
            retry=retry,
            restart=restart == "allowed",
            model=request.get("model"),
            state=state,
            stages=stages,
        )

    def resume(
        self,
        response_id: str,
        *,
        after: int | None = None,
        timeouts: Timeouts | None = None,
        retry: Retry | Literal["default"] | None = "default",
        extra_headers: Mapping[str, str] | None = None,
        record: str | os.PathLike[str] | None = None,
        state: State | None = None,
        stages: Sequence[Stage] = (),
    ) -> StreamRun[State]:
        """Prepare a run that takes up a background response, in this process or another than began it.

        Args:
            response_id: the response's id, as ``run.response_id`` tells it.
            after: the ``sequence_number`` of the last event already handled; ``None`` for all events from the first.
                Without what came before, ``run.text`` and ``run.snapshot()`` are partial until the response ends.
            timeouts: other clocks for this run.
            retry: another retry policy for this run; ``None`` for no retries.
            extra_headers: further headers for this request.
            record: a file to write the stream into as it comes; it is overwritten, and holds no secret.
            state: what ``run.state`` is for handlers.
            stages: what stands between the stream and its handlers, one behind the other.

        Raises:
            UsageError: there is no API key for a server that is not on this machine, the client is closed, or
                ``response_id`` cannot be the name of a response.
        """
        if not response_id or response_id in {".", ".."} or "/" in response_id:
            raise UsageError(f"{response_id!r} is no response id")
        api = self._api(extra_headers, timeouts)
        asked = HttpRequest(method="GET", url=str(api.address(f"responses/{response_id}")), headers=api.headers)
        return self._run(
            *_recorded(HttpSource(api, None, background=True), api, record, asked),
            cursor=Cursor(response_id, after),
            timeouts=timeouts,
            retry=retry,
            state=state,
            stages=stages,
        )

    def replay(
        self,
        path: str | os.PathLike[str],
        *,
        speed: float = 0,
        timeouts: Timeouts | None = None,
        retry: Retry | Literal["default"] | None = "default",
        restart: Literal["never", "allowed"] = "never",
        state: State | None = None,
        stages: Sequence[Stage] = (),
        **request: object,
    ) -> StreamRun[State]:
        """Prepare a run that gets from a recording what the recorded run got from the server; nothing is sent.

        Attempts that failed are made again, as they were then, if the retry policy is the same.

        Args:
            path: a file that ``record`` wrote, or an event stream that was saved as it came.
            speed: 0 plays as fast as possible and waits for no retries, 1 plays as fast as it was recorded, and so on.
            timeouts: other clocks for this run.
            retry: another retry policy for this run; ``None`` for no retries.
            restart: whether the recorded run was allowed to request the response anew.
            state: what ``run.state`` is for handlers.
            stages: what stands between the stream and its handlers, one behind the other.
            request: what is asked, to make sure that it is what was asked then; none of it to replay whatever it was.

        Raises:
            UsageError: the recording cannot be read, or another request was recorded.
        """
        cassette = Cassette(path, speed=speed)
        if request:
            cassette.check_request(_body(request))
        policy = self.retry if retry == "default" else retry
        return self._run(
            cassette,
            cassette if cassette.background else None,
            cursor=cassette.cursor,
            timeouts=timeouts,
            retry=policy if speed or policy is None else _without_waits(policy),
            restart=restart == "allowed",
            model=request.get("model"),
            state=state,
            stages=stages,
        )

    async def run(
        self,
        *handlers: Handlers[State],
        timeouts: Timeouts | None = None,
        retry: Retry | Literal["default"] | None = "default",
        restart: Literal["never", "allowed"] = "never",
        extra_headers: Mapping[str, str] | None = None,
        record: str | os.PathLike[str] | None = None,
        state: State | None = None,
        stages: Sequence[Stage] = (),
        **request: object,
    ) -> Response:
        """Stream one response through handlers and return it; the arguments are those of ``stream``.

        Raises:
            UnfinishedResponse: the response did not complete; the subclass says how it ended.
            UsageError: as ``stream``.
            Exception: whatever a handler raised, unchanged.
        """
        run = self.stream(
            timeouts=timeouts,
            retry=retry,
            restart=restart,
            extra_headers=extra_headers,
            record=record,
            state=state,
            stages=stages,
            **request,
        )
        async with run:
            return await run.dispatch(*handlers)

    async def aclose(self) -> None:
        """Cancel the runs that are still open, and close the session unless it was given."""
        self._closed = True
        # A read that is waiting does not hear of its session being closed.
        for run in list(self._runs):
            run.cancel()
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

    def _api(self, extra_headers: Mapping[str, str] | None, timeouts: Timeouts | None) -> "ResponsesApi":
        headers = {**self._headers, **(extra_headers or {})}
        self._check_key(headers)
        return ResponsesApi(self._open_session(), self.base_url, headers, timeouts or self.timeouts)

    def _run(
        self,
        source: Source,
        background: Background | None,
        *,
        timeouts: Timeouts | None,
        retry: Retry | Literal["default"] | None,
        cursor: Cursor | None = None,
        restart: bool = False,
        model: object = None,
        state: State | None = None,
        stages: Sequence[Stage] = (),
    ) -> StreamRun[State]:
        run = StreamRun(
            source,
            cursor=cursor,
            background=background,
            timeouts=timeouts or self.timeouts,
            retry=self.retry if retry == "default" else retry,
            restart=restart,
            limits=self._limits,
            decode=self._decode,
            model=model if isinstance(model, str) else None,
            base_url=self.base_url,
            state=state,
            stages=stages,
        )
        self._runs.add(run)
        return run

    def _check_key(self, headers: Mapping[str, str]) -> None:
        host = URL(self.base_url).host or ""
        named = {name.lower() for name in headers}
        if not named & {"authorization", "api-key"} and not _is_local(host):
            raise UsageError(f"there is no API key for {host}: set OPENAI_API_KEY, or pass api_key to Client(...)")

    def _open_session(self) -> aiohttp.ClientSession:
        if self._closed or (self._session is not None and self._session.closed):
            raise UsageError("the client, or the session it was given, is closed; make a new one")
        if self._session is None:
            # aiohttp's own timeouts are off: a run has its clocks, and a healthy stream may last for hours.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._limits.max_connections, limit_per_host=0),
                max_line_size=self._limits.max_header_bytes,
                max_field_size=self._limits.max_header_bytes,
                timeout=aiohttp.ClientTimeout(total=None),
                # Proxies of the environment are for the network: they do not know the servers of this machine.
                trust_env=not _is_local(URL(self.base_url).host or ""),
            )
        return self._session


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


def _recorded(
    source: Source, background: Background | None, path: str | os.PathLike[str] | None, request: HttpRequest
) -> tuple[Source, Background | None]:
    """Return the source and the background of a run, recorded where a path is given."""
    if path is None:
        return source, background
    recording = Recording(source, path, background=background, request=request)
    return recording, recording if background is not None else None


def _without_waits(retry: Retry) -> Retry:
    return replace(retry, first_delay=0.0, longest_delay=0.0, longest_retry_after=0.0, poll_every=0.0)


def _body(request: dict[str, object]) -> bytes:
    if request.get("stream", True) is not True:
        raise UsageError("streamkit always streams: leave out stream=False")
    try:
        return to_json({**request, "stream": True}, exclude_none=True)
    except PydanticSerializationError as error:
        raise UsageError(f"the request cannot be written as JSON: {error}") from error
