"""The server process: prints its port, then answers every request with prebuilt bytes.

It speaks just enough HTTP for that, on bare asyncio streams, so that it is never the server that is measured. As from
real servers, every event is an HTTP chunk of its own.
"""

import asyncio
import re
from functools import cache

from pydantic import BaseModel

from benchmarks.wire import frames

BACKLOG = 8192
"""Connections that may wait to be accepted: thousands of streams are opened at once."""
PIECE_BYTES = 16 * 1024
"""How much is written at a time where nothing is paced, cut wherever that falls."""

_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Cache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_LAST_CHUNK = b"0\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class _Metadata(BaseModel):
    tokens: int
    events_per_second: float


class _Request(BaseModel):
    metadata: _Metadata


@cache
def _chunks(tokens: int) -> tuple[bytes, ...]:
    return tuple(b"%x\r\n%b\r\n" % (len(frame), frame) for frame in frames(tokens))


@cache
def _pieces(tokens: int) -> tuple[bytes, ...]:
    whole = b"".join(_chunks(tokens))
    return tuple(whole[start : start + PIECE_BYTES] for start in range(0, len(whole), PIECE_BYTES))


async def _serve_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            await _answer(await _read_request(reader), writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _read_request(reader: asyncio.StreamReader) -> _Metadata:
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    assert length is not None, "clients are expected to say how long their request is"
    return _Request.model_validate_json(await reader.readexactly(int(length[1]))).metadata


async def _answer(asked: _Metadata, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD)
    if asked.events_per_second:
        await _send_paced(writer, _chunks(asked.tokens), 1 / asked.events_per_second)
    else:
        for piece in _pieces(asked.tokens):
            writer.write(piece)
            await writer.drain()
    writer.write(_LAST_CHUNK)


async def _send_paced(writer: asyncio.StreamWriter, chunks: tuple[bytes, ...], interval: float) -> None:
    clock = asyncio.get_running_loop().time
    due = clock()
    for chunk in chunks:
        writer.write(chunk)
        await writer.drain()
        due += interval
        await asyncio.sleep(due - clock())


async def _serve() -> None:
    server = await asyncio.start_server(_serve_connection, "127.0.0.1", 0, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
