"""Sources that are scripted by a test: bytes, waits and errors, one after the other."""

import asyncio
import json
from collections.abc import Mapping
from typing import Self

from streamkit.cursor import Cursor
from streamkit.outcome import Opened
from streamkit.sse import Frame, encode

Step = bytes | BaseException | asyncio.Event | None
"""Bytes are a chunk, an exception is raised, an event is waited for, ``None`` waits for ever."""


def frame(name: str, **fields: object) -> bytes:
    """Return the bytes of one event."""
    return encode(Frame(name, json.dumps({"type": name, **fields}).encode()))


CREATED = frame("response.created", response={"id": "resp_1", "status": "in_progress", "output": []})
ADDED = frame("response.output_item.added", output_index=0, item={"type": "message", "id": "msg_1", "content": []})
PART = frame("response.content_part.added", output_index=0, content_index=0, part={"type": "output_text", "text": ""})
DELTAS = [frame("response.output_text.delta", output_index=0, content_index=0, delta=text) for text in ("Hel", "lo")]
MESSAGE = {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "Hello"}]}
COMPLETED = frame("response.completed", response={"id": "resp_1", "status": "completed", "output": [MESSAGE]})
BEFORE_END = [CREATED, ADDED, PART, *DELTAS]
HELLO = [*BEFORE_END, COMPLETED]


class ScriptedSource:
    """A source whose chunks follow a script; counts what is opened and closed."""

    def __init__(self, *steps: Step, headers: Mapping[str, str] | None = None, on_open: Step = b"") -> None:
        self._steps = list(steps)
        self._on_open = on_open
        self._headers = headers or {"content-type": "text/event-stream"}
        self.opened_count = 0
        self.closed_count = 0
        self.reading = asyncio.Event()
        """Set once a read waits at a step that is no bytes."""

    async def open(self, _: Cursor) -> "_ScriptedChunks":
        self.opened_count += 1
        await self.perform(self._on_open)
        opened = Opened(url="scripted:", status=200, headers=self._headers, request_id="req_1")
        return _ScriptedChunks(self, opened, self._steps)

    async def perform(self, step: Step) -> bytes:
        if isinstance(step, bytes):
            return step
        self.reading.set()
        if isinstance(step, BaseException):
            raise step
        await (asyncio.Event() if step is None else step).wait()
        return b": went on\n"


class _ScriptedChunks:
    def __init__(self, source: ScriptedSource, opened: Opened, steps: list[Step]) -> None:
        self.opened = opened
        self._source = source
        self._steps = iter(steps)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        for step in self._steps:
            return await self._source.perform(step)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._source.closed_count += 1
