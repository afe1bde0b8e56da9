"""A run that is cancelled wherever it can be: at each of its suspensions, by each who can do it."""

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import suppress
from typing import Any, Self

import anyio
import pytest
from pydantic_core import to_json

from streamkit import Cancelled, Closed, Completed, Dispatcher, Outcome, Response, StreamRun, UnfinishedResponse
from streamkit.cursor import Cursor, Retry
from streamkit.errors import ConnectionLost, ServerError
from streamkit.events import Event
from streamkit.outcome import Opened, Reconnecting
from streamkit.source import Chunks
from streamkit.sse import Frame, encode
from streamkit.stage import Stage
from streamkit.testing import play
from tests.scripted import BEFORE_END, COMPLETED, HELLO

pytestmark = pytest.mark.anyio

TEXT = play("text", {"model": "m", "input": "hi"})
FRAMES = [encode(Frame(event["type"], to_json(event))) for event in TEXT]
ENOUGH = 2000


async def pause() -> None:
    await asyncio.sleep(0)


class Server:
    """A source, and a background, that suspends wherever it may."""

    def __init__(self, *scripts: list[bytes] | Exception) -> None:
        self.scripts = list(scripts)
        self.looks = 2
        self.still_open = 0

    async def open(self, _: Cursor) -> Chunks:
        await pause()
        script = self.scripts.pop(0)
        if isinstance(script, Exception):
            raise script
        self.still_open += 1
        return _Chunks(self, script)

    async def retrieve(self, _: str) -> Response:
        await pause()
        self.looks -= 1
        last = TEXT[-1]["response"]
        return Response.model_validate({**last, "status": "in_progress"} if self.looks else last)

    async def cancel(self, _: str) -> None:
        await pause()


class _Chunks:
    def __init__(self, server: Server, script: list[bytes]) -> None:
        self.opened = Opened(url="scripted:", headers={})
        self._server = server
        self._script = iter(script)
        self._is_open = True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        await pause()
        for chunk in self._script:
            return chunk
        raise ConnectionLost("cut")

    async def aclose(self) -> None:
        await pause()
        self._server.still_open -= self._is_open
        self._is_open = False


def in_the_background() -> Server:
    gone = ServerError("too old", status=404)
    return Server(FRAMES[:4], ConnectionLost("refused"), FRAMES[4:9], gone)


def plain() -> Server:
    return Server([*BEFORE_END, COMPLETED, *HELLO])


@types.coroutine
def watched(coroutine: Coroutine[Any, Any, None], at: int, act: Callable[[], object]) -> Generator[Any, Any, int]:
    """Run a coroutine and act when it is suspended for the given time; return how often it was suspended."""
    count = 0
    step: Callable[[], Any] = lambda: coroutine.send(None)  # noqa: E731
    while True:
        try:
            suspended = step()
        except StopIteration:
            return count
        count += 1
        if count == at:
            act()
        try:
            yield suspended
            step = lambda: coroutine.send(None)  # noqa: E731
        except BaseException as error:  # noqa: BLE001
            step = lambda error=error: coroutine.throw(error)  # noqa: E731


class Driven:
    """One run through handlers that suspend too, cancelled at one of its suspensions."""

    def __init__(self, server: Server, *, stages: Sequence[Stage] = ()) -> None:
        self.server = server
        self.run = StreamRun(server, background=server, retry=Retry(first_delay=0, poll_every=0), stages=stages)
        self.told: list[Outcome | Closed] = []
        self.numbers: list[int] = []
        self.dispatcher = Dispatcher()
        self.dispatcher.on(Event)(self.take)
        self.dispatcher.on(Reconnecting)(lambda _: pause())
        self.dispatcher.on(Completed, Cancelled, Closed)(self.tell)

    async def take(self, event: Event) -> None:
        if event.sequence_number is not None:
            self.numbers.append(event.sequence_number)
        await pause()

    async def tell(self, delivery: Outcome | Closed) -> None:
        self.told.append(delivery)
        await pause()

    async def drive(self) -> None:
        async with self.run:
            with suppress(UnfinishedResponse):
                await self.run.dispatch(self.dispatcher)

    async def check(self) -> Outcome:
        outcome = await self.run.outcome()
        assert self.told == [outcome, Closed(outcome=outcome)]
        assert self.server.still_open == 0
        assert self.numbers == sorted(set(self.numbers))
        return outcome


async def by_the_task(driven: Driven, at: int) -> bool:
    task: asyncio.Task[int] = asyncio.create_task(watched(driven.drive(), at, lambda: task.cancel()))  # type: ignore[arg-type]  # noqa: PLW0108
    with suppress(asyncio.CancelledError):
        return await task < at
    return False


async def by_the_task_and_the_run(driven: Driven, at: int) -> bool:
    def both() -> None:
        driven.run.cancel()
        task.cancel()

    task: asyncio.Task[int] = asyncio.create_task(watched(driven.drive(), at, both))  # type: ignore[arg-type]
    with suppress(asyncio.CancelledError):
        return await task < at
    return False


async def by_the_run(driven: Driven, at: int) -> bool:
    task: asyncio.Task[int] = asyncio.create_task(watched(driven.drive(), at, driven.run.cancel))  # type: ignore[arg-type]
    count = await task
    assert task.cancelling() == 0
    return count < at


async def by_the_run_a_little_later(driven: Driven, at: int) -> bool:
    def later() -> None:
        asyncio.get_running_loop().call_soon(lambda: driven.run.cancel(server=True))

    task: asyncio.Task[int] = asyncio.create_task(watched(driven.drive(), at, later))  # type: ignore[arg-type]
    count = await task
    assert task.cancelling() == 0
    return count < at


async def by_a_scope(driven: Driven, at: int) -> bool:
    count = 0
    with anyio.CancelScope() as scope:
        count = await watched(driven.drive(), at, scope.cancel)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    return not scope.cancel_called and count < at


BY = [by_the_task, by_the_task_and_the_run, by_the_run, by_the_run_a_little_later, by_a_scope]


@pytest.mark.parametrize("cancel", BY)
@pytest.mark.parametrize("server", [plain, in_the_background])
async def test_a_run_cancelled_at_any_suspension_ends_once_and_is_closed(
    server: Callable[[], Server], cancel: Callable[[Driven, int], Any]
) -> None:
    for at in range(1, ENOUGH):
        driven = Driven(server())
        ran_to_its_end = await cancel(driven, at)
        outcome = await driven.check()
        if ran_to_its_end:
            assert isinstance(outcome, Completed)
            break
    else:
        raise AssertionError("never ran to its end")


async def test_a_connection_that_does_not_close_does_not_keep_the_end_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.run.CLOSE_SECONDS", 0.02)
    monkeypatch.setattr(_Chunks, "aclose", lambda _: asyncio.Event().wait())
    driven = Driven(plain())
    assert not await by_the_task(driven, 8)
    assert [type(delivery) for delivery in driven.told] == [Cancelled, Closed]
