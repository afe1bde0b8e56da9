"""A source that follows a script of yours, faults and all, without a socket."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Self

from multidict import CIMultiDict, CIMultiDictProxy

from streamkit.cursor import Cursor
from streamkit.errors import ConnectFailed, ConnectionLost
from streamkit.failures import from_body
from streamkit.outcome import Opened
from streamkit.source import Chunks
from streamkit.testing.answers import EVENT_STREAM, Answer, Cut, Pause, Step, Wait
from streamkit.testing.fault import Fault, Occasion, apply_faults

_URL = "scripted:"


class ScriptedSource:
    """A source for a run: the bytes of an event stream as you cut them, with faults.

    ::

        steps = [encode_event(event) for event in play("text")]
        async with StreamRun(ScriptedSource(steps, faults=[CutAfterEvents(5)])) as run:
            outcome = await run.outcome()

    Every opening plays the script anew; to the fault ``Only`` it is one attempt and one connection more.

    Args:
        steps: the chunks, and between them a ``Pause``, a ``Cut``, or something to wait for such as ``event.wait``.
        faults: what goes wrong besides. Compression by ``Gzip`` is not undone.

    Attributes:
        opened_count: how often the source was opened.
    """

    def __init__(self, steps: Iterable[Step], *, faults: Sequence[Fault] = ()) -> None:
        self.opened_count = 0
        self._steps = tuple(steps)
        self._faults = faults

    async def open(self, cursor: Cursor) -> Chunks:
        """Open the source.

        Raises:
            ServerError: a fault refuses the request.
            ConnectFailed: a fault cuts the connection before anything is answered.
        """
        self.opened_count += 1
        answer = self._answer()
        for step in answer.before:
            if isinstance(step, Cut):
                raise ConnectFailed("the script answers nothing", url=_URL)
            await asyncio.sleep(step.seconds)
        headers = CIMultiDictProxy(CIMultiDict(answer.headers))
        if answer.status >= 300:
            body = b"".join(step for step in answer.steps if isinstance(step, bytes))
            raise from_body(answer.status, headers, body, now=time.time())
        return _ScriptedChunks(headers, iter(answer.steps))

    def _answer(self) -> Answer:
        occasion = Occasion(attempt=self.opened_count, connection=self.opened_count)
        faults = [fault for fault in self._faults if fault.strikes(occasion)]
        return apply_faults(faults, Answer(headers=EVENT_STREAM, body=self._steps))


class _ScriptedChunks:
    def __init__(self, headers: Mapping[str, str], steps: Iterator[Step]) -> None:
        self.opened = Opened(url=_URL, status=200, headers=headers)
        self._steps = steps

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        for step in self._steps:
            if isinstance(step, bytes):
                if step:
                    return step
            elif isinstance(step, Cut):
                await self.aclose()
                if step.how == "end":
                    break
                raise ConnectionLost("the script cuts the connection")
            else:
                await _wait(step)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._steps = iter(())


async def _wait(step: Pause | Wait) -> None:
    await (asyncio.sleep(step.seconds) if isinstance(step, Pause) else step())
