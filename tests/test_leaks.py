"""However a run ends, nothing of it is left: no task, no connection, no descriptor."""

import asyncio
import gc
import os
import random
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import aiohttp
import anyio
import pytest

from streamkit import Client, Closed, Dispatcher, Lane, StreamRun, UnfinishedResponse, on
from streamkit.testing import LocalServer

pytestmark = pytest.mark.anyio

RUNS = 1000
AT_ONCE = 50


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that no event tells of."""
    with anyio.fail_after(10):
        while not holds():  # noqa: ASYNC110
            await anyio.sleep(0.005)


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Compare tasks and descriptors before and after, when the loop has come to rest."""
    tasks, open_descriptors = len(asyncio.all_tasks()), descriptors()
    yield
    await until(lambda: len(asyncio.all_tasks()) <= tasks and descriptors() <= open_descriptors)


class HandlerBroke(Exception):
    pass


@on("response.output_text.delta")
async def breaks(_: object) -> None:
    raise HandlerBroke


async def drive(run: StreamRun) -> None:
    async with run:
        await run.dispatch(Dispatcher())


async def cancel_the_task(run: StreamRun, seconds: float) -> None:
    task = asyncio.create_task(drive(run))
    await asyncio.sleep(seconds)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def run_out_of_time(run: StreamRun, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await drive(run)


async def leave_a_cancel_scope(run: StreamRun, seconds: float) -> None:
    with anyio.move_on_after(seconds):
        await drive(run)


async def cancel_the_run(run: StreamRun, seconds: float) -> None:
    async with run:
        asyncio.get_running_loop().call_later(seconds, run.cancel)
        await run.outcome()


async def cancel_a_task_group(run: StreamRun, seconds: float) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(drive, run)
        await asyncio.sleep(seconds)
        tasks.cancel_scope.cancel()


async def fail_a_task_group(run: StreamRun, seconds: float) -> None:
    async def fail() -> None:
        await asyncio.sleep(seconds)
        raise HandlerBroke

    with suppress(BaseExceptionGroup):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(drive(run))
            tasks.create_task(fail())


async def break_out_of_a_loop(run: StreamRun, _: float) -> None:
    async with run:
        async for _event in run.events("response.output_text.delta"):
            break


async def fail_in_a_handler(run: StreamRun, _: float) -> None:
    async with run:
        with suppress(HandlerBroke):
            await run.dispatch(breaks)


async def drop_the_iterator(run: StreamRun, _: float) -> None:
    async with run:
        iterator = run.events("response.output_text.delta")
        await anext(iterator)
        del iterator


async def only_open(run: StreamRun, _: float) -> None:
    async with run:
        await run.opened()


async def only_enter(run: StreamRun, _: float) -> None:
    async with run:
        pass


async def complete(run: StreamRun, _: float) -> None:
    await drive(run)


def add_lanes(run: StreamRun) -> None:
    run.on("response.output_text.delta", lane=Lane(max_events=2))(lambda _: asyncio.sleep(0.001))
    run.on("response.output_text.delta", lane=Lane(max_events=2, when_full="merge"), thread=True)(lambda _: None)


async def read(run: StreamRun) -> None:
    with suppress(UnfinishedResponse):
        async for _ in run.text_stream():
            await asyncio.sleep(0)


async def leave_lanes_at_work(run: StreamRun, seconds: float) -> None:
    async with run:
        add_lanes(run)
        reading = asyncio.create_task(read(run))
        await asyncio.sleep(seconds)
    await reading


async def cancel_the_task_with_lanes_at_work(run: StreamRun, seconds: float) -> None:
    add_lanes(run)
    await cancel_the_task(run, seconds)


async def complete_with_lanes(run: StreamRun, _: float) -> None:
    add_lanes(run)
    await drive(run)


WAYS: list[Callable[[StreamRun, float], Awaitable[None]]] = [
    cancel_the_task,
    run_out_of_time,
    leave_a_cancel_scope,
    cancel_the_run,
    cancel_a_task_group,
    fail_a_task_group,
    break_out_of_a_loop,
    fail_in_a_handler,
    drop_the_iterator,
    only_open,
    only_enter,
    complete,
    leave_lanes_at_work,
    cancel_the_task_with_lanes_at_work,
    complete_with_lanes,
]


async def test_a_thousand_runs_that_end_at_random_leave_nothing() -> None:
    choice = random.Random(0)
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(client: Client) -> None:
        async with slots:
            way = choice.choice(WAYS)
            await way(client.stream(model="scenario:text", input="hi"), choice.random() * 0.02)

    async with LocalServer(tokens_per_second=2000) as server, nothing_left():
        session = aiohttp.ClientSession()
        async with session, Client(base_url=server.url, session=session) as client:
            await asyncio.gather(*(one(client) for _ in range(RUNS)))
            assert isinstance(session.connector, aiohttp.TCPConnector)
            assert not session.connector._acquired


@pytest.mark.parametrize("way", WAYS)
async def test_each_way_ends_the_run_once(way: Callable[[StreamRun, float], Awaitable[None]]) -> None:
    async with LocalServer(tokens_per_second=200) as server, nothing_left(), Client(base_url=server.url) as client:
        run = client.stream(model="scenario:text", input="hi")
        await way(run, 0.02)
        outcome = await run.outcome()
        assert await run.outcome() is outcome


async def iterate(run: StreamRun, _: float) -> None:
    async with run:
        async for _text in run.text_stream():
            pass


async def complete_with_a_handler(run: StreamRun, _: float) -> None:
    run.on("response.output_text.delta")(lambda _: None)
    await drive(run)


@pytest.mark.parametrize("way", [complete, complete_with_a_handler, complete_with_lanes, iterate, break_out_of_a_loop])
async def test_a_run_that_has_ended_is_gone_without_a_collection_of_garbage(
    way: Callable[[StreamRun, float], Awaitable[None]],
) -> None:
    async with LocalServer() as server, Client(base_url=server.url) as client:
        gc.disable()
        try:
            run = client.stream(model="scenario:text", input="hi")
            await way(run, 0)
            gone = weakref.ref(run)
            del run
            await until(lambda: gone() is None)
        finally:
            gc.enable()


async def test_closing_the_client_ends_its_runs() -> None:
    closed: list[Closed] = []
    dispatcher = Dispatcher()
    dispatcher.on(Closed)(closed.append)

    async def one(client: Client) -> None:
        async with client.stream(model="scenario:text", input="hi") as run:
            with suppress(UnfinishedResponse):
                await run.dispatch(dispatcher)

    async with LocalServer(tokens_per_second=1) as server, nothing_left():
        client = Client(base_url=server.url, retry=None)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(20):
                tasks.create_task(one(client))
            await until(lambda: len(server.requests) == 20)
            await client.aclose()
    assert len(closed) == 20


@pytest.mark.filterwarnings("ignore:Unclosed:ResourceWarning")
async def test_a_run_whose_task_was_dropped_leaves_nothing() -> None:
    async with LocalServer(tokens_per_second=1) as server, nothing_left(), Client(base_url=server.url) as client:
        run = client.stream(model="scenario:text", input="hi")
        await run.__aenter__()
        await run.opened()
        del run
        gc.collect()


async def test_a_second_cancellation_while_closing_leaves_nothing() -> None:
    async with LocalServer(tokens_per_second=100) as server, nothing_left(), Client(base_url=server.url) as client:
        closing = asyncio.Event()

        @on(Closed)
        async def slow(_: Closed) -> None:
            closing.set()
            await asyncio.sleep(10)

        async def dispatch() -> None:
            async with client.stream(model="scenario:text", input="hi") as run:
                await run.dispatch(slow)

        task = asyncio.create_task(dispatch())
        await until(lambda: bool(server.requests))
        task.cancel()
        await closing.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
