"""The client: one server that speaks Responses or Chat Completions, and the runs that its responses are."""

# To evaluate the annotations would be to make a model of every `ParsedResponse[...]`.
from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from inspect import signature
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self
from weakref import WeakSet

import aiohttp
from yarl import URL

from streamkit.api import RESPONSES, Api, api_at, api_named, json_body
from streamkit.clocks import Timeouts
from streamkit.codec import decode, decode_strictly
from streamkit.context import ApiName
from streamkit.cursor import Cursor, Retry
from streamkit.dispatch.names import did_you_mean
from streamkit.dispatch.on import State
from streamkit.errors import UsageError
from streamkit.ledger import ToolCall
from streamkit.limits import Limits
from streamkit.parsed import Parsed, ParsedResponse
from streamkit.run import Handlers, StreamRun
from streamkit.schema import OutputType, output_type
from streamkit.source import Background, Source
from streamkit.sources.cassette import Cassette
from streamkit.sources.http import HttpSource, ResponsesApi
from streamkit.sources.recording import Recording
from streamkit.sources.redaction import HttpRequest
from streamkit.stage import Stage
from streamkit.structured import conclusion, with_format
from streamkit.tools.rounds import ToolLoop, tool_loop
from streamkit.tools.toolbox import AnyTool, Approve, Toolbox, ToolErrorPolicy, ToolOptions

if TYPE_CHECKING:
    from typing_extensions import TypeForm

DEFAULT_BASE_URL = "https://api.openai.com/v1"
DEFAULT_RETRY = Retry()


class Client:
    """Streams responses from one server that speaks the Responses API, or Chat Completions.

    Use it as ``async with Client() as client`` and share it: it keeps connections open between requests.

    Args:
        base_url: the address up to and without ``/responses`` or ``/chat/completions``; by default
            ``OPENAI_BASE_URL``, else OpenAI's own.
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
        self._strict = strict

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
        api: ApiName = "responses",
        text_format: TypeForm[Parsed] | None = None,
        tools: Sequence[AnyTool] | None = None,
        max_rounds: int = 8,
        max_parallel_tools: int = 8,
        early: bool = True,
        on_tool_error: ToolErrorPolicy = "tell",
        approve: Approve | None = None,
        ledger: Iterable[ToolCall] = (),
        **request: object,
    ) -> StreamRun[State, ParsedResponse[Parsed]]:
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
            api: ``"chat"`` asks for a chat completion, with the same parameters and the same events, from servers that
                know no responses.
            text_format: what the answer is to be: a model, a dataclass, a ``TypedDict``, ``list[Model]``, … A strict
                JSON schema of it is asked for, and ``response.parsed`` is the answer as a value of it.
            tools: functions that run here, plain or made by ``tool`` or ``custom_tool``, and tools as in the API
                reference. As long as a response calls one that runs here, the run goes on with a further response that
                gets the outputs, through the same handlers; a call of any other tool ends it, for you to answer.
            max_rounds: how many responses there may be.
            max_parallel_tools: how many tools may run at the same time.
            early: a tool begins to run as soon as its call is whole; else, and with ``restart``, when the response is.
            on_tool_error: wrong arguments, an unknown tool, an exception, a timeout: ``"tell"`` the model, ``"raise"``,
                or a function of the ``ToolCall`` and the error that returns what the model is told.
            approve: an ``async`` function of the ``ToolCall`` that is asked before each call of tools that run here,
                and of MCP tools that need approval. ``True`` lets it be made; ``False``, or a text for the model,
                refuses it.
            ledger: the calls that an earlier run has attempted, such as ``outcome.ledger``: none is executed again.
            request: the body of the request, as in OpenAI's API reference: ``model``, ``input``, ``tools``, …
                Models of this package, such as the items of an earlier response, may stand in ``input``. A chat may be
                given its ``messages`` instead, and what else only chats have.

        Raises:
            UsageError: there is no API key for a server that is not on this machine, the client is closed, or the
                request cannot be written as JSON, has no counterpart in a chat, or names a parameter that looks like
                one of these, misspelt; or the answer cannot be of the ``text_format``, or a function be a tool.
        """
        _ensure_no_slip(request)
        chosen, output, toolbox = api_named(api), _output_of(text_format), Toolbox(tools)
        asked = with_format(toolbox.into(request), output)
        server = self._api(extra_headers, timeouts)
        options = ToolOptions(
            max_rounds=max_rounds,
            max_parallel=max_parallel_tools,
            early=early and restart == "never",
            on_error=on_tool_error,
            approve=approve,
        )
        loop = _further(chosen, asked, server, toolbox=toolbox, options=options, ledger=ledger, record=record)
        return self._run(
            *_asking(chosen, asked, server, record),
            api=chosen,
            loop=loop,
            timeouts=timeouts,
            retry=retry,
            restart=restart == "allowed",
            model=request.get("model"),
            state=state,
            stages=stages,
            output=output,
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
        text_format: TypeForm[Parsed] | None = None,
        tools: Sequence[AnyTool] | None = None,
        max_rounds: int = 8,
        max_parallel_tools: int = 8,
        early: bool = True,
        on_tool_error: ToolErrorPolicy = "tell",
        approve: Approve | None = None,
        ledger: Iterable[ToolCall] = (),
        **request: object,
    ) -> StreamRun[State, ParsedResponse[Parsed]]:
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
            text_format: what the answer was asked to be.
            tools, max_rounds, max_parallel_tools, early, on_tool_error, approve: as for ``stream``; tools that run here
                must be given again.
            ledger: the calls that the run before this one has attempted. Those that have an output are answered with
                it. Of others the model is told that they may have been executed: none is executed again.
            request: what further responses are asked with, besides ``model``, which is that of this one by default.

        Raises:
            UsageError: there is no API key for a server that is not on this machine, the client is closed,
                ``response_id`` cannot be the name of a response, or a function cannot be a tool.
        """
        if not response_id or response_id in {".", ".."} or "/" in response_id:
            raise UsageError(f"{response_id!r} is no response id")
        _ensure_no_slip(request)
        api = self._api(extra_headers, timeouts)
        asked = partial(_asked, "GET", api, f"responses/{response_id}")
        output, toolbox = _output_of(text_format), Toolbox(tools)
        options = ToolOptions(
            max_rounds=max_rounds,
            max_parallel=max_parallel_tools,
            early=early,
            on_error=on_tool_error,
            approve=approve,
        )
        following = with_format(toolbox.into({"background": True, **request}), output)
        loop = _further(RESPONSES, following, api, toolbox=toolbox, options=options, ledger=ledger, record=record)
        return self._run(
            *_recorded(HttpSource(api, None, background=True), api, record, asked),
            cursor=Cursor(response_id, after),
            timeouts=timeouts,
            retry=retry,
            state=state,
            stages=stages,
            output=output,
            loop=loop,
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
        api: ApiName | None = None,
        text_format: TypeForm[Parsed] | None = None,
        **request: object,
    ) -> StreamRun[State, ParsedResponse[Parsed]]:
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
            api: which API the stream is of; by default the one that was asked, which only ``record`` writes down.
            text_format: what the answer was asked to be; it is part of what is asked, where that is given.
            request: what is asked, to make sure that it is what was asked then; none of it to replay whatever it was.

        Raises:
            UsageError: the recording cannot be read, or another request was recorded.
        """
        _ensure_no_slip(request)
        cassette = Cassette(path, speed=speed)
        chosen = api_at(cassette.url) if api is None else api_named(api)
        output = _output_of(text_format)
        if request:
            cassette.check_request(chosen.body(with_format(request, output)))
        policy = self.retry if retry == "default" else retry
        return self._run(
            cassette,
            cassette if cassette.background else None,
            api=chosen,
            cursor=cassette.cursor,
            timeouts=timeouts,
            retry=policy if speed or policy is None else _without_waits(policy),
            restart=restart == "allowed",
            model=request.get("model"),
            state=state,
            stages=stages,
            output=output,
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
        api: ApiName = "responses",
        text_format: TypeForm[Parsed] | None = None,
        tools: Sequence[AnyTool] | None = None,
        max_rounds: int = 8,
        max_parallel_tools: int = 8,
        early: bool = True,
        on_tool_error: ToolErrorPolicy = "tell",
        approve: Approve | None = None,
        ledger: Iterable[ToolCall] = (),
        **request: object,
    ) -> ParsedResponse[Parsed]:
        """Stream one response through handlers and return it; the arguments are those of ``stream``.

        Raises:
            UnfinishedResponse: the response did not complete; the subclass says how it ended.
            InvalidOutput: the answer does not fit the ``text_format``.
            TooManyRounds: the model calls tools still in the last response that ``max_rounds`` allows.
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
            api=api,
            text_format=text_format,
            tools=tools,
            max_rounds=max_rounds,
            max_parallel_tools=max_parallel_tools,
            early=early,
            on_tool_error=on_tool_error,
            approve=approve,
            ledger=ledger,
            **request,
        )
        async with run:
            return await run.dispatch(*handlers)

    async def post_json(self, path: str, body: Mapping[str, object]) -> bytes:
        """Send a request in JSON to another endpoint of the server, once, and return the body of the answer.

        ``await client.post_json("moderations", {"input": "…"})`` asks the moderation endpoint. Nothing is retried; the
        clocks ``connect`` and ``first_event`` limit how long it takes.

        Args:
            path: below the base address, without a slash at its beginning.
            body: what is sent.

        Raises:
            ServerError: the server refused, or its answer is too large to be one.
            TransportError: there is no answer.
            UsageError: there is no API key for a server that is not on this machine, the client is closed, or the body
                cannot be written as JSON.
        """
        return await self._api(None, None).post_json(path, json_body(body))

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

    def _api(self, extra_headers: Mapping[str, str] | None, timeouts: Timeouts | None) -> ResponsesApi:
        headers = {**self._headers, **(extra_headers or {})}
        self._check_key(headers)
        return ResponsesApi(self._open_session(), self.base_url, headers, timeouts or self.timeouts)

    def _run(
        self,
        source: Source,
        background: Background | None,
        *,
        api: Api = RESPONSES,
        timeouts: Timeouts | None,
        retry: Retry | Literal["default"] | None,
        cursor: Cursor | None = None,
        restart: bool = False,
        model: object = None,
        state: State | None = None,
        stages: Sequence[Stage] = (),
        output: OutputType[Parsed] | None,
        loop: ToolLoop | None = None,
    ) -> StreamRun[State, ParsedResponse[Parsed]]:
        run: StreamRun[State, ParsedResponse[Parsed]] = StreamRun(
            source,
            cursor=cursor,
            background=background,
            timeouts=timeouts or self.timeouts,
            retry=self.retry if retry == "default" else retry,
            restart=restart,
            limits=self._limits,
            decode=decode_strictly if self._strict else decode,
            translator=api.strict_translator if self._strict else api.translator,
            model=model if isinstance(model, str) else None,
            base_url=self.base_url,
            api=api.name,
            state=state,
            stages=stages,
            loop=loop,
            conclude=conclusion(output),
        )
        self._runs.add(run)
        return run

    def _check_key(self, headers: Mapping[str, str]) -> None:
        host = _host_of(self.base_url)
        if not _is_local(host) and not {"authorization", "api-key"} & {name.lower() for name in headers}:
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
                trust_env=not _is_local(_host_of(self.base_url)),
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


@lru_cache
def _host_of(base_url: str) -> str:
    return URL(base_url).host or ""


def _is_local(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.") or host.endswith(".localhost")


def _ensure_no_slip(request: Mapping[str, object]) -> None:
    """Raise ``UsageError`` where a parameter is nearly one of this package, which the server would know nothing of."""
    for name in request:
        if hint := _slip(name):
            raise UsageError(f"{name!r} is no parameter of streamkit, and would be sent to the server{hint}")


@lru_cache
def _slip(name: str) -> str:
    own = [one.name for one in signature(Client.stream).parameters.values() if one.kind is one.KEYWORD_ONLY]
    return "" if name in own else did_you_mean(name, own, cutoff=0.85)


def _output_of(text_format: TypeForm[Parsed] | None) -> OutputType[Parsed] | None:
    return None if text_format is None else output_type(text_format)


def _asking(
    api: Api, request: Mapping[str, object], server: ResponsesApi, record: str | os.PathLike[str] | None
) -> tuple[Source, Background | None]:
    """Return the source and the background of a run that asks for a response, recorded where a path is given."""
    body = api.body(request)
    background = server if request.get("background") is True else None
    source = HttpSource(server, body, background=background is not None, path=api.path)
    return _recorded(source, background, record, partial(_asked, "POST", server, api.path, body))


def _asked(method: str, server: ResponsesApi, path: str, body: bytes | None = None) -> HttpRequest:
    return HttpRequest(method=method, url=str(server.address(path)), headers=server.headers, body=body)


def _further(
    api: Api,
    request: Mapping[str, object],
    server: ResponsesApi,
    *,
    toolbox: Toolbox,
    options: ToolOptions,
    ledger: Iterable[ToolCall],
    record: str | os.PathLike[str] | None,
) -> ToolLoop | None:
    """Return what goes on with further responses where tools run here, asked for like the first one.

    Raises:
        UsageError: there may be further ones, and ``record`` has room for one.
    """
    ask = partial(_asking, api, server=server, record=None)
    loop = tool_loop(request, ask, toolbox, options, ledger=ledger, whole=not api.keeps_responses)
    if record is not None and loop is not None:
        raise UsageError("record=... holds one response, and tools lead to several: leave one of the two out")
    return loop


def _recorded(
    source: Source,
    background: Background | None,
    path: str | os.PathLike[str] | None,
    asked: Callable[[], HttpRequest],
) -> tuple[Source, Background | None]:
    """Return the source and the background of a run, recorded with what was asked where a path is given."""
    if path is None:
        return source, background
    recording = Recording(source, path, background=background, request=asked())
    return recording, recording if background is not None else None


def _without_waits(retry: Retry) -> Retry:
    return replace(retry, first_delay=0.0, longest_delay=0.0, longest_retry_after=0.0, poll_every=0.0)
