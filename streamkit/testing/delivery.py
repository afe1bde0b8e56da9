"""Puts an answer on a connection, with whatever is to go wrong on it."""

import asyncio
import os
import socket
import struct
from contextlib import suppress

from aiohttp import web

from streamkit.testing.answers import Answer, Cut
from streamkit.testing.sending import perform

_LINGER_NOT = struct.pack("ii", 1, 0)


async def deliver(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Send an answer, up to its end or to where it is cut.

    A client may leave whenever it likes; that ends the sending and is no error.
    """
    response = _response(answer)
    # Nothing is left to do when the client has gone.
    with suppress(ConnectionError):
        cut = await perform(answer.before, write=response.write, sleep=asyncio.sleep)
        if cut is None and not isinstance(response, web.Response):
            await response.prepare(request)
            cut = await perform(answer.steps, write=response.write, sleep=asyncio.sleep)
        if cut is not None:
            await _cut(request, cut)
    return response


def _response(answer: Answer) -> web.StreamResponse:
    if isinstance(answer.body, bytes):
        return web.Response(body=answer.body, status=answer.status, headers=answer.headers)
    return web.StreamResponse(status=answer.status, headers=answer.headers)


async def _cut(request: web.Request, cut: Cut) -> None:
    transport = request.transport
    if transport is None or cut.how == "end":
        return
    if cut.how == "close":
        transport.close()
        return
    # A reset throws away what is still to be sent, so that goes first.
    transport.set_write_buffer_limits(0)
    await request.writer.drain()
    _linger_not(transport.get_extra_info("socket"))
    transport.abort()


def _linger_not(connection: socket.socket) -> None:
    """Have the connection reset, instead of closed in good order, when its last descriptor is closed."""
    # Some event loops hand out something that only looks like a socket; the descriptor is real.
    with socket.socket(fileno=os.dup(connection.fileno())) as descriptor:
        descriptor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
