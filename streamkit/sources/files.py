"""Responses from a file: a stream that was saved as it came over the wire, or is still being written to a pipe."""

import os
import stat
from pathlib import Path
from typing import Self

import anyio
import anyio.to_thread

from streamkit.cursor import Cursor
from streamkit.errors import ConnectFailed, ConnectionLost
from streamkit.outcome import Opened

CHUNK_BYTES = 64 * 1024
"""The most that is read at a time."""


class FileSource:
    """A saved stream as a source: ``StreamRun(FileSource("answer.sse"))``.

    Args:
        path: a file or a named pipe; or the number of an open descriptor, such as 0 for standard input, which stays
            open.
    """

    def __init__(self, path: str | os.PathLike[str] | int) -> None:
        self._path = path

    async def open(self, cursor: Cursor) -> "FileChunks":
        """Open the file.

        Raises:
            ConnectFailed: it cannot be opened for reading.
        """
        name = f"descriptor {self._path}" if isinstance(self._path, int) else str(Path(self._path))
        try:
            return await anyio.to_thread.run_sync(FileChunks, self._path, name)
        except OSError as error:
            raise ConnectFailed(f"cannot open {name}: {error.strerror}", url=name) from error


class FileChunks:
    """An opened file. It is read unbuffered, so that what a pipe holds is passed on at once."""

    def __init__(self, path: str | os.PathLike[str] | int, name: str) -> None:
        self.opened = Opened(url=name, headers={})
        self._file = open(path, "rb", buffering=0, closefd=not isinstance(path, int))  # noqa: SIM115 - aclose closes it
        kind = os.fstat(self._file.fileno()).st_mode
        self._waits_for_others = stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind) or self._file.isatty()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return the next bytes.

        Raises:
            StopAsyncIteration: the file has ended.
            ConnectionLost: it cannot be read further.
        """
        try:
            chunk = await self._read()
        except OSError as error:
            raise ConnectionLost(f"cannot read {self.opened.url}: {error.strerror}") from error
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Close the file; may be called more than once."""
        self._file.close()

    async def _read(self) -> bytes:
        if self._waits_for_others:
            # A thread that waits for a pipe could not be cancelled.
            await anyio.wait_readable(self._file)
            return self._file.read(CHUNK_BYTES)
        return await anyio.to_thread.run_sync(self._file.read, CHUNK_BYTES)
