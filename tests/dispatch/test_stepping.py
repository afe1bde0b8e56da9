"""Coroutines driven step by step behave as if they were awaited."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from streamkit.dispatch.stepping import resume

pytestmark = pytest.mark.anyio


class Oops(Exception):
    pass


async def stepped(coroutine: Coroutine[Any, Any, Any], note_step: Callable[[float], None] = lambda _: None) -> object:
    """Do what is done with a handler: make the first step, and resume it."""
    try:
        yielded = coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    return await resume(coroutine, yielded, note_step)


async def awaited(coroutine: Coroutine[Any, Any, Any]) -> object:
    return await coroutine


async def returns() -> int:
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return 7


async def raises() -> None:
    await asyncio.sleep(0)
    raise Oops("late")


async def times_out() -> str:
    try:
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()
    except TimeoutError:
        return "in time"
    return "never"


async def awaits_a_task() -> str:
    return await asyncio.create_task(asyncio.sleep(0, "done"))


async def meets_an_error() -> str:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_exception, Oops())
    try:
        await future
    except Oops:
        await asyncio.sleep(0)
        return "met"
    return "missed"


async def knows_its_task() -> bool:
    before = asyncio.current_task()
    await asyncio.sleep(0)
    return asyncio.current_task() is before


@pytest.mark.parametrize("function", [returns, raises, times_out, awaits_a_task, meets_an_error, knows_its_task])
async def test_it_ends_as_if_it_were_awaited(function: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    async def end_of(drive: Callable[[Coroutine[Any, Any, Any]], Awaitable[object]]) -> object:
        try:
            return await drive(function())
        except Oops as error:
            return str(error)

    assert await end_of(stepped) == await end_of(awaited)


async def test_a_cancellation_reaches_it_and_it_may_clean_up() -> None:
    steps: list[str] = []
    begun = asyncio.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            steps.append("cleaned up")
            raise

    task = asyncio.create_task(stepped(work()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["cleaned up"]


async def test_each_step_after_the_first_is_reported() -> None:
    steps: list[float] = []
    await stepped(returns(), steps.append)
    assert len(steps) == 2
    assert all(seconds >= 0 for seconds in steps)


def test_one_that_is_given_up_is_closed() -> None:
    closed: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            closed.append(True)

    stepping = stepped(work())
    stepping.send(None)
    stepping.close()
    assert closed == [True]
