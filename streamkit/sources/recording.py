"""Writing down what a source delivers, while it delivers it."""

import asyncio
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Self

from streamkit.cursor import Cursor
from streamkit.errors import ServerError, StreamkitError, TransportError, UsageError
from streamkit.outcome import Opened
from streamkit.response import Response
from streamkit.source import Background, Chunks, Source
from streamkit.sources.redaction import Blotter, HttpRequest, Redaction, harmless_url
from streamkit.sources.tape import (
    VERSION,
    ChunkLine,
    EndLine,
    Facts,
    FailedLine,
    Failure,
    Header,
    Line,
    OpenedLine,
    OpenLine,
    Position,
    ResponseLine,
    RetrieveLine,
)

logger = logging.getLogger("streamkit.recording")

_HARMLESS_HEADERS = frozenset(
    {"content-encoding", "content-type", "date", "retry-after", "retry-after-ms", "x-request-id", "x-should-retry"}
    | {"openai-model", "openai-processing-ms", "openai-version"}
)
_HARMLESS_PREFIX = "x-ratelimit-"


class Recording:
    """A source that passes on what another source delivers, and writes it into a cassette.

    The bytes, where they were split and when they came are kept, for each connection of the run: replay them with
    ``Cassette``. Every line is in the file as soon as it has happened, so that a crash leaves a usable cassette. The
    file is made, with its folders, when the run opens its source; one that is there is overwritten. Where it cannot be
    written any further the run goes on without it, and that is logged.

    No secret gets into the file: of the request the headers are left out, of the answer's headers only harmless ones
    are kept, and the API key, where the server sends it back, is replaced by as many asterisks.

    Args:
        source: what to record.
        path: where to write it; ``.sse.jsonl`` is the usual ending.
        background: the ``Background`` of the run, if it has one: give the run the recording in its place.
        request: what is asked of the server; its secrets are looked for in everything that is written.
    """

    def __init__(
        self,
        source: Source,
        path: str | os.PathLike[str],
        *,
        background: Background | None = None,
        request: HttpRequest | None = None,
    ) -> None:
        redaction = Redaction(request) if request is not None else None
        header = Header(
            streamkit="cassette",
            version=VERSION,
            background=background is not None,
            request=redaction.request if redaction else None,
        )
        self._source = source
        self._background = background
        self._blotter = Blotter(redaction.secrets if redaction else ())
        self._file = _CassetteFile(Path(path), header, self._blotter)

    async def open(self, cursor: Cursor) -> Chunks:
        """Open the source, as it does itself.

        Raises:
            UsageError: the cassette cannot be written.
            StreamkitError: what the source raises.
        """
        self._file.begin(OpenLine(open=Position(response_id=cursor.response_id, after=cursor.position)))
        clock = _Clock()
        try:
            chunks = await self._source.open(cursor)
        except BaseException as error:
            self._file.fail(clock, error)
            raise
        self._file.write(OpenedLine(at=clock.read(), opened=_facts(chunks.opened)))
        return _RecordedChunks(chunks, self._file, clock, self._blotter)

    async def retrieve(self, response_id: str) -> Response:
        """Look at the response, as the ``background`` does.

        Raises:
            StreamkitError: what that raises.
        """
        self._file.begin(RetrieveLine(retrieve=Position(response_id=response_id)))
        clock = _Clock()
        try:
            response = await self._told().retrieve(response_id)
        except BaseException as error:
            self._file.fail(clock, error)
            raise
        found = response.model_dump(mode="json", exclude_unset=True)
        self._file.write(ResponseLine(at=clock.read(), response=found))
        self._file.close()
        return response

    async def cancel(self, response_id: str) -> None:
        """Cancel the response, as the ``background`` does; raises what that raises."""
        await self._told().cancel(response_id)

    def _told(self) -> Background:
        if self._background is None:
            raise UsageError("this recording is of no background response: pass background=... to Recording")
        return self._background


class _RecordedChunks:
    """The chunks of one connection, each written down before it is passed on."""

    def __init__(self, chunks: Chunks, file: "_CassetteFile", clock: "_Clock", blotter: Blotter) -> None:
        self.opened = chunks.opened
        self._chunks = chunks
        self._file = file
        self._clock = clock
        self._blotter = blotter
        # Chunks at whose end a secret may begin: the next one will tell.
        self._held: list[tuple[float, bytes]] = []
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._chunks.__anext__()
        except StopAsyncIteration:
            self._end(EndLine(at=self._clock.read(), end="eof"))
            raise
        except StreamkitError as error:
            self._end(FailedLine(at=self._clock.read(), failed=Failure.of(error)))
            raise
        self._held.append((self._clock.read(), chunk))
        self._write_held(unsettled=self._blotter.unsettled(self._held_data()))
        return chunk

    async def aclose(self) -> None:
        try:
            self._end(EndLine(at=self._clock.read(), end="closed"))
            self._file.close()
        finally:
            await self._chunks.aclose()

    def _end(self, line: EndLine | FailedLine) -> None:
        if not self._ended:
            self._ended = True
            self._write_held(unsettled=0)
            self._file.write(line)

    def _held_data(self) -> bytes:
        return b"".join(data for _, data in self._held)

    def _write_held(self, *, unsettled: int) -> None:
        data = self._held_data()
        settled = len(data) - unsettled
        data = self._blotter.blot(data)[:settled] + data[settled:]
        held, self._held = self._held, []
        start = 0
        for at, chunk in held:
            end = start + len(chunk)
            if end <= settled:
                self._file.write(ChunkLine.of(at, data[start:end]))
            else:
                self._held.append((at, data[start:end]))
            start = end


class _CassetteFile:
    """The file of one recording: opened for each connection, so that none is left open when the run is over.

    Writing does not wait for the disk, but for a copy into the system's memory, which takes microseconds: less than to
    hand the line to a thread.
    """

    def __init__(self, path: Path, header: Header, blotter: Blotter) -> None:
        self._path = path
        self._header = header
        self._blotter = blotter
        self._file: BinaryIO | None = None
        self._made = False
        self._given_up = False

    def begin(self, line: Line) -> None:
        """Open the file and write what the run is about to do.

        Raises:
            UsageError: the file cannot be made.
        """
        if not self._made:
            self._make()
        if self._given_up:
            return
        try:
            self._file = self._path.open("ab")
        except OSError as error:
            self._give_up(error)
        self.write(line)

    def write(self, line: Line) -> None:
        """Write a line, so that it is in the file whatever becomes of this process."""
        if self._file is None:
            return
        try:
            self._file.write(self._blotter.blot(line.encode()) + b"\n")
            self._file.flush()
        except OSError as error:
            self._give_up(error)

    def fail(self, clock: "_Clock", error: BaseException) -> None:
        """Write what came of an attempt that brought nothing else, and close the file."""
        if isinstance(error, ServerError | TransportError):
            self.write(FailedLine(at=clock.read(), failed=Failure.of(error)))
        self.close()

    def close(self) -> None:
        """Close the file until the next attempt begins."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # It has been told already that it cannot be written.
                file.close()

    def _make(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_bytes(self._blotter.blot(self._header.encode()) + b"\n")
        except OSError as error:
            raise UsageError(f"cannot record to {self._path}: {error.strerror}") from error
        self._made = True

    def _give_up(self, error: OSError) -> None:
        logger.warning("recording to %s has stopped: %s", self._path, error.strerror)
        self._given_up = True
        self.close()


class _Clock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._time = asyncio.get_running_loop().time
        self._began = self._time()

    def read(self) -> float:
        return round(self._time() - self._began, 6)


def _facts(opened: Opened) -> Facts:
    return Facts(
        url=harmless_url(opened.url)[0],
        status=opened.status,
        headers=_harmless(opened.headers),
        request_id=opened.request_id,
    )


def _harmless(headers: Mapping[str, str]) -> dict[str, str]:
    lowered = ((name.lower(), value) for name, value in headers.items())
    return {name: value for name, value in lowered if name in _HARMLESS_HEADERS or name.startswith(_HARMLESS_PREFIX)}
