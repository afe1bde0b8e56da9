"""Faults of a body: what it loses, gains, or how slowly it comes.

Events are counted from 0 in each answer, whatever their sequence numbers, which stay as they are.
"""

import math
import re
import zlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Annotated, Literal

from pydantic import BeforeValidator, NonNegativeFloat, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from streamkit.sse import Frame, encode
from streamkit.testing.answers import Answer, Cut, HowCut, Pause, Step
from streamkit.testing.blocks import by_block, numbered
from streamkit.testing.fault import CHECKED, Fault, Line

KEEPALIVE = b'event: keepalive\ndata: {"type":"keepalive"}\n\n'
"""The event that real servers send while a model is thinking; here without a number, since none is set aside for it."""
_LINE_END = re.compile(rb"\r\n|\r|\n")


def _as_bytes(data: object) -> object:
    return data.encode("latin-1") if isinstance(data, str) else data


@dataclass(config=CHECKED, frozen=True, slots=True)
class BodyFault(Fault):
    """A fault that changes the steps in which a body is sent; it strikes bodies of every kind."""

    def apply(self, answer: Answer) -> Answer:
        """Return the answer with its body changed, if there is anything in it to change."""
        return replace(answer, body=self._change(answer.steps)) if self._concerns(answer) else answer

    def _concerns(self, answer: Answer) -> bool:
        return True

    @abstractmethod
    def _change(self, steps: Iterable[Step]) -> Iterator[Step]: ...


@dataclass(config=CHECKED, frozen=True, slots=True)
class EventFault(BodyFault):
    """A fault that is about events; it leaves every other body alone."""

    def _concerns(self, answer: Answer) -> bool:
        return answer.is_event_stream


@dataclass(config=CHECKED, frozen=True, slots=True)
class CutAfterBytes(BodyFault):
    """The connection is cut after so many bytes of the body, wherever in an event that may be.

    ``how`` it is cut says ``HowCut``: ``end`` finishes the body too early, ``close`` leaves it without its last chunk,
    ``reset`` resets the connection.
    """

    count: NonNegativeInt
    how: HowCut = "close"

    def _change(self, steps: Iterable[Step]) -> Iterator[Step]:
        left = self.count
        for step in steps:
            if isinstance(step, bytes) and len(step) >= left:
                yield step[:left]
                yield Cut(self.how)
                return
            left -= len(step) if isinstance(step, bytes) else 0
            yield step


@dataclass(config=CHECKED, frozen=True, slots=True)
class CutAfterEvents(EventFault):
    """The connection is cut after so many events, at once and not only when the next one is due.

    ``how`` is as for ``CutAfterBytes``.
    """

    count: NonNegativeInt
    how: HowCut = "close"

    def _change(self, steps: Iterable[Step]) -> Iterator[Step]:
        return _insert(steps, self.count, [Cut(self.how)])


@dataclass(config=CHECKED, frozen=True, slots=True)
class StallAfterEvents(EventFault):
    """After so many events nothing comes for some seconds; by default, never again."""

    count: NonNegativeInt
    seconds: NonNegativeFloat | None = None

    def _change(self, steps: Iterable[Step]) -> Iterator[Step]:
        return _insert(steps, self.count, [Pause(math.inf if self.seconds is None else self.seconds)])


@dataclass(config=CHECKED, frozen=True, slots=True)
class HeartbeatsAfterEvents(EventFault):
    """After so many events nothing but a sign of life comes, every so many seconds and without end."""

    count: NonNegativeInt
    seconds: NonNegativeFloat = 0.1
    kind: Literal["comment", "keepalive"] = "comment"

    def _change(self, steps: Iterable[Step]) -> Iterator[Step]:
        return _insert(steps, self.count, self._beats())

    def _beats(self) -> Iterator[Step]:
        beat = KEEPALIVE if self.kind == "keepalive" else _comment("ping")
        while True:
            yield beat
            yield Pause(self.seconds)


@dataclass(config=CHECKED, frozen=True, slots=True)
class Drip(BodyFault):
    """The body comes a few bytes at a time, with a wait of some seconds after each piece."""

    bytes_per_write: PositiveInt = 1
    seconds: NonNegativeFloat = 0.0

    def _change(self, steps: Iterable[Step]) -> Iterator[Step]:
        for step in steps:
            if isinstance(step, bytes):
                yield from self._drops(step)
            else:
                yield step

    def _drops(self, chunk: bytes) -> Iterator[Step]:
        for start in range(0, len(chunk), self.bytes_per_write):
            yield chunk[start : start + self.bytes_per_write]
            yield Pause(self.seconds)


@dataclass(config=CHECKED, frozen=True, slots=True)
class Drop(EventFault):
    """One event is lost."""

    event: NonNegativeInt

    def _change(self, steps: Iterable[Step]) -> Iterator[Step]:
        return (step for number, step in numbered(steps) if number != self.event)


@dataclass(config=CHECKED, frozen=True, slots=True)
class Duplicate(EventFault):
    """One event comes twice in a row."""

    event: NonNegativeInt

    def _change(self, steps: Iterable[Step]) -> Iterator[Step]:
        for number, step in numbered(steps):
            yield step
            if number == self.event:
                yield step


@dataclass(config=CHECKED, frozen=True, slots=True)
class Postpone(EventFault):
    """One event comes later, behind so many of those that should follow it, or else at the end."""

    event: NonNegativeInt
    by: PositiveInt = 1

    def _change(self, steps: Iterable[Step]) -> Iterator[Step]:
        held: list[Step] = []
        for number, step in numbered(steps):
            if number == self.event:
                held.append(step)
                continue
            yield step
            if number == self.event + self.by:
                yield from held
                held.clear()
        yield from held


@dataclass(config=CHECKED, frozen=True, slots=True)
class GarbageAfterEvents(EventFault):
    """Bytes that belong to no event come after so many of them; in a text, each character stands for one byte."""

    count: NonNegativeInt
    data: Annotated[bytes, BeforeValidator(_as_bytes)] = b"\xff\xfe{\x00 ]]\n\n"

    def _change(self, steps: Iterable[Step]) -> Iterator[Step]:
        return _insert(steps, self.count, [self.data])


@dataclass(config=CHECKED, frozen=True, slots=True)
class Comments(EventFault):
    """A comment comes after every so many events."""

    every: PositiveInt = 1
    text: Line = "ping"

    def _change(self, steps: Iterable[Step]) -> Iterator[Step]:
        return _intersperse(steps, self.every, _comment(self.text))


@dataclass(config=CHECKED, frozen=True, slots=True)
class Keepalives(EventFault):
    """A ``keepalive`` event comes after every so many events."""

    every: PositiveInt = 1

    def _change(self, steps: Iterable[Step]) -> Iterator[Step]:
        return _intersperse(steps, self.every, KEEPALIVE)


@dataclass(config=CHECKED, frozen=True, slots=True)
class ByteOrderMark(EventFault):
    """The stream begins with a byte order mark."""

    def _change(self, steps: Iterable[Step]) -> Iterator[Step]:
        return chain([b"\xef\xbb\xbf"], steps)


@dataclass(config=CHECKED, frozen=True, slots=True)
class LineEnds(EventFault):
    """Lines end with CRLF or with CR instead of LF."""

    style: Literal["crlf", "cr"]

    def _change(self, steps: Iterable[Step]) -> Iterator[Step]:
        line_end = b"\r\n" if self.style == "crlf" else b"\r"
        return _rewrite(steps, lambda block: _LINE_END.sub(line_end, block))


@dataclass(config=CHECKED, frozen=True, slots=True)
class NoEventLines(EventFault):
    """The ``event:`` lines are missing, as with several gateways; the type stands in the data alone."""

    def _change(self, steps: Iterable[Step]) -> Iterator[Step]:
        return _rewrite(steps, _without_event_lines)


@dataclass(config=CHECKED, frozen=True, slots=True)
class DataBeforeEvent(EventFault):
    """The ``data:`` line comes before the ``event:`` line, as one large cloud sends it."""

    def _change(self, steps: Iterable[Step]) -> Iterator[Step]:
        return _rewrite(steps, _with_data_first)


@dataclass(config=CHECKED, frozen=True, slots=True)
class MultiLineData(EventFault):
    """The JSON of each event is spread over two ``data:`` lines."""

    def _change(self, steps: Iterable[Step]) -> Iterator[Step]:
        return _rewrite(steps, lambda block: block.replace(b"data: {", b"data: {\ndata: ", 1))


@dataclass(config=CHECKED, frozen=True, slots=True)
class DoneMarker(EventFault):
    """The stream ends with ``data: [DONE]``, as with gateways that come from Chat Completions."""

    def _change(self, steps: Iterable[Step]) -> Iterator[Step]:
        return chain(steps, [b"data: [DONE]\n\n"])


@dataclass(config=CHECKED, frozen=True, slots=True)
class SecondTerminal(EventFault):
    """After the end comes ``response.failed``, as if it had to end once more."""

    def _change(self, steps: Iterable[Step]) -> Iterator[Step]:
        error = b'{"code":"server_error","message":"The end was not the end."}'
        data = b'{"type":"response.failed","response":{"status":"failed","output":[],"error":%b}}' % error
        return chain(steps, [encode(Frame("response.failed", data))])


@dataclass(config=CHECKED, frozen=True, slots=True)
class FramesAfterEnd(EventFault):
    """After the end come so many deltas of text."""

    count: PositiveInt = 1

    def _change(self, steps: Iterable[Step]) -> Iterator[Step]:
        data = b'{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":" and more"}'
        return chain(steps, [encode(Frame("response.output_text.delta", data))] * self.count)


@dataclass(config=CHECKED, frozen=True, slots=True)
class Gzip(BodyFault):
    """The body is compressed, though nobody asked for it. Put it behind the faults that look into the body."""

    def apply(self, answer: Answer) -> Answer:
        """Return the answer compressed, and saying so."""
        headers = {**answer.headers, "Content-Encoding": "gzip"}
        return replace(answer, headers=headers, body=self._change(answer.steps))

    def _change(self, steps: Iterable[Step]) -> Iterator[Step]:
        compressor = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
        for step in steps:
            if isinstance(step, bytes):
                yield compressor.compress(step) + compressor.flush(zlib.Z_SYNC_FLUSH)
            else:
                yield step
        yield compressor.flush()


def _insert(steps: Iterable[Step], count: int, inserted: Iterable[Step]) -> Iterator[Step]:
    """Insert further steps as soon as so many events have been sent."""
    if count == 0:
        yield from inserted
    for number, step in numbered(steps):
        yield step
        if number == count - 1:
            yield from inserted


def _intersperse(steps: Iterable[Step], every: int, block: bytes) -> Iterator[Step]:
    for number, step in numbered(steps):
        yield step
        if number is not None and (number + 1) % every == 0:
            yield block


def _rewrite(steps: Iterable[Step], change: Callable[[bytes], bytes]) -> Iterator[Step]:
    for step in by_block(steps):
        yield change(step) if isinstance(step, bytes) else step


def _without_event_lines(block: bytes) -> bytes:
    return b"".join(line for line in block.splitlines(keepends=True) if not line.startswith(b"event:"))


def _with_data_first(block: bytes) -> bytes:
    lines = sorted(block.splitlines(keepends=True), key=_rank)
    return b"".join(lines)


def _rank(line: bytes) -> tuple[bool, bool]:
    return not line.strip(), line.startswith(b"event:")


def _comment(text: str) -> bytes:
    return b": %b\n\n" % text.encode("ascii")
