"""A wait that is interrupted ends with the reason, and leaves the task as it was."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from streamkit.clocks import Clocks, Timeouts
from streamkit.errors import ClockExpired, ConnectionLost, UsageError
from streamkit.watchdog import Interrupted, Watchdog
from tests import virtual_time

pytestmark = pytest.mark.anyio

OFF = Timeouts(connect=None, first_event=None, idle=None, progress=None, total=None)


def watchdog(timeouts: Timeouts = OFF) -> Watchdog:
    return Watchdog(Clocks(timeouts, asyncio.get_running_loop().time()))


async def forever() -> None:
    await asyncio.Event().wait()


async def converts_the_cancellation() -> None:
    try:
        await forever()
    except asyncio.CancelledError:
        raise ConnectionLost("closed") from None


async def catches_the_cancellation() -> str:
    with suppress(asyncio.CancelledError):
        await forever()
    return "went on"


@pytest.mark.parametrize("call", [forever, converts_the_cancellation, catches_the_cancellation])
async def test_whatever_a_call_makes_of_an_interruption_the_wait_is_interrupted(call: Callable[[], Any]) -> None:
    dog, task = watchdog(), asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_soon(dog.interrupt)
    with pytest.raises(Interrupted):
        await dog.wait_for(call)
    assert task.cancelling() == 0


async def returns() -> str:
    return "at once"


async def raises() -> str:
    raise ConnectionLost("at once")


@pytest.mark.parametrize("then", [returns, raises])
async def test_a_call_may_interrupt_itself_without_waiting(then: Callable[[], Awaitable[str]]) -> None:
    dog, task = watchdog(), asyncio.current_task()
    assert task is not None

    async def call() -> str:
        dog.interrupt()
        return await then()

    with pytest.raises(Interrupted):
        await dog.wait_for(call)
    assert task.cancelling() == 0
    await asyncio.sleep(0)


@pytest.mark.parametrize("call", [forever, catches_the_cancellation])
async def test_another_cancellation_at_the_same_time_is_not_lost(call: Callable[[], Any]) -> None:
    dog = watchdog()
    task = asyncio.create_task(dog.wait_for(call))
    await asyncio.sleep(0)
    dog.interrupt()
    task.cancel()
    with pytest.raises((asyncio.CancelledError, Interrupted)):
        await task
    assert task.cancelling() == 1
    assert task.cancelled() == (call is forever)


async def test_what_a_call_returns_or_raises_passes() -> None:
    dog = watchdog()
    assert await dog.wait_for(returns) == "at once"
    with pytest.raises(ConnectionLost):
        await dog.wait_for(raises)
    dog.interrupt()
    assert await dog.wait_for(returns) == "at once"


async def test_one_task_waits_at_a_time() -> None:
    dog = watchdog()
    waiting = asyncio.create_task(dog.wait_for(forever))
    await asyncio.sleep(0)
    with pytest.raises(UsageError, match="one task at a time"):
        await dog.wait_for(returns)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await dog.wait_for(returns) == "at once"


def in_virtual_time(timeouts: Timeouts, *calls: Callable[[], Awaitable[object]], between: float = 0) -> float:
    """Make calls one after the other, with time between them, and return when the clock that ran out did."""

    async def main() -> float:
        dog = watchdog(timeouts)
        with pytest.raises(ClockExpired):
            for call in calls:
                await dog.wait_for(call)
                await asyncio.sleep(between)
        return asyncio.get_running_loop().time()

    return virtual_time.run(main())


def seconds(number: float) -> Callable[[], Awaitable[None]]:
    return lambda: asyncio.sleep(number)


IDLE = Timeouts(connect=None, first_event=None, idle=10, progress=None)
TOTAL = Timeouts(connect=None, first_event=None, idle=None, progress=None, total=10)


def test_a_clock_ends_a_wait_when_it_runs_out() -> None:
    assert in_virtual_time(IDLE, forever) == pytest.approx(10, abs=0.1)
    assert in_virtual_time(IDLE, seconds(6), seconds(6), forever) == pytest.approx(22, abs=0.1)
    assert in_virtual_time(IDLE, seconds(6), forever, between=100) == pytest.approx(116, abs=0.1)
    assert in_virtual_time(TOTAL, seconds(6), forever) == pytest.approx(10, abs=0.1)


def test_a_clock_that_ran_out_between_waits_ends_the_next_even_if_that_needs_no_time() -> None:
    assert in_virtual_time(TOTAL, *[returns] * 20, between=3) == 12


def test_a_watchdog_that_is_closed_has_no_timer() -> None:
    async def main() -> None:
        dog = watchdog(IDLE)
        await dog.wait_for(returns)
        dog.close()
        dog.close()
        await asyncio.sleep(100)
        assert await dog.wait_for(returns) == "at once"

    virtual_time.run(main())


def test_in_each_of_several_threads_a_clock_that_has_run_out_ends_its_wait() -> None:
    class Slow(asyncio.SelectorEventLoop):
        def call_later(self, *arguments: Any, **options: Any) -> asyncio.TimerHandle:
            # So that the timers of both threads are being called at the same time.
            with suppress(threading.BrokenBarrierError):
                together.wait(1)
            return super().call_later(*arguments, **options)

    async def wait() -> None:
        async with asyncio.timeout(10):
            with pytest.raises(ClockExpired):
                await watchdog(Timeouts(idle=0.05, first_event=None, progress=None)).wait_for(forever)

    def run() -> str:
        with asyncio.Runner(loop_factory=Slow) as runner:
            runner.run(wait())
        return "ended"

    together = threading.Barrier(2)
    with ThreadPoolExecutor(2) as threads:
        assert [each.result() for each in [threads.submit(run) for _ in range(2)]] == ["ended"] * 2
