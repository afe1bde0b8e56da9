"""A server that answers with given bytes, so that a test decides everything about what is on the wire."""

import asyncio
from types import TracebackType
from typing import Self


def answer(
    body: bytes,
    *,
    status: str = "200 OK",
    headers: dict[str, str] | None = None,
    chunk_size: int | None = None,
    cut: bool = False,
) -> bytes:
    """A whole HTTP answer, its body in chunks of this size; ``cut`` leaves out the chunk that says it is the last."""
    named = {
        "Content-Type": "text/event-stream",
        **(headers or {}),
        "Transfer-Encoding": "chunked",
        "Connection": "close",
    }
    head = f"HTTP/1.1 {status}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in named.items())
    size = chunk_size or max(len(body), 1)
    pieces = (body[start : start + size] for start in range(0, len(body), size))
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return head.encode() + b"\r\n" + chunks + (b"" if cut else b"0\r\n\r\n")


class WireServer:
    """Answers every request with the bytes in ``answer``; use it as ``async with WireServer() as server``."""

    def __init__(self) -> None:
        self.answer = answer(b"")
        self._server: asyncio.Server | None = None

    @property
    def base_url(self) -> str:
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{host}:{port}/v1"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._read_request(reader)
            writer.write(self.answer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # The client went away, as it may.
        finally:
            writer.close()

    @staticmethod
    async def _read_request(reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        await reader.readexactly(int(lengths[0].partition(b":")[2]) if lengths else 0)
