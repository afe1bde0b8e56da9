"""Responses from a recording: what ``Recording`` wrote, or an event stream that was saved as it came."""

import asyncio
import math
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, Self

from multidict import CIMultiDict, CIMultiDictProxy
from pydantic import JsonValue

from streamkit.cursor import Cursor
from streamkit.errors import ConnectFailed, ConnectionLost, StreamkitError, UsageError
from streamkit.outcome import Opened
from streamkit.response import Response
from streamkit.sources.redaction import HttpRequest, Redaction
from streamkit.sources.tape import (
    Attempt,
    ChunkLine,
    EndLine,
    FailedLine,
    Happened,
    OpenedLine,
    OpenLine,
    ResponseLine,
    read_tape,
)


class Cassette:
    """A recording as a source: ``StreamRun(Cassette("answer.sse.jsonl"))``.

    It is read whole when it is made. Each opening plays what the recorded run got on opening its source for the first,
    second, … time, so that one cassette is good for one run: make another for the next.

    For a background response it is also the ``Background`` of the run, and answers what the server answered then.
    ``client.replay`` puts all of it together.

    Args:
        path: a file that ``record=`` or ``Recording`` wrote, or a plain event stream (``.sse``).
        speed: 0 plays as fast as possible, 1 as fast as it was recorded, 2 twice as fast, and so on.
        chunk_bytes: how the bytes are cut: ``"recorded"`` as they came, ``"whole"`` not at all, or so many a chunk.

    Attributes:
        request: what was asked, without its secrets; ``None`` where that is not known.
        background: whether the recorded run could take a cut stream up again.

    Raises:
        UsageError: the file cannot be read or is no recording, or a number is out of its range.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        speed: float = 0,
        chunk_bytes: int | Literal["recorded", "whole"] = "recorded",
    ) -> None:
        if not 0 <= speed < math.inf:
            raise UsageError(f"speed must be a number from 0 on, not {speed!r}")
        if isinstance(chunk_bytes, int) and chunk_bytes < 1:
            raise UsageError(f"chunk_bytes must be at least 1, not {chunk_bytes}")
        self._path = Path(path)
        self._speed = speed
        self._chunk_bytes = chunk_bytes
        tape = read_tape(self._path)
        self.request: dict[str, JsonValue] | None = tape.header.request
        self.background = tape.header.background
        self._openings = [attempt for attempt in tape.attempts if isinstance(attempt.began, OpenLine)]
        self._retrievals = [attempt for attempt in tape.attempts if not isinstance(attempt.began, OpenLine)]
        self._opened_count = 0
        self._retrieved_count = 0

    @property
    def cursor(self) -> Cursor:
        """Where the recorded run began: give this to a run that is to replay one of ``client.resume``."""
        began = self._openings[0].began if self._openings else None
        return Cursor(began.open.response_id, began.open.after) if isinstance(began, OpenLine) else Cursor()

    @property
    def url(self) -> str:
        """The address that was asked; empty where that is not known."""
        return str((self.request or {}).get("url") or "")

    def check_request(self, body: bytes) -> None:
        """Make sure that this body of a request is the one whose answer was recorded, if that is known.

        Raises:
            UsageError: another one was recorded; record it anew.
        """
        recorded = (self.request or {}).get("body")
        asked = Redaction(HttpRequest(method="POST", url="", body=body)).request["body"]
        if isinstance(recorded, dict) and isinstance(asked, dict) and recorded != asked:
            names = sorted({*recorded, *asked})
            others = ", ".join(name for name in names if recorded.get(name) != asked.get(name))
            raise UsageError(f"{self._path} was recorded for another request: what differs is {others}; record it anew")

    async def open(self, cursor: Cursor) -> "CassetteChunks":
        """Play the next opening.

        Raises:
            ServerError, TransportError: it failed when it was recorded.
            ConnectFailed: it was never recorded.
        """
        attempt = self._next(self._openings, self._opened_count, "connections")
        self._opened_count += 1
        pace = _Pace(self._speed)
        for line in attempt.happened:
            await pace.until(line.at)
            if isinstance(line, OpenedLine):
                return CassetteChunks(_opened(line), pace, self._cut(attempt.happened), _end_of(attempt.happened))
            if isinstance(line, FailedLine):
                raise line.failed.error()
        raise self._not_recorded("the recording ends before the source was open")

    async def retrieve(self, response_id: str) -> Response:
        """Return the response as it stood at the next recorded look at it.

        Raises:
            ServerError, TransportError: the look failed when it was recorded.
            ConnectFailed: it was never recorded.
        """
        attempt = self._next(self._retrievals, self._retrieved_count, "looks at the response")
        self._retrieved_count += 1
        pace = _Pace(self._speed)
        for line in attempt.happened:
            await pace.until(line.at)
            if isinstance(line, ResponseLine):
                return Response.model_validate(line.response)
            if isinstance(line, FailedLine):
                raise line.failed.error()
        raise self._not_recorded(f"the recording ends before {response_id} was there")

    async def cancel(self, response_id: str) -> None:
        """Do nothing: what is played cannot be cancelled."""

    def _next(self, attempts: list[Attempt], count: int, what: str) -> Attempt:
        if count < len(attempts):
            return attempts[count]
        raise self._not_recorded(
            f"it holds {count} {what}, and one more is asked for; each run needs a Cassette of its own, and the retry "
            "policy with which it was recorded"
        )

    def _not_recorded(self, why: str) -> ConnectFailed:
        return ConnectFailed(f"cannot go on with {self._path}: {why}", url=str(self._path))

    def _cut(self, lines: Iterable[Happened]) -> Iterator[tuple[float, bytes]]:
        chunks = ((line.at, line.data) for line in lines if isinstance(line, ChunkLine))
        if isinstance(self._chunk_bytes, int):
            return _cut_anew(chunks, self._chunk_bytes)
        return chunks if self._chunk_bytes == "recorded" else _cut_anew(chunks, sys.maxsize)


class CassetteChunks:
    """An opened recording."""

    def __init__(
        self, opened: Opened, pace: "_Pace", chunks: Iterator[tuple[float, bytes]], end: EndLine | FailedLine | None
    ) -> None:
        self.opened = opened
        self._pace = pace
        self._chunks = chunks
        self._end = end

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return the next bytes, when they are due.

        Raises:
            StopAsyncIteration: the recorded bytes ended here.
            StreamkitError: they were cut off here, or the recording was.
        """
        for at, chunk in self._chunks:
            await self._pace.until(at)
            return chunk
        if self._end is not None:
            await self._pace.until(self._end.at)
        raise _how_it_ends(self._end)

    async def aclose(self) -> None:
        """Stop playing."""
        self._chunks = iter(())


def _opened(line: OpenedLine) -> Opened:
    facts = line.opened
    headers = CIMultiDictProxy(CIMultiDict(facts.headers))
    return Opened(url=facts.url, status=facts.status, headers=headers, request_id=facts.request_id)


class _Pace:
    """When things are due: at their recorded times after the start, however late those before them were."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._time = asyncio.get_running_loop().time
        self._began = self._time()

    async def until(self, at: float) -> None:
        due = self._began + at / self._speed if self._speed else 0.0
        # Even what is due at once lets others run: a recording must not take the loop for itself.
        await asyncio.sleep(max(0.0, due - self._time()))


def _cut_anew(chunks: Iterator[tuple[float, bytes]], size: int) -> Iterator[tuple[float, bytes]]:
    """Yield the same bytes in chunks of another size, each due when the last of its bytes came."""
    pending = bytearray()
    at = 0.0
    for at, data in chunks:
        pending += data
        while len(pending) >= size:
            yield at, bytes(pending[:size])
            del pending[:size]
    if pending:
        yield at, bytes(pending)


def _end_of(lines: Iterable[Happened]) -> EndLine | FailedLine | None:
    return next((line for line in lines if isinstance(line, EndLine | FailedLine)), None)


def _how_it_ends(line: EndLine | FailedLine | None) -> StopAsyncIteration | StreamkitError:
    match line:
        case FailedLine():
            return line.failed.error()
        case EndLine(end="eof"):
            return StopAsyncIteration()
        case EndLine():
            return ConnectionLost("the recording ends here, because the recorded run closed the connection")
        case None:
            return ConnectionLost("the recording ends here: it was cut off while it was written")
