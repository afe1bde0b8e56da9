"""A server of bytes: a test writes the answer itself, waits, resets and all."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve connections with a function that reads and writes bytes; the value is the base URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


def answering(*pieces: bytes, then: Callable[[], Awaitable[object]] | None = None) -> Answer:
    """Answer every request with bytes, then perhaps wait before the connection is closed."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(length)
        writer.writelines(pieces)
        await writer.drain()
        if then is not None:
            await then()

    return answer


def ok(body: bytes, *headers: str, content_type: str = "text/event-stream") -> bytes:
    return head("200 OK", f"Content-Type: {content_type}", *headers) + body


def head(status: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, "Connection: close"]
    return "\r\n".join([*lines, "\r\n"]).encode()


def chunked(*pieces: bytes, last: bool = True) -> bytes:
    """Return an answer whose body has these chunks, with or without the one that says it is the last."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + (b"0\r\n\r\n" if last else b"")
    return head("200 OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked") + body


def resetting(*pieces: bytes) -> Answer:
    """Answer with bytes, then reset the connection once they have left."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        connection = writer.get_extra_info("socket")
        # Lingering for no time at all makes closing a reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return answer
