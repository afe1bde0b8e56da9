"""A local server that speaks the Responses API, and Chat Completions: scripted answers, no key, no network, no bill."""

import asyncio
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from aiohttp import web

from streamkit.errors import UsageError
from streamkit.testing.api import Api
from streamkit.testing.chat_api import ChatApi
from streamkit.testing.front import Faults, Front
from streamkit.testing.incoming import RecordedRequest, checked_number
from streamkit.testing.moderation_api import ModerationApi
from streamkit.testing.moderator import MODERATION_WORDS, Moderator
from streamkit.testing.player import Player
from streamkit.testing.scenarios import Scenario

BACKGROUND_STREAM_SECONDS = 300.0
"""How long a background response can be streamed, unless told otherwise; the real API allows five minutes, too."""

MAX_REQUEST_BYTES = 64 * 1024 * 1024
"""Larger requests are refused with 413; images and files come as base64 within the body."""

RECORDED_REQUESTS: web.AppKey[deque[RecordedRequest]] = web.AppKey("RECORDED_REQUESTS", deque[RecordedRequest])
"""Where an application made by ``create_app`` keeps the requests it received."""


def create_app(
    *,
    scenario: str | Scenario = "text",
    tokens_per_second: float | None = None,
    background_stream_seconds: float = BACKGROUND_STREAM_SECONDS,
    faults: Faults = (),
    api_key: str | None = None,
    moderation_words: Sequence[str] = MODERATION_WORDS,
) -> web.Application:
    """Make the application that ``LocalServer`` runs, for a program that runs aiohttp applications itself.

    The arguments are those of ``LocalServer``. Run it with ``handler_cancellation=True``, or else a slow stream goes on
    until its next event after its client has gone.

    Raises:
        UsageError: no scenario is called that, a number is negative, or the words are no list of words.
    """
    moderator = Moderator(moderation_words)
    pace = checked_number("tokens_per_second", tokens_per_second or 0.0)
    player = Player(scenario, tokens_per_second=pace, moderator=moderator)
    streamable = checked_number("background_stream_seconds", background_stream_seconds)
    api = Api(player, background_stream_seconds=streamable)
    routes = [*api.routes(), *ChatApi(player).routes(), *ModerationApi(moderator).routes()]
    front = Front(api_key=api_key, faults=faults)
    app = web.Application(client_max_size=MAX_REQUEST_BYTES, middlewares=[front.middleware])
    app[RECORDED_REQUESTS] = front.requests
    app.add_routes([web.route(method, path, front.handler(endpoint)) for method, path, endpoint in routes])
    app.on_response_prepare.append(front.add_headers)

    async def close(_app: web.Application) -> None:
        await front.close()
        await api.close()

    app.on_shutdown.append(close)
    return app


class LocalServer:
    """The local server, as an asynchronous context manager that closes every stream when it is left.

    ::

        async with LocalServer() as server:
            client = Client(base_url=server.url)

    A request chooses its answer with the model ``scenario:NAME``, the header ``x-streamkit-scenario`` or the metadata
    ``scenario``, the first of these that is there. The headers ``x-streamkit-tokens-per-second``,
    ``x-streamkit-background-stream-seconds`` and ``x-streamkit-faults`` take the place of the server's own settings for
    one request, so that clients in every language can be tested; ``parse_faults`` says how faults are written.

    Besides ``/v1/responses`` there is ``/v1/chat/completions``, which tells the same scenarios as far as chat
    completions can, and ``/v1/moderations``.

    Args:
        host: the address to listen on.
        port: the port to listen on; 0 lets the system choose a free one.
        scenario: what answers a request that asks for nothing else: a name from ``SCENARIOS`` or a function of yours.
        tokens_per_second: how fast deltas are sent; None or 0 means as fast as possible.
        background_stream_seconds: how long after its creation a background response can be streamed.
        faults: what goes wrong with every answer: a list of faults, or a function that is given the recorded request
            and returns one.
        api_key: the only key that is accepted; None accepts everybody.
        moderation_words: what moderation flags, as whole words in upper or lower case.

    Raises:
        UsageError: no scenario is called that, a number is negative, or the words are no list of words.
        OSError: on entering, the port is taken or the address is not one of this machine.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        scenario: str | Scenario = "text",
        tokens_per_second: float | None = None,
        background_stream_seconds: float = BACKGROUND_STREAM_SECONDS,
        faults: Faults = (),
        api_key: str | None = None,
        moderation_words: Sequence[str] = MODERATION_WORDS,
    ) -> None:
        self._host = host
        self._port = port
        self._app = create_app(
            scenario=scenario,
            tokens_per_second=tokens_per_second,
            background_stream_seconds=background_stream_seconds,
            faults=faults,
            api_key=api_key,
            moderation_words=moderation_words,
        )
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
