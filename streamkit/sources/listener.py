"""Hears when bytes of an HTTP answer have come, right then, and not only when a task that reads them is woken up."""

import asyncio
from collections.abc import Callable
from typing import cast

import aiohttp


class Listener(asyncio.Protocol):
    """Stands between a connection and aiohttp's protocol for it, until the answer has ended: passes everything on.

    Attributes:
        is_over: whether nothing more comes: the answer has ended, or the connection on whichever side.
    """

    __slots__ = ("_came", "_pass_on", "_protocol", "_transport", "is_over")

    def __init__(self, transport: asyncio.Transport, content: aiohttp.StreamReader, came: Callable[[], None]) -> None:
        self.is_over = False
        self._transport = transport
        self._protocol = cast("asyncio.Protocol", transport.get_protocol())
        self._pass_on = self._protocol.data_received
        self._came = came
        transport.set_protocol(self)
        # From then on the connection may be another answer's.
        content.on_eof(self.stop)

    def data_received(self, data: bytes) -> None:
        """Let aiohttp parse the bytes, then say so."""
        # Called as `self._came()`, they would be looked for among the methods first.
        pass_on, came = self._pass_on, self._came
        pass_on(data)
        came()

    def eof_received(self) -> bool | None:
        """Pass on that the other side writes no more."""
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on that the connection has ended, then say so."""
        self.is_over = True
        self._protocol.connection_lost(exc)
        self._came()

    def pause_writing(self) -> None:
        """Pass on that the transport's buffer is full."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that it has room again."""
        self._protocol.resume_writing()

    def stop(self) -> None:
        """Leave the connection to aiohttp's protocol alone."""
        self.is_over = True
        # Of one that is closed nothing can be asked over TLS; it needs this only to pass its end on.
        if not self._transport.is_closing() and self._transport.get_protocol() is self:
            self._transport.set_protocol(self._protocol)
